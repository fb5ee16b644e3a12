"""The examples for Python run as they are printed, against a small market."""

import os
import subprocess
import sys
import unittest

from processes import ROOT, Server, Sim, folder


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sim = cls.enterClassContext(Sim("--rate", "1000/s", "--symbols", "200", "--sessions", "60"))
        cls.server = cls.enterClassContext(
            Server(cls.sim, cls.enterClassContext(folder()), PANSCAN_HISTORY_DAILY="60")
        )

    def printed(self, path: str, *arguments: str) -> str:
        ended = subprocess.run(
            [sys.executable, ROOT / path, self.server.target, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ,
            check=False,
        )
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return ended.stdout

    def test_first_scan(self):
        lines = self.printed("examples/02_first_scan.py").splitlines()
        self.assertTrue(lines[0].startswith("1 "), lines)
        self.assertIn("'rsi(14)':", lines[0])
        self.assertIn(" of 200, complete: True", lines[-1])

    def test_arrow_table(self):
        printed = self.printed("examples/03_arrow_table.py")
        self.assertIn("month: double", printed)
        self.assertIn("200 symbols", printed)

    def test_the_client_as_a_program(self):
        printed = self.printed("python/panscan_client.py", "close > 0", "close", "rsi(14)")
        self.assertIn("'rank': 1", printed)
        self.assertIn("200 of 200 symbols", printed)


if __name__ == "__main__":
    unittest.main()
