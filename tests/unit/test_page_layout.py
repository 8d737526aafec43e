"""The pages: which files they are made of, and that no script of one uses what comes later."""

import re
import unittest
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar, NamedTuple

ROOT = Path(__file__).resolve().parents[2]

PAGES = (ROOT / "webui" / "index.html", ROOT / "monitoring" / "index.html")
MAX_PAGE_FILE_LINES = 400
# A script without comments and empty lines: whatever is indented is inside of the one function.
SCRIPT = re.compile(r'"use strict";\nconst (\w+) = \(\(\) => \{\n((?:  .*\n)+)\}\)\(\);\n')


class Page(HTMLParser):
    """What an index.html loads, in its order. Its first script is generated: the settings."""

    def __init__(self, index: Path) -> None:
        super().__init__()
        self.folder = index.parent
        self.scripts: list[Path] = []
        self.styles: list[Path] = []
        self.script_attributes: set[str] = set()
        self.feed(index.read_text(encoding="utf-8"))
        self.settings = self.scripts.pop(0)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "script":
            self.script_attributes.update(found)
            self.scripts.append((self.folder / (found.get("src") or "")).resolve())
        elif tag == "link" and found.get("rel") == "stylesheet":
            self.styles.append((self.folder / (found["href"] or "")).resolve())


class Script(NamedTuple):
    """A script of a page: the global that it makes, and its body without comments and strings."""

    makes: str
    body: str

    @classmethod
    def read(cls, path: Path) -> "Script":
        code = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        code = re.sub(r"(?<!\S)//.*", "", code)
        code = "".join(f"{line.rstrip()}\n" for line in code.splitlines() if line.strip())
        shape = SCRIPT.fullmatch(code)
        if shape is None:
            raise AssertionError(f"{path} is not just a namespace, const X = (() => {{ ... }})();")
        return cls(shape[1], re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', shape[2]))

    def uses(self, names: set[str]) -> set[str]:
        """Which of these globals it uses: Link.Dialer, or const { make } = Elements;"""
        return set(re.findall(r"(?<![\w.$])[A-Z]\w*(?=[.;,)])", self.body)) & names


class PagesTest(unittest.TestCase):
    """The pages are opened from disk: classic scripts, each with one global, in the right order."""

    pages: ClassVar[list[Page]]
    scripts: ClassVar[dict[Path, Script]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.pages = [Page(index) for index in PAGES]
        cls.scripts = {path: Script.read(path) for page in cls.pages for path in page.scripts}

    def test_the_pages_load_every_file_that_is_there_and_nothing_that_is_not(self) -> None:
        loaded: set[Path] = set()
        for page in self.pages:
            files = page.scripts + page.styles
            self.assertEqual(len(files), len(set(files)), "twice in one page")
            loaded.update(files)
        settings = {page.settings for page in self.pages}
        there = {
            path
            for folder in ("webui", "monitoring")
            for ending in ("js", "css")
            for path in (ROOT / folder).rglob(f"*.{ending}")
        }
        self.assertEqual(loaded, there - settings)

    def test_the_settings_come_first_and_git_ignores_them(self) -> None:
        ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
        for page in self.pages:
            self.assertIn(f"/{page.settings.relative_to(ROOT)}", ignored)

    def test_scripts_are_classic_ones(self) -> None:
        for page in self.pages:
            self.assertEqual(page.script_attributes, {"src"})
        for path, script in self.scripts.items():
            with self.subTest(path.name):
                # What a page from disk can't have.
                no = r"\b(?:import|export|fetch|XMLHttpRequest|\w*Worker)\b"
                self.assertEqual(re.findall(no, script.body), [])

    def test_every_script_makes_one_global_that_is_named_as_its_file(self) -> None:
        for path, script in self.scripts.items():
            with self.subTest(path.name):  # its shape was looked at when it was read
                self.assertEqual(script.makes, path.stem.capitalize())
                others = re.findall(r"\b(?:window|self|globalThis)\.\w+\s*\W?=[^=]", script.body)
                self.assertEqual(others, [])

    def test_scripts_use_only_the_globals_of_scripts_before_them_and_say_which(self) -> None:
        names = {script.makes for script in self.scripts.values()}
        for page in self.pages:
            before: set[str] = set()
            for path in page.scripts:
                script = self.scripts[path]
                used = script.uses(names)
                with self.subTest(path.name):
                    self.assertEqual(used - before, set(), "is loaded later, or not at all")
                    ordered = [self.scripts[p].makes for p in page.scripts]
                    listed = ", ".join(sorted(used, key=ordered.index)) or "nothing"
                    told = re.findall(r"^ \* (Global:.*)$", path.read_text("utf-8"), re.MULTILINE)
                    self.assertEqual(told, [f"Global: {script.makes}. Uses: {listed}."])
                before.add(script.makes)

    def test_files_that_are_named_in_comments_are_there(self) -> None:
        for path in (*PAGES, *self.scripts):
            text = path.read_text(encoding="utf-8")
            for name in re.findall(r"\b(?:barker|monitoring|tests|webui)/[\w/]+\.\w+", text):
                if ROOT / name not in {page.settings for page in self.pages}:
                    with self.subTest(path.name, name=name):
                        self.assertTrue((ROOT / name).is_file())

    def test_no_file_of_a_page_grows_out_of_hand(self) -> None:
        files = {*PAGES, *self.scripts, *(style for page in self.pages for style in page.styles)}
        lines = {str(p.relative_to(ROOT)): p.read_bytes().count(b"\n") for p in files}
        long = {name: n for name, n in lines.items() if n > MAX_PAGE_FILE_LINES}
        self.assertEqual(long, {}, f"over {MAX_PAGE_FILE_LINES} lines: look for a second idea")
