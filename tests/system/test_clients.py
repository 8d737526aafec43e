"""bark, listen and autobark, as somebody at a terminal meets them; and the vocabulary of dogs."""

import asyncio
import concurrent.futures
import contextlib
import io
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from typing import Any

from barker import autobark, listen
from barker.bark import main
from barker.disk import files, keys
from barker.disk.users import PEOPLE
from barker.process.arguments import LEASH
from barker.routing.ring import Ring
from tests.tools.fleet import DEADLINE_S, SCALE, SLOW, Fleet, Process, Service, free_port
from tests.tools.wireclient import Wire, put

Completed = subprocess.CompletedProcess[str]
Runs = dict[tuple[str, ...], Any]  # commands, and what is expected of them


def started(fleet: Fleet) -> tuple[Service, Service, Service]:
    """Directory, inbox and outbox of a system that has a bizlogic too."""
    starts = (fleet.directory, fleet.inbox, fleet.outbox, fleet.bizlogic)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        directory, inbox, outbox, _ = pool.map(lambda start: start(), starts)
        return directory, inbox, outbox


class ClientTest(unittest.TestCase):
    """Commands for a system."""

    fleet: Fleet
    directory: Service
    inbox: Service
    outbox: Service

    def command(self, module: str, *args: str, **environment: str) -> Completed:
        """Run one to its end, output and complaints apart."""
        return subprocess.run(
            [sys.executable, "-m", f"barker.{module}", *self.fleet.flags, *args],
            cwd=files.ROOT,
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_S,
            env={**os.environ, **environment},
        )

    def bark(self, user: str, *text: str) -> str:
        """Say something that has to be taken; its id."""
        said = self.command("bark", user, *text)
        self.assertEqual((said.returncode, said.stderr), (0, ""))
        return said.stdout.strip()

    def listener(self, *args: str, **popen: Any) -> Process:
        listener = self.fleet.run("listen", *args, **popen)
        self.addCleanup(listener.close)
        return listener

    def assertComplains(self, run: Completed, status: int, pattern: str) -> None:
        """One clear line on stderr, nothing on stdout."""
        self.assertEqual(run.stdout, "")
        self.assertRegex(run.stderr, pattern)
        self.assertEqual(len(run.stderr.splitlines()), 1, run.stderr)
        self.assertEqual(run.returncode, status)

    def all_at_once(self, runs: Runs) -> list[tuple[Completed, Any]]:
        """Side by side, for what they mostly do is start Python."""
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            done = pool.map(lambda args: self.command(*args), runs)
            return list(zip(done, runs.values(), strict=True))


class SharedTest(ClientTest):
    """A system that all these tests share: to start one takes longer than most of them."""


def setUpModule() -> None:
    SharedTest.fleet = unittest.enterModuleContext(Fleet())
    SharedTest.directory, SharedTest.inbox, SharedTest.outbox = started(SharedTest.fleet)


def listener_ready(listener: Process, test: ClientTest, user: str = "ark3") -> None:
    """Once it shows what is said now, whatever is said later will be shown."""
    for i in range(100):
        test.bark(user, f"are you there? {i}")
        try:
            listener.wait_for(r"are you there\?", 0.2)
        except AssertionError as fault:
            if "ended" in str(fault):
                raise
            continue
        # Those of earlier rounds were said before it listened, or are shown by now.
        test.bark(user, "then go on")
        listener.wait_for("then go on")
        return
    raise AssertionError(f"it never listened: {listener!r}")


