"""The layout: what lies where, what may import what, and that no file grows out of hand."""

import ast
import re
import shutil
import subprocess
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BARKER = ROOT / "barker"
PACKAGES = ("barker", "monitoring", "tests")
OURS = {*PACKAGES, "launch"}
TOP = {"barker", "webui", "monitoring", "tests", "docs", "launch.py", "README.rst"}

# The folders of barker/, from the bottom up. A folder imports from those below its floor.
FLOORS = (
    "wire websocket routing streams",
    "disk",
    "links",
    "process",
    "delivery graph launching",
    "manifold client",
    "laboratory",
)
FLOOR = {folder: floor for floor, folders in enumerate(FLOORS) for folder in folders.split()}
# The programs, directly in barker/, are the last floor.
PROGRAMS = """
    directory outbox inbox bizlogic followers suggestions controls
    bark listen follow join autobark judge
""".split()
DATA = {"autobark.txt"}
MAX_FLOORS = 8
MAX_ARROWS = 45
MAX_LINES = 400

# Modules without a clock, dice, a socket, a thread or a log: values in, values out.
PURE = """
    wire.protocol wire.fields wire.ops wire.records wire.table wire.rights
    wire.bodies wire.strictjson wire.messages
    websocket.handshake websocket.frames
    routing.ring routing.routes
    disk.users
    links.life links.greeting links.framing
    streams.stream streams.cursor
    delivery.batches delivery.window delivery.duplicates delivery.poison
    manifold.delays
    graph.claims graph.graph graph.friends
    laboratory.verdict
""".split()
IMPURE = frozenset(
    """asyncio concurrent datetime ftplib getpass glob io logging mmap multiprocessing os pathlib
    platform queue random sched secrets select selectors shutil signal smtplib socket socketserver
    sqlite3 ssl subprocess sys syslog tempfile threading time urllib uuid warnings webbrowser
    """.split()
)
PERMITS = {"disk.users": {"random"}}  # seeded

