"""The layout: what may use what, what lies where, and that no file grows out of hand."""

import ast
import re
import shutil
import subprocess
import sys
import unittest
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("barker", "monitoring", "tests")
OURS = {*PACKAGES, "launch"}

# From the bottom up; a module imports from lower layers and from its own, and never in a circle.
LAYERS = (
    "ages barks events frames friends graph greeting handshake lines poison protocol quick ring"
    " routing streams strictjson users window wire",
    "acks agent arguments arrivals connecting deadletters delivery dialing faults feed framing"
    " hosts journal lab link logs node peers processes service state tls",
    "bizlogic directory followers handover inbox keeper manifold outbox publisher readers replicas"
    " suggestions timelines",
    "autobark bark follow guide join listen tour witness",
)
PURE, _SHELLS, SERVICES, _CLIENTS = range(len(LAYERS))
LAYER = {module: layer for layer, modules in enumerate(LAYERS) for module in modules.split()}
# Modules that are parts of one service; else services know nothing of each other.
PART_OF = {
    **dict.fromkeys(("handover", "inbox", "keeper", "outbox", "readers", "timelines"), "manifold"),
    **dict.fromkeys(("publisher", "replicas"), "followers"),
}
# The package itself, and the stand-in for it: both are above and below everything.
SPECIAL = {"__init__", "barker"}

# What has a clock, dice, a world outside or a thread; and who may have it all the same, seeded.
IMPURE = frozenset(
    """asyncio concurrent datetime ftplib getpass glob io logging mmap multiprocessing os pathlib
    platform queue random sched secrets select selectors shutil signal smtplib socket socketserver
    sqlite3 ssl subprocess sys syslog tempfile threading time urllib uuid warnings webbrowser
    """.split()
)
PERMITS = {"users": {"random"}}

TOP = {"barker", "webui", "monitoring", "tests", "docs", "launch.py", "README.rst"}

MAX_MODULE_LINES = 400

PAGES = (ROOT / "webui" / "index.html", ROOT / "monitoring" / "index.html")
MAX_PAGE_FILE_LINES = 400
# A script without comments and empty lines: whatever is indented is inside of the one function.
SCRIPT = re.compile(r'"use strict";\nconst (\w+) = \(\(\) => \{\n((?:  .*\n)+)\}\)\(\);\n')


def imports(path: Path) -> Iterator[str]:
    """Every module that is imported anywhere in the file, by its whole name."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module in PACKAGES:  # from barker import wire
                yield from (f"{module}.{alias.name}" for alias in node.names)
            else:
                yield module


def root_of(name: str) -> str:
    return name.partition(".")[0]


def modules(package: str) -> dict[str, Path]:
    return {p.stem: p for p in sorted((ROOT / package).glob("*.py"))}


BARKER = modules("barker")
# Who imports which modules of barker.
USES = {
    name: {i.removeprefix("barker.") for i in imports(path) if i.startswith("barker.")}
    for name, path in BARKER.items()
    if name not in SPECIAL
}


class ImportTest(unittest.TestCase):
    def test_nothing_outside_the_standard_library_is_imported_anywhere(self) -> None:
        files = [ROOT / "launch.py", *(p for d in PACKAGES for p in (ROOT / d).rglob("*.py"))]
        self.assertGreater(len(files), 20)
        for path in files:
            foreign = {root_of(i) for i in imports(path)} - sys.stdlib_module_names - OURS
            self.assertEqual(foreign, set(), path)

    def test_every_module_has_its_layer(self) -> None:
        self.assertEqual(set(USES) - set(LAYER), set())

    def test_imports_point_down(self) -> None:
        for name, used in USES.items():
            up = {other for other in used if LAYER.get(other, 99) > LAYER.get(name, 99)}
            self.assertEqual(up, set(), f"barker/{name}.py imports from above")

    def test_services_do_not_import_each_other(self) -> None:
        for name, used in USES.items():
            if LAYER.get(name) == SERVICES:
                services = {PART_OF.get(u, u) for u in used if LAYER.get(u) == SERVICES}
                self.assertEqual(services - {PART_OF.get(name, name)}, set(), name)

    def test_no_imports_go_in_a_circle(self) -> None:
        left = {name: set(used) for name, used in USES.items()}
        while free := {name for name, used in left.items() if not used & set(left)}:
            left = {name: used for name, used in left.items() if name not in free}
        self.assertEqual(left, {})

    def test_barker_imports_nothing_of_what_is_around_it(self) -> None:
        for name, path in BARKER.items():
            around = {root_of(i) for i in imports(path)} & (OURS - {"barker"})
            self.assertEqual(around, set(), name)

    def test_pure_modules_have_no_clock_no_dice_and_no_world_outside(self) -> None:
        for name in set(USES).intersection(LAYERS[PURE].split()):
            impure = {root_of(i) for i in imports(BARKER[name])} & IMPURE
            self.assertEqual(impure - PERMITS.get(name, set()), set(), name)


class FilesTest(unittest.TestCase):
    def test_the_top_level_is_what_the_design_says(self) -> None:
        git = shutil.which("git")
        if git is None or not (ROOT / ".git").exists():
            self.skipTest("needs git and a clone")
        listed = subprocess.run(
            [git, "ls-files", "-co", "--exclude-standard", "-z"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        top = {name.partition("/")[0] for name in listed.split("\0") if name}
        top = {name for name in top if not name.startswith(".")}
        self.assertEqual(top - TOP, set(), "does not belong there")
        self.assertEqual(TOP - top, set(), "is missing")

    def test_every_module_says_what_it_is(self) -> None:
        for package in PACKAGES:
            for name, path in modules(package).items():
                if path.read_bytes().strip():  # tests/__init__.py
                    self.assertTrue(ast.get_docstring(ast.parse(path.read_bytes())), name)

    def test_no_module_grows_out_of_hand(self) -> None:
        lines = {
            path: path.read_bytes().count(b"\n")
            for package in ("barker", "monitoring")
            for path in modules(package).values()
        }
        long = {str(p.relative_to(ROOT)): n for p, n in lines.items() if n > MAX_MODULE_LINES}
        self.assertEqual(long, {}, f"over {MAX_MODULE_LINES} lines: look for a second idea")

    def test_no_style_depends_on_what_comes_before_in_a_list(self) -> None:
        """For `+` and `~`, Gecko looks at the style of all later siblings of whatever is added."""
        for path in (*ROOT.glob("webui/*.css"), *ROOT.glob("monitoring/**/*.css")):
            text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
            for selector in re.findall(r"[^{};]+(?=\{)", text):
                if not selector.lstrip().startswith("@"):
                    plain = re.sub(r"\([^()]*\)|\[[^]]*\]", "", selector)
                    self.assertNotRegex(plain, r"\b(li|tr)\S*\s*[+~]", path.name)


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


if __name__ == "__main__":
    unittest.main()