class MissingTest(unittest.TestCase):
    """Commands that wait for what is not there, as a person starts them."""

    def run_for(self, seconds: float, *argv: str) -> list[str]:
        """Its complaints in that time."""
        env = {name: value for name, value in os.environ.items() if name != LEASH}
        with subprocess.Popen(
            [sys.executable, "-m", *argv],
            cwd=files.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=env,
        ) as child:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(seconds)
            child.terminate()
            return child.communicate(timeout=DEADLINE_S)[1].splitlines()

    def test_one_line_says_what_is_missing_and_what_to_do(self) -> None:
        with Fleet() as nobody, Fleet() as alone, Fleet() as closed:
            alone.directory()
            closed.directory()
            other = closed.key_file("other", "clients-" + "f" * 64)
            wrong = (*closed.flags, "--secret-file", str(other))
            cases: dict[tuple[str, ...], str] = {
                ("barker.listen", "ark3", *nobody.flags): "no directory at .*--directory",
                ("barker.autobark", "1", *nobody.flags): "no directory at .*--directory",
                ("barker.bizlogic", "--port", "0", *nobody.flags): "no directory at .*launch.py",
                ("barker.listen", "ark3", *alone.flags): "no inbox .*barker.inbox",
                ("barker.autobark", "1", *alone.flags): "no outbox .*barker.outbox",
                ("barker.bizlogic", "--port", "0", *alone.flags): "no followers .*barker.followers",
                ("barker.listen", "ark3", *wrong): "another secret.*--secret-file",
            }
            with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
                ran = pool.map(lambda argv: self.run_for(6.0 * SCALE, *argv), cases)
                for argv, lines in zip(cases, ran, strict=True):
                    with self.subTest(argv[:2]):
                        self.assertEqual(len(lines), 1, lines)
                        self.assertRegex(lines[0], cases[argv])
            directory = next(p for p in closed.processes if "barker.directory" in p.argv)
            refused = [line for line in directory.lines if "another secret" in line]
            self.assertEqual(len(refused), 1, directory)
            once = ("barker.listen", "ark3", "--once", "--timeout", "0.5", *alone.flags)
            glance = ("monitoring.monitor", "--once", *wrong)
            for argv, pattern in ((once, "not all .* no inbox"), (glance, "another secret")):
                with self.subTest(argv[0]):
                    process = Process(["-m", *argv], files.ROOT)
                    self.addCleanup(process.close)
                    self.assertEqual(process.ended(), 1)
                    self.assertEqual(len(process.lines), 1, process)
                    self.assertRegex(process.lines[0], pattern)

    def test_a_bark_that_times_out_says_how_to_say_it_again(self) -> None:
        with Fleet() as fleet:
            fleet.directory()
            full = fleet.outbox("--max-backlog", "0")
            said = fleet.run("bark", "ark3", "hello", "--id", "x7", "--timeout", "0.5")
            self.assertEqual(said.ended(), 1, full)
            self.assertEqual(len(said.lines), 1, said)
            self.assertRegex(said.lines[0], "0 barks are waiting.*may have been taken.*--id x7 ")


