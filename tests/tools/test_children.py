"""Ports for tests: two that run at the same time are never given the same one."""

import socket
import subprocess
import sys
import unittest

from barker.disk import files
from tests.tools import children


class PortsTest(unittest.TestCase):
    def test_a_claimed_port_is_claimed_for_every_process_and_free_for_a_service(self) -> None:
        port = children.free_port()
        self.assertFalse(children.claim(port))
        code = f"from tests.tools import children; print(children.claim({port}))"
        run = [sys.executable, "-c", code]
        said = subprocess.run(run, cwd=files.ROOT, capture_output=True, text=True, timeout=60)
        self.assertEqual((said.stdout, said.stderr), ("False\n", ""))
        with socket.create_server(("127.0.0.1", port)):
            self.assertFalse(children.claim(port))

    def test_a_port_that_somebody_listens_at_is_not_free(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.assertFalse(children.claim(server.getsockname()[1]))

    def test_claims_are_given_up_so_that_files_do_not_run_out(self) -> None:
        for _ in range(children.MAX_CLAIMS + 10):
            children.free_port()
        self.assertEqual(len(children._claims), children.MAX_CLAIMS)