# What others may set: the command line's namespace, a log record and a TLS context are of the
# standard library.
SETTABLE = {"id", "prog", "message", "check_hostname"}
# Of named tuples, these are public in all but name.
PUBLIC = {"_asdict", "_make", "_replace", "_fields", "_field_defaults"}
FOREIGN = {"argparse._ArgumentGroup"}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def imports(path: Path) -> Iterator[str]:
    """Every module that is imported anywhere in the file, by its whole name."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:  # from barker.wire import protocol
                whole = f"{module}.{alias.name}"
                is_module = (ROOT / whole.replace(".", "/")).with_suffix(".py").exists()
                yield whole if is_module else module


def root_of(name: str) -> str:
    return name.partition(".")[0]


def folder_of(module: str) -> str:
    """``wire.protocol`` -> ``wire``; a program is in no folder."""
    return module.rpartition(".")[0]


# Every module of barker/ by its name below it, without the pages that `__init__` files are; and
# which of the others each one uses.
MODULES = {
    ".".join(path.relative_to(BARKER).with_suffix("").parts): path
    for path in sorted(BARKER.rglob("*.py"))
    if path.name not in ("__init__.py", "barker.py")
}
USES = {
    name: {i.removeprefix("barker.") for i in imports(path) if i.startswith("barker.")}
    for name, path in MODULES.items()
}
PRODUCT = [*MODULES.values(), *sorted((ROOT / "monitoring").glob("*.py")), ROOT / "launch.py"]


class FoldersTest(unittest.TestCase):
    """`ls barker` shows the system."""

    def test_what_lies_directly_in_barker_can_be_started_or_is_a_folder(self) -> None:
        names = {p.name for p in BARKER.iterdir() if p.name != "__pycache__"}
        programs = {f"{name}.py" for name in PROGRAMS}
        more = {"__init__.py", "__main__.py", "barker.py"}
        self.assertEqual(names, {*more, *programs, *DATA, *FLOOR})
        for name in PROGRAMS:
            functions = {n.name for n in tree_of(MODULES[name]).body if hasattr(n, "name")}
            self.assertIn("main", functions, name)

    def test_each_folder_begins_with_a_page_of_text_and_no_code(self) -> None:
        for folder in FLOOR:
            page = tree_of(BARKER / folder / "__init__.py")
            self.assertEqual(len(page.body), 1, folder)
            text = ast.get_docstring(page) or ""
            self.assertGreater(len(text.splitlines()), 8, folder)
            self.assertLess(len(text.splitlines()), 50, folder)
            self.assertIn("Left out" if folder != "manifold" else "Read in this order", text)
            for path in (BARKER / folder).glob("*.py"):
                if path.name != "__init__.py":
                    self.assertIn(f"``{path.stem}``", text, folder)

    def test_packages_begin_with_text_and_with_the_check_of_python(self) -> None:
        """Only in barker/ is there code, which comes before all else; the others import it.

        It is compiled by that Python. `test_pythons` has what else has to be.
        """
        page = tree_of(BARKER / "__init__.py")
        kinds = [ast.Expr, ast.Import, ast.If, ast.ImportFrom, ast.Expr]
        self.assertEqual([type(n) for n in page.body], kinds)
        check = page.body[2]
        assert isinstance(check, ast.If)
        self.assertEqual(ast.unparse(check.test), "sys.version_info < (3, 11)")
        self.assertTrue(ast.unparse(check.body[0]).startswith("sys.exit('Barker needs Python 3.11"))
        self.assertEqual((len(check.body), check.orelse), (1, []))
        page = tree_of(ROOT / "monitoring" / "__init__.py")
        self.assertEqual([type(n) for n in page.body], [ast.Expr, ast.ImportFrom, ast.Import])
        self.assertIn("import barker", ast.unparse(page.body[2]))

    def test_there_are_few_floors(self) -> None:
        self.assertLessEqual(len(FLOORS) + 1, MAX_FLOORS)

    def test_folders_have_folders_below_them_only(self) -> None:
        for name, used in USES.items():
            here = FLOOR.get(folder_of(name), len(FLOORS))
            for other in used - {name}:
                same = folder_of(other) == folder_of(name) != ""
                self.assertTrue(
                    same or FLOOR.get(folder_of(other), len(FLOORS)) < here,
                    f"barker/{name} imports {other}, which is not below it",
                )

    def test_there_are_few_arrows_between_folders(self) -> None:
        arrows = {
            (folder_of(name), folder_of(other)) for name, used in USES.items() for other in used
        }
        between = {(a, b) for a, b in arrows if a and b and a != b}
        self.assertLessEqual(len(between), MAX_ARROWS)

    def test_no_imports_go_in_a_circle(self) -> None:
        left = {name: set(used) for name, used in USES.items()}
        while free := {name for name, used in left.items() if not used & set(left)}:
            left = {name: used for name, used in left.items() if name not in free}
        self.assertEqual(left, {})

    def test_no_program_is_imported(self) -> None:
        for path in PRODUCT:
            used = {i.removeprefix("barker.") for i in imports(path)} & set(PROGRAMS)
            self.assertEqual(used, set(), path)

    def test_barker_imports_nothing_of_what_is_around_it(self) -> None:
        for name, path in MODULES.items():
            around = {root_of(i) for i in imports(path)} & (OURS - {"barker"})
            self.assertEqual(around, set(), name)

    def test_no_file_has_the_name_of_a_module_of_the_standard_library(self) -> None:
        """Run by its path, a program finds what is beside it before what Python brings."""
        for folder in (BARKER, ROOT / "monitoring"):
            names = {p.stem for p in folder.iterdir() if p.suffix == ".py" or p.is_dir()}
            self.assertEqual(names & sys.stdlib_module_names, set(), folder)


class ModulesTest(unittest.TestCase):
    def test_nothing_outside_the_standard_library_is_imported_anywhere(self) -> None:
        files = [ROOT / "launch.py", *(p for d in PACKAGES for p in (ROOT / d).rglob("*.py"))]
        self.assertGreater(len(files), 20)
        for path in files:
            foreign = {root_of(i) for i in imports(path)} - sys.stdlib_module_names - OURS
            self.assertEqual(foreign, set(), path)

    def test_pure_modules_have_no_clock_no_dice_and_no_world_outside(self) -> None:
        self.assertEqual(set(PURE) - set(MODULES), set())
        for name in PURE:
            impure = {root_of(i) for i in imports(MODULES[name])} & IMPURE
            self.assertEqual(impure - PERMITS.get(name, set()), set(), name)
            self.assertEqual(USES[name] - set(PURE), set(), name)

    def test_every_module_says_what_it_is(self) -> None:
        for package in PACKAGES:
            for path in (ROOT / package).rglob("*.py"):
                if path.read_bytes().strip():
                    self.assertTrue(ast.get_docstring(tree_of(path)), path)

    def test_a_message_is_a_type_and_no_dict(self) -> None:
        """None but `wire.messages` makes or reads the key that says which message an object is."""
        for path in {*PRODUCT} - {MODULES["wire.messages"], MODULES["disk.segments"]}:
            for node in ast.walk(tree_of(path)):
                is_key = isinstance(node, ast.Constant) and node.value == "op"
                self.assertFalse(is_key, f"{path}: {ast.unparse(node)}")

    def test_one_function_prints(self) -> None:
        """What is printed may be text of others, and has to be made harmless on its way."""
        for path in {*PRODUCT} - {MODULES["process.terminal"]}:
            called = (n.func for n in ast.walk(tree_of(path)) if isinstance(n, ast.Call))
            names = {ast.unparse(function) for function in called}
            self.assertFalse(names & {"print", "sys.stdout.write", "sys.stderr.write"}, path)

    def test_no_file_grows_out_of_hand(self) -> None:
        pages = [p for d in ("webui", "monitoring") for p in (ROOT / d).rglob("*.[jc]s*")]
        files = [*PRODUCT, *(p for p in pages if not p.stem.endswith("_host"))]
        lines = {path: path.read_bytes().count(b"\n") for path in files}
        long = {str(p.relative_to(ROOT)): n for p, n in lines.items() if n > MAX_LINES}
        self.assertEqual(long, {}, f"over {MAX_LINES} lines: look for a second idea")


class PrivatesTest(unittest.TestCase):
    """A module's private things are its own, and so are the attributes of its objects."""

    def test_no_module_touches_another_s_privates(self) -> None:
        for path in PRODUCT:
            tree = tree_of(path)
            own = _of_self(tree) | _defined(tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and _is_private(node.attr):
                    fine = node.attr in own | PUBLIC or ast.unparse(node) in FOREIGN
                    self.assertTrue(fine, f"{path}:{node.lineno}: {ast.unparse(node)}")
                elif isinstance(node, ast.ImportFrom) and root_of(node.module or "") in OURS:
                    private = [a.name for a in node.names if _is_private(a.name)]
                    self.assertEqual(private, [], f"{path}:{node.lineno}")

    def test_no_module_sets_attributes_of_another_s_objects(self) -> None:
        for path in PRODUCT:
            tree = tree_of(path)
            own = _of_self(tree) | _slots(tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    self.assertIn(node.attr, own | SETTABLE, f"{path}:{node.lineno}")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _of_self(tree: ast.Module) -> set[str]:
    """Attributes that the module's own classes have."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("self", "cls")
    }


def _defined(tree: ast.Module) -> set[str]:
    """Names of functions, classes and variables that the module defines, at any depth."""
    names = {
        n.name
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    return names | {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }


def _slots(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            found |= {
                n.value
                for n in ast.walk(node.value)
                if isinstance(n, ast.Constant) and isinstance(n.value, str)
            }
    return found


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

    def test_no_style_depends_on_what_comes_before_in_a_list(self) -> None:
        """For `+` and `~`, Gecko looks at the style of all later siblings of whatever is added."""
        for path in (*ROOT.glob("webui/*.css"), *ROOT.glob("monitoring/**/*.css")):
            text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
            for selector in re.findall(r"[^{};]+(?=\{)", text):
                if not selector.lstrip().startswith("@"):
                    plain = re.sub(r"\([^()]*\)|\[[^]]*\]", "", selector)
                    self.assertNotRegex(plain, r"\b(li|tr)\S*\s*[+~]", path.name)


class DiscoveryTest(unittest.TestCase):
    """`python -m unittest` finds every test that there is."""

    def test_each_folder_of_tests_is_a_package(self) -> None:
        for path in (ROOT / "tests").rglob("*.py"):
            self.assertTrue((path.parent / "__init__.py").exists(), path.parent)

    def test_discovery_finds_what_is_in_the_files(self) -> None:
        found = set()
        suites = [unittest.defaultTestLoader.discover(str(ROOT), top_level_dir=str(ROOT))]
        while suites:
            for test in suites.pop():
                if isinstance(test, unittest.TestSuite):
                    suites.append(test)
                else:
                    found.add(test.id())
        written = {name for path in (ROOT / "tests").rglob("test_*.py") for name in _tests_in(path)}
        self.assertEqual(written - found, set(), "not discovered")
        self.assertGreater(len(written), 900)


def _tests_in(path: Path) -> Iterator[str]:
    """The ids of the tests that a file has in classes that are tests by themselves."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for node in tree_of(path).body:
        if isinstance(node, ast.ClassDef) and node.bases:
            for item in node.body:
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and (
                    item.name.startswith("test_")
                ):
                    yield f"{module}.{node.name}.{item.name}"