class BarkTest(SharedTest):
    """Somebody listens to ark3 all the time."""

    heard: Process

    @classmethod
    def setUpClass(cls) -> None:
        cls.heard = cls.fleet.run("listen", "ark3", "--json", "--history", "0")
        listener_ready(cls.heard, cls("bark"))

    def shown(self, id_: str) -> str:
        """What the listener has shown of the bark with this id; lines before it are skipped."""
        content = json.loads(self.heard.wait_for(f'"id": "{id_}"').string)["content"]
        assert isinstance(content, str)
        return content

    def test_it_prints_the_id_once_the_outbox_has_taken_it(self) -> None:
        said = self.command("bark", "ark3", "This", "is", "my", "first", "manual", "bark.")
        self.assertRegex(said.stdout, r"\A[0-9a-f]{24}\n\Z")
        self.assertEqual((said.stderr, said.returncode), ("", 0))

    def test_what_can_t_be_said_is_one_clear_line(self) -> None:
        runs: Runs = {
            ("bark", "nobody", "x"): "^bark: there is no user nobody$",
            ("bark", "ark3", ""): "no text",
            ("bark", "ark3", "  ", "\t"): "no text",
            ("bark", "ark3", "x" * 281): "281 characters; at most 280",
            ("bark", "ark3", "\udcff"): "surrogate|encod",
            ("bark", "Ark 3", "x"): "no user name",
            ("bark", "ark3", "x", "--id", "one two"): "bad id",
        }
        for run, pattern in self.all_at_once(runs):
            with self.subTest(run.args[-2:]):
                self.assertComplains(run, 1, pattern)

    def test_what_can_t_be_understood_is_status_2(self) -> None:
        runs: Runs = {
            ("bark",): "required: user, text",
            ("bark", "ark3"): "required: text",
            ("bark", "ark3", "x", "--timeout", "0"): "'0' is not a number above 0",
            ("bark", "ark3", "x", "--timeout", "nan"): "'nan' is not a number above 0",
            ("bark", "ark3", "x", "--directory", "nowhere"): "'nowhere' is not HOST:PORT",
            ("bark", "ark3", "x", "--directory", "h:99999"): "'h:99999' is not HOST:PORT",
            ("bark", "ark3", "x", "--what"): "--what",
            ("listen",): "required: USER",
            ("listen", "Ark 3"): "'Ark 3' is no user name",
            ("listen", "ark3", "--count", "-1"): "'-1' is not a whole number|expected one argument",
            ("listen", "ark3", "--history", "many"): "'many' is not a whole number",
            ("autobark",): "required: RATE",
            **{
                ("autobark", "--", r): f"{r!r} is not a number above 0"
                for r in ("0", "-1", "nan", "inf", "often")
            },
            ("autobark", "1", "--seed", "x"): "invalid int value: 'x'",
            ("autobark", "1", "--count", "some"): "'some' is not a whole number",
        }
        mains = {"bark": main, "listen": listen.main, "autobark": autobark.main}
        for (module, *args), pattern in runs.items():
            with (
                self.subTest(module, args=args),
                contextlib.redirect_stderr(io.StringIO()) as complaint,
                self.assertRaises(SystemExit) as ended,
            ):
                mains[module](args)
            self.assertEqual(ended.exception.code, 2)
            said = complaint.getvalue().splitlines()
            self.assertRegex(said[0], rf"^{module}: .*({pattern})")
            self.assertRegex(said[-1], rf"^all options: \S+ -m barker\.{module} --help$")

    @unittest.skipUnless(pathlib.Path("/dev/full").exists(), "/dev/full is Linux's")
    def test_an_acked_bark_is_acked_though_its_id_can_t_be_printed(self) -> None:
        flags = shlex.join(self.fleet.flags)
        for id_, where, why in (
            ("on-a-full-disk", ">/dev/full", "bark: standard output can't be written: No space"),
            ("closed", ">&-", "bark: standard output is closed"),
        ):
            line = f'exec "$0" -m barker.bark {flags} ark3 {id_} --id {id_} {where}'
            said = subprocess.run(
                ["sh", "-c", line, sys.executable],
                cwd=files.ROOT,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
            )
            self.assertEqual(said.returncode, 0)
            self.assertIn(why, said.stderr)
            self.assertEqual(said.stderr.count("\n"), 1, said.stderr)
            self.assertEqual(self.shown(id_), id_)

    def test_options_may_stand_behind_the_text(self) -> None:
        said = self.command("bark", "ark3", "first", "--id", "behind-it", "and", "last")
        self.assertEqual((said.stdout, said.returncode), ("behind-it\n", 0), said.stderr)
        self.assertEqual(self.shown("behind-it"), "first and last")

    def test_text_is_as_long_and_as_strange_as_allowed(self) -> None:
        texts = ["x" * 280, "\U0001f415" * 280, '"quotes" and \\ and \x1b[31m', "@ark3 #tag", "0"]
        runs: Runs = {("bark", "ark3", "--id", f"text-{i}", t): t for i, t in enumerate(texts)}
        for run, _ in self.all_at_once(runs):
            self.assertEqual((run.returncode, run.stderr), (0, ""))
        lines = [json.loads(self.heard.wait_for('"id": "text-').string) for _ in texts]
        self.assertEqual(sorted(x["content"] for x in lines), sorted(texts))

    def test_words_are_joined_and_a_dash_needs_two(self) -> None:
        id_ = self.bark("ark3", "--", "-5", "degrees", "  and", "colder")
        self.assertEqual(self.shown(id_), "-5 degrees   and colder")

    def test_the_same_id_is_shown_once(self) -> None:
        for _ in range(2):
            said = self.command("bark", "ark3", "only once", "--id", "my-own-id")
            self.assertEqual((said.stdout, said.returncode), ("my-own-id\n", 0))
        self.bark("ark3", "the end")
        self.assertEqual(self.shown("my-own-id"), "only once")
        self.assertIn("the end", self.heard.wait_for("id").string)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for time-outs")
    def test_who_can_t_be_reached_is_said_in_time_and_in_one_line(self) -> None:
        nobody, no_outbox = self.enterContext(Fleet()), self.enterContext(Fleet())
        no_outbox.directory()
        wrong = self.fleet.key_file("wrong", "clients-" + "f" * 64)
        said = ("bark", "ark3", "x", "--timeout", "0.5")
        runs: Runs = {
            (*said, *nobody.flags): f"within 0.5 s: no directory at 127.0.0.1:{nobody.port}; ",
            (*said, *no_outbox.flags): "within 0.5 s: .* no outbox service; .*barker.outbox",
            (*said, "--secret-file", str(wrong)): "another secret; .*--secret-file",
            **{
                (*said, "--directory", f"{host}:1"): f"within 0.5 s: no directory at {host}:1"
                for host in ("a..b", "x" * 70, "nowhere.invalid")
            },
        }
        begun = time.monotonic()
        for run, pattern in self.all_at_once(runs):
            with self.subTest(run.args[-2:]):
                self.assertComplains(run, 1, pattern)
        self.assertLess(time.monotonic() - begun, 0.5 + 0.5 * DEADLINE_S)

    def test_a_secret_that_is_none_is_called_that(self) -> None:
        short = self.fleet.key_file("short", "hush")
        said = self.command("bark", "ark3", "x", "--secret-file", str(short))
        self.assertComplains(said, 1, "short: it is no key")
        said = self.command("bark", "ark3", "x", "--secret-file", str(self.fleet.state))
        self.assertComplains(said, 1, "a key is a plain file")

    @unittest.skipUnless(os.name == "posix", "signals are Unix's")
    def test_promise_1_who_is_interrupted_before_the_ack_has_the_signal_s_status(self) -> None:
        empty = self.enterContext(Fleet())
        with socket.create_server(("127.0.0.1", empty.port)) as silent:
            for number in (signal.SIGINT, signal.SIGTERM):
                process = empty.run("bark", "ark3", "x")
                silent.accept()[0].close()  # it dials: by now it takes signals as its own
                process.signal(number)
                self.assertEqual(process.ended(), 128 + number)
                self.assertEqual(process.lines, [])

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for a time-out")
    @unittest.skipUnless(hasattr(signal, "SIGSTOP"), "only Unix freezes processes")
    def test_after_a_time_out_the_same_bark_may_be_said_again(self) -> None:
        self.outbox.freeze()
        said = self.command("bark", "ark3", "twice?", "--id", "again", "--timeout", "0.5")
        self.outbox.thaw()
        self.assertComplains(said, 1, "not within 0.5 s: no outbox answers")
        said = self.command("bark", "ark3", "twice?", "--id", "again")
        self.assertEqual((said.stdout, said.returncode), ("again\n", 0))
        self.bark("ark3", "the end")
        self.assertEqual(self.shown("again"), "twice?")
        self.assertIn("the end", self.heard.wait_for("id").string)


