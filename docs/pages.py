"""The book's pictures of the two pages: a real system, in headless Chromium.

    python docs/pages.py

writes them beside this file. The system is a copy of the project with the usual ports, which have
to be free. The picture of the monitor comes from the walk-through of its test.
"""

import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter

DOCS = pathlib.Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT)]

from tests.tools.browser import Browser  # noqa: E402
from tests.tools.chromium import Chromium  # noqa: E402
from tests.tools.fleet import DEADLINE_S, Process, copy_of_the_project  # noqa: E402

WALK = "tests.system.test_monitor_page.WalkThroughTest"
# First colours that differ much, so that none is missing; then the most frequent ones. A pixel is a
# byte, so 256 are all.
PALETTE = ((40, 128), (3, 256))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = copy_of_the_project(pathlib.Path(folder, "barker"))
        launchers: list[Process] = []
        try:
            launchers.append(Process(["launch.py", "--controls"], root))
            launchers[0].wait_for("^Ready")
            launchers.append(Process(["monitoring/launch.py"], root))
            launchers[1].wait_for("READY")
            with Chromium() as web, Chromium() as monitor:
                take(web, root / "webui" / "index.html", monitor, root / "monitoring/index.html")
        finally:
            for launcher in reversed(launchers):
                launcher.stop()
                launcher.close(DEADLINE_S)
        env = {**os.environ, "BARKER_SLOW": "1", "BARKER_SHOTS": folder}
        subprocess.run([sys.executable, "-m", "unittest", WALK], cwd=ROOT, env=env, check=True)
        write("monitoring", pathlib.Path(folder, "4-new-one-1440-light.png"))


def take(web: Browser, stream: pathlib.Path, monitor: Browser, graphs: pathlib.Path) -> None:
    web.screen(1280, 780)
    web.open(stream.as_uri())
    monitor.screen(1440, 900)
    monitor.open(graphs.as_uri())
    monitor.wait_until("Monitor.desk.on", "the link to controls is up")
    tag = "document.querySelector('#stream .tag')"
    web.wait_until(f"Barker.stream.list.childElementCount > 40 && {tag}", "many barks", 90)

    monitor.click("[data-service=outbox-5801] .open")
    shoot(monitor, "controls")
    monitor.press("\ue00c")

    dogs = """[...Monitor.desk.processes.keys()].filter((name) => name.startsWith("autobark"))
        .forEach((name) => Monitor.desk.request(arguments[0], name))"""
    monitor.execute(dogs, "stop")
    web.execute("text.value = 'Where am I?'; Barker.submit()")
    web.wait_until("/ms later/.test(document.querySelector('.own .way')?.innerText)", "its way")
    shoot(web, "webui")

    web.screen(1280, 440)
    web.execute(f"{tag}.click()")
    web.wait_until("Filter.isOn()", "the filter is on")
    shoot(web, "filter")
    web.execute("document.querySelector('#filter a').click()")

    web.screen(700, 490)
    web.execute("kept.open = true")
    web.wait_until("document.querySelector('#keptlists .me')", "all users and their outboxes")
    keeper = web.execute("return Barker.client.services.find((s) => s.role === 'outbox').name")
    monitor.execute("return Monitor.desk.request('kill', arguments[0])", keeper)
    moved = "keptstate.innerText.includes(' moved') && keepsmoved.innerText.includes('has gone')"
    web.wait_until(f"{moved} && performance.now() - Barker.keepers.changedAt > 1000", "they moved")
    web.execute("scrollBy(0, keepers.getBoundingClientRect().top)")
    shoot(web, "keepers")
    monitor.execute("return Monitor.desk.request('start', arguments[0])", keeper)
    monitor.execute(dogs, "start")
    flows = "document.querySelector('.flow[data-flows=true]')"
    monitor.wait_until(flows, "barks flow again")

    monitor.click("#course-open")
    monitor.click("[data-place='step 2']")
    monitor.click("[data-place='choice 1']")
    for deed, seen in enumerate(("two bizlogics are there", "at most two barks wait")):
        monitor.execute("scrollTo(0, 0)")
        monitor.click(f"[data-place='deed {deed}']")
        ticked = "[...document.querySelectorAll('#course .seen')].map((e) => e.innerText).join()"
        monitor.wait_until(f"{ticked}.includes('{seen}')", seen)
    monitor.wait_until(flows, "the spare has the traffic")
    shoot(monitor, "course")


def shoot(browser: Browser, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "picture.png")
        browser.screenshot(path)
        write(name, path)


# --- a PNG file of a third of the size: with a palette ---


def write(name: str, picture: pathlib.Path) -> None:
    width, height, pixels = read(picture.read_bytes())
    counts = Counter(pixels)
    palette: list[tuple[int, ...]] = []
    for apart, size in PALETTE:
        for colour, _ in counts.most_common():
            if len(palette) < size and distance(colour, nearest(colour, palette)) > apart:
                palette.append(colour)
    place = {colour: i for i, colour in enumerate(palette)}
    index = {colour: place[nearest(colour, palette)] for colour in counts}
    data = bytes(index[pixel] for pixel in pixels)
    rows = b"".join(b"\0" + data[i : i + width] for i in range(0, len(data), width))
    parts = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        chunk(b"PLTE", b"".join(map(bytes, palette))),
        chunk(b"IDAT", zlib.compress(rows, 9)),
        chunk(b"IEND", b""),
    ]
    path = DOCS / f"{name}.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    print(path, f"{path.stat().st_size / 1000:.0f} kB")


def distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) if other else 1000


def nearest(colour: tuple[int, ...], palette: list[tuple[int, ...]]) -> tuple[int, ...]:
    return min(palette, key=lambda other: distance(colour, other), default=())


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def read(png: bytes) -> tuple[int, int, list[tuple[int, ...]]]:
    """Width, height and pixels of a PNG file as a browser writes it (its section 9: filters)."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert depth == 8 and kind in (2, 6), "RGB or RGBA"
    data, at = b"", 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        data += png[at + 8 : at + 8 + size] if png[at + 4 : at + 8] == b"IDAT" else b""
        at += size + 12
    data, step = zlib.decompress(data), 3 if kind == 2 else 4
    line = width * step
    above, pixels = bytes(line), []
    for start in range(0, len(data), line + 1):
        row = bytearray(data[start + 1 : start + 1 + line])
        undo(data[start], row, above, step)
        pixels += [tuple(row[i : i + 3]) for i in range(0, line, step)]
        above = bytes(row)
    return width, height, pixels


def undo(kind: int, row: bytearray, above: bytes, step: int) -> None:
    for i in range(len(row) if kind else 0):
        left, corner = (row[i - step], above[i - step]) if i >= step else (0, 0)
        up = above[i]
        guess = left + up - corner
        paeth = min((left, up, corner), key=lambda value: abs(guess - value))
        row[i] = (row[i] + (0, left, up, (left + up) // 2, paeth)[kind]) % 256


if __name__ == "__main__":
    main()
