"""A picture of a page, for the docs or for a person to look at.

python -m tests.tools.picture webui/index.html page.png --until 'Barker.stream.list.firstChild'
"""

import pathlib
import sys

from barker.laboratory.progress import status_of
from barker.process.arguments import Parser
from tests.tools.browser import DEADLINE_S
from tests.tools.chromium import Chromium
from tests.tools.firefox import Firefox

BROWSERS = {"chromium": Chromium, "firefox": Firefox}


def main(argv: list[str] | None = None) -> int:
    parser = Parser(
        "-m tests.tools.picture",
        "Save a page as a headless browser shows it, as a PNG file.",
        [
            "-m tests.tools.picture webui/index.html page.png",
            "-m tests.tools.picture webui/index.html page.png --dark",
        ],
    )
    parser.add_argument("page", help="a file or a URL")
    parser.add_argument("picture", help="the PNG file to write")
    parser.add_argument(
        "--browser", choices=BROWSERS, default="chromium", help="(default: %(default)s)"
    )
    parser.add_argument("--size", default="1280x800", help="of the window (default: %(default)s)")
    parser.add_argument("--dark", action="store_true", help="as who prefers dark pages sees it")
    parser.add_argument("--scale", type=float, default=1.0, help="pixels for each CSS pixel")
    parser.add_argument("--act", default="", help="JavaScript to run first")
    parser.add_argument("--until", default="true", help="a JavaScript condition to wait for first")
    args = parser.parse_args(argv)
    width, height = map(int, args.size.split("x"))
    page = args.page if "://" in args.page else pathlib.Path(args.page).resolve().as_uri()
    with BROWSERS[args.browser]() as browser:
        browser.screen(width, height, dark=args.dark, scale=args.scale)
        browser.open(page)
        browser.execute(args.act)
        browser.wait_until(args.until, args.until, 4 * DEADLINE_S)
        browser.screenshot(args.picture)
    return 0


if __name__ == "__main__":
    sys.exit(status_of("picture", main))