@unittest.skipUnless(os.name == "posix", "signals are Unix's")
class InterruptTest(unittest.TestCase):
    """Ctrl-C before a command has done its job shows in the status; a stop in good order is 0."""

    def test_a_job_that_is_not_done_ends_with_130(self) -> None:
        empty = self.enterContext(Fleet())
        runs = {
            ("follow", "ark3", "rdl"): 130,
            ("follow", "ark3", "--list"): 130,
            ("join", "visitor"): 130,
            ("listen", "ark3", "--once"): 130,
            ("listen", "ark3", "--count", "3"): 130,
            ("listen", "ark3"): 0,
            ("autobark", "5", "--count", "3"): 130,
            ("autobark", "5"): 0,
            ("monitoring.monitor", "--once"): 130,
        }
        with socket.create_server(("127.0.0.1", empty.port)) as silent:
            for run, status in runs.items():
                with self.subTest(run):
                    process = empty.run(*run)
                    silent.accept()[0].close()  # it dials: by now it takes signals as its own
                    process.signal(signal.SIGINT)
                    self.assertEqual(process.ended(), status)
                    self.assertEqual(process.lines, [])


class ListenTest(ClientTest):
    """What a new reader finds: "1" to "9" of ace, who ark3 follows, or of whoever is followed."""

    LINE = re.compile(r"(\d\d:\d\d:\d\d) (\w+ *) <-- (\w+: *) (.*)")

    @classmethod
    def setUpClass(cls) -> None:
        cls.fleet = cls.enterClassContext(Fleet())
        _, cls.inbox, cls.outbox = started(cls.fleet)
        cls.author = cls.fleet.world.follows["ark3"][-1]
        asyncio.run(cls.fill())

    author: str

    @classmethod
    async def fill(cls) -> None:
        """Nine barks of one author, by hand, and wait until they can be read."""
        secret = keys.secret(cls.fleet.state)
        async with (
            await Wire.open(cls.outbox.port, secret) as out,
            await Wire.open(cls.inbox.port, secret) as reader,
        ):
            for i in range(1, 10):
                body = {"id": f"b{i}", "user": cls.author, "content": str(i), "at": i * 1000}
                out.send(put(i, [f"outbox/{cls.author}"], body))
            await out.up_to_ack(9)
            reader.send({"op": "subscribe", "address": "inbox/ark3"})
            while (message := await reader.heard()) and message.get("serial", 0) < 9:
                pass

    def shown(self, *args: str, **environment: str) -> list[str]:
        """The lines of a listener that counts."""
        run = self.command("listen", *args, **environment)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return run.stdout.splitlines()

    def test_a_line_is_time_reader_author_and_text_in_columns(self) -> None:
        lines = self.shown("ark3", "--count", "9", TZ="UTC")
        width = max(map(len, self.fleet.world.names))
        expected = [
            f"00:00:0{i} ark3 <-- {self.author + ':':<{width + 1}} {i}" for i in range(1, 10)
        ]
        self.assertEqual(lines, expected)
        self.assertRegex(lines[0], r"^\d\d:\d\d:\d\d ark3 <-- \w+: +1$")

    def test_several_readers_have_columns_too(self) -> None:
        readers = [r for r in self.fleet.world.followers(self.author) if r != "ark3"][:2]
        lines = self.shown("ark3", *readers, "--count", "27")
        self.assertEqual(len({line.index(" <-- ") for line in lines}), 1)
        found = [self.LINE.fullmatch(line) for line in lines]
        shown = [(m[2].strip(), m[4]) for m in found if m]
        for name in ("ark3", *readers):
            self.assertEqual([t for r, t in shown if r == name], [*"123456789"])

    def test_count_and_history_are_what_they_say(self) -> None:
        world = self.fleet.world
        hear = {self.author, *world.followers(self.author)}
        deaf = next(user for user in world.names if user not in hear)
        runs: Runs = {
            ("listen", "ark3", "--count", "3"): [*"123"],
            ("listen", "ark3", "--count", "0"): [],
            ("listen", "ark3", "--history", "5", "--count", "5"): [*"56789"],
            ("listen", "ark3", "--history", "5", "--count", "2"): [*"56"],
            ("listen", "ark3", "--once"): [*"123456789"],
            ("listen", "ark3", deaf, "--once", "--history", "2"): [*"89"],
            ("listen", deaf, "--once"): [],
        }
        for run, expected in self.all_at_once(runs):
            with self.subTest(run.args[-4:]):
                self.assertEqual((run.returncode, run.stderr), (0, ""))
                self.assertEqual([line.split()[-1] for line in run.stdout.splitlines()], expected)

    def test_json_is_an_object_a_line_with_all_there_is(self) -> None:
        lines = [json.loads(line) for line in self.shown("ark3", "--json", "--count", "9")]
        body = {"id": "b1", "user": self.author, "content": "1", "at": 1000}
        self.assertEqual(lines[0], {"reader": "ark3", **body})
        self.assertEqual([x["content"] for x in lines], [*"123456789"])

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for the last word")
    def test_a_user_who_does_not_exist_is_one_clear_line(self) -> None:
        self.assertComplains(
            self.command("listen", "nobody"), 1, "^listen: there is no user nobody$"
        )

    @unittest.skipUnless(os.name == "posix", "signals are Unix's")
    def test_a_second_signal_while_the_loop_closes_is_silent(self) -> None:
        """As when Ctrl-C comes from the terminal, and the launcher's order right behind it."""
        program = """if True:
            import asyncio, os, signal, sys
            from barker import listen
            close = asyncio.BaseEventLoop.close
            def closing(loop):
                close(loop)
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    os.kill(os.getpid(), number)
            asyncio.BaseEventLoop.close = closing
            status = listen.main(sys.argv[1:])
            os.kill(os.getpid(), signal.SIGTERM)
            sys.exit(status)
        """
        with socket.create_server(("127.0.0.1", 0)) as silent:
            place = f"127.0.0.1:{silent.getsockname()[1]}"
            argv = [sys.executable, "-c", program, "ark3", "--directory", place]
            with tempfile.TemporaryDirectory() as folder:
                listener = subprocess.Popen(
                    [*argv, "--state", folder], cwd=files.ROOT, stderr=subprocess.PIPE, text=True
                )
                silent.accept()[0].close()  # it dials: by now it takes signals as its own
                listener.send_signal(signal.SIGINT)
                _, said = listener.communicate(timeout=DEADLINE_S)
        self.assertEqual((listener.returncode, said), (0, ""))

    @unittest.skipUnless(os.name == "posix", "signals are Unix's")
    def test_ctrl_c_ends_it_without_a_traceback(self) -> None:
        listener = self.listener("ark3")
        listener.wait_for("<--")
        listener.signal(signal.SIGINT)
        self.assertIn(listener.ended(), (0, 130))
        self.assertNotIn("Traceback", "\n".join(listener.lines))


