"""The page's reader of an inbox, run by Node.js without a page, with links that are played."""

import json
import shutil
import subprocess
import unittest
from typing import Any

from barker.disk.files import ROOT
from barker.wire import protocol
from tests.tools.fleet import DEADLINE_S

NODE = shutil.which("node")
# What the scripts use besides each other: links, whose messages are the test's.
PLAYED = """
const dialers = [], timers = [];
globalThis.setTimeout = (work, ms) => timers.push([ms, work]);
const Link = {
  OFFLINE_AFTER_MS: 1000,
  written: () => "",
  Dialer: class {
    constructor(place, identity, name, on) {
      Object.assign(this, { on, up: true, sent: [] });
      dialers.push(this);
    }
    send(message) { this.sent.push(message); }
    close() {}
    hurry() {}
  },
};
"""
STORY = """
const told = [];
const tell = (name, all) => { if (name !== "changed") told.push([name, ...all]); };
const on = new Proxy({}, { get: (_, name) => (...all) => tell(name, all) });
const directory = new Peers.Directory({}, {}, () => {});
const reader = new Inbox.Reader("ark3", directory, on);
directory.wanted.get("inbox/ark3")({ op: "target", name: "inbox-1", host: "h", port: 1 });
const link = dialers.at(-1);
link.on.up();
const address = "inbox/ark3";
link.on.message({ op: "unreadable", address, code: CODE, reason: "it is so" });
const noRoom = reader.noRoom, waits = timers.map(([ms]) => ms);
for (const [, work] of timers.splice(0)) work();
const asked = link.sent.map(({ op }) => op);
link.on.message({ op: "subscribed", address, epoch: "ab", serial: 0, last: 0, history: 1 });
console.log(JSON.stringify({ told, noRoom, waits, asked, after: reader.noRoom }));
"""


@unittest.skipUnless(NODE, "Node.js is not there")
class PageReaderTest(unittest.TestCase):
    def told(self, code: str) -> dict[str, Any]:
        scripts = [(ROOT / "webui" / name).read_text("utf-8") for name in ("peers.js", "inbox.js")]
        program = "\n".join([PLAYED, *scripts, f"const CODE = {json.dumps(code)};", STORY])
        done = subprocess.run(
            [str(NODE), "-"],
            input=program,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=DEADLINE_S,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def test_what_has_no_room_now_is_asked_again_and_is_no_missing_user(self) -> None:
        for code in protocol.READABLE_LATER:
            result = self.told(code)
            self.assertEqual(result["told"], [["caughtUp"]])
            self.assertEqual((result["noRoom"], result["after"]), ("it is so", ""))
            self.assertEqual((len(result["waits"]), result["asked"]), (1, ["subscribe"] * 2))

    def test_a_user_that_there_is_not_is_told_at_once(self) -> None:
        result = self.told(protocol.UNKNOWN_USER)
        self.assertEqual(result["told"][0], ["refused", "it is so"])
        self.assertEqual((result["noRoom"], result["waits"]), ("", []))