class TerminalTest(SharedTest):
    """What a terminal can show, and what it had better not."""

    def test_a_bark_can_t_move_the_cursor(self) -> None:
        listener = self.listener("rhs", "--history", "0")
        listener_ready(listener, self, "rhs")
        self.bark("rhs", "a\x1b[2Jb\rc\nd\x07e\x9bf\u202eg\u2028h")
        line = listener.wait_for("rhs: +a").string
        self.assertTrue(line.isprintable(), line)
        self.assertRegex(line, r"a\\x1b\[2Jb\\rc\\nd\\x07e\\x9bf\\u202eg\\u2028h$")

    def test_a_terminal_of_another_encoding_shows_what_it_can(self) -> None:
        listener = self.listener("rhs", "--history", "0")
        listener_ready(listener, self, "rhs")
        self.bark("rhs", "caf\u00e9 \U0001f415 ok")
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "barker.listen",
                *self.fleet.flags,
                "rhs",
                "--history",
                "1",
                "--count",
                "1",
            ],
            cwd=files.ROOT,
            capture_output=True,
            timeout=DEADLINE_S,
            env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        )
        self.assertEqual((run.returncode, run.stderr), (0, b""))
        self.assertIn(b"caf\xe9 \\U0001f415 ok", run.stdout)

    def test_output_that_nobody_reads_ends_it_quietly(self) -> None:
        argv = [sys.executable, "-m", "barker.listen", *self.fleet.flags, "rhs", "--history", "0"]
        with subprocess.Popen(
            argv, cwd=files.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as listener:
            assert listener.stdout
            assert listener.stderr
            listener.stdout.close()
            end = time.monotonic() + DEADLINE_S
            while listener.poll() is None and time.monotonic() < end:
                self.bark("rhs", "is this thing on?")
            listener.kill()
            self.assertEqual(listener.stderr.read(), "")
            self.assertNotIn(listener.returncode, (None, 0, -9))


class SurvivalTest(ClientTest):
    """Promise 4, for somebody at a terminal: start in any order, kill anything."""

    def setUp(self) -> None:
        self.fleet = self.enterContext(Fleet())

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: kills one service after the other")
    def test_a_listener_shows_everything_once_whatever_is_killed(self) -> None:
        listener = self.listener("ark3", "--history", "0")
        early = self.fleet.run("bark", "ark3", "0", "--timeout", "20")  # before anything runs
        directory, inbox, outbox = started(self.fleet)
        self.assertEqual(early.ended(), 0)
        listener_ready(listener, self)
        self.bark("ark3", "number 1")
        listener.wait_for("number 1")
        inbox.kill()
        self.bark("ark3", "number 2")  # it waits in the outbox
        self.fleet.inbox(port=inbox.port)
        listener.wait_for("number 2")
        directory.kill()
        said = self.fleet.run("bark", "ark3", "number 3", "--timeout", "20")
        self.fleet.directory()  # it is said once there is one again
        self.assertEqual(said.ended(), 0)
        listener.wait_for("number 3")
        outbox.kill()
        self.fleet.outbox(port=outbox.port)
        self.bark("ark3", "number 4")
        listener.wait_for("number 4")
        shown = [line.split("ark3:")[1].strip() for line in listener.lines if "number" in line]
        self.assertEqual(shown, [f"number {i}" for i in (1, 2, 3, 4)])
        kept = self.command("listen", "ark3", "--json", "--history", "4", "--count", "4")
        contents = [json.loads(line)["content"] for line in kept.stdout.splitlines()]
        self.assertEqual(contents, shown)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for a hand-over")
    def test_a_listener_that_moves_is_not_shown_what_it_did_not_ask_for(self) -> None:
        """It asked for the last five of twelve. The next owner knows nothing of that."""
        _, inbox, _ = started(self.fleet)
        port = free_port()
        while Ring([f"inbox-{inbox.port}", f"inbox-{port}"]).owner("ark3") != f"inbox-{port}":
            port = free_port()
        for i in range(1, 13):
            self.bark("ark3", f"number {i}")
        listener = self.listener("ark3", "--history", "5")
        listener.wait_for("number 12")
        self.fleet.inbox(port=port)
        self.bark("ark3", "number 13")
        listener.wait_for("number 13")
        self.bark("ark3", "number 14")
        listener.wait_for("number 14")
        shown = [line.split("ark3:")[1].strip() for line in listener.lines if "number" in line]
        self.assertEqual(shown, [f"number {i}" for i in range(8, 15)])


class AutobarkTest(SharedTest):
    def timelines(self) -> list[dict[str, Any]]:
        """Every bark that its own author's inbox has, in the order of each author."""

        async def read() -> list[dict[str, Any]]:
            names = self.fleet.world.names
            async with await Wire.open(self.inbox.port, keys.secret(self.fleet.state)) as reader:
                said = []
                for user in names:
                    ask = {"op": "subscribe", "address": f"inbox/{user}", "history": 800}
                    reader.send({**ask, "window": 800})
                    messages = await reader.before_pong()
                    bodies = [m["body"] for m in messages if m["op"] == "message"]
                    said += [body for body in bodies if body["user"] == user]
                return said

        return asyncio.run(read())

    def arrived(self, count: int) -> list[dict[str, Any]]:
        """The same, once there are that many."""
        end = time.monotonic() + DEADLINE_S
        while len(barks := self.timelines()) < count:
            self.assertLess(time.monotonic(), end, f"{len(barks)} of {count}")
        return barks

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: measures a rate")
    def test_count_and_rate_are_kept_a_seed_repeats_and_people_are_left_alone(self) -> None:
        said: list[list[tuple[str, str]]] = []
        ids = {b["id"] for b in self.timelines()}
        before = len(ids)
        for seed, rate in (("5", 2000), ("5", 500), ("6", 2000)):
            begun = time.monotonic()
            run = self.command("autobark", str(rate), "--count", "200", "--seed", seed)
            self.assertGreater(time.monotonic() - begun, 199 / rate)
            self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "", ""))
            barks = [b for b in self.arrived(len(ids) + 200) if b["id"] not in ids]
            self.assertEqual(len(barks), 200)
            ids |= {b["id"] for b in barks}
            said.append(sorted((b["user"], b["content"]) for b in barks))
        self.assertEqual(said[0], said[1])
        self.assertNotEqual(said[0], said[2])
        self.assertEqual({u for barks in said for u, _ in barks} & {*PEOPLE}, set())
        self.assertEqual(len(self.timelines()), before + 600)
