"""docs/hermes.md is true: its commands are run as they stand, with the released Hermes agent."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

import harness

PAGE = harness.ROOT / "docs/hermes.md"
# What the page says that the suite changes.
PORTS = ["8443", "9120"]
NOWHERE = "http://127.0.0.1:9"
# A line's end at which the shell goes on while the command runs.
BACKGROUND = re.compile(r" &$", re.MULTILINE)


def blocks():
    """The commands of each step."""
    found = re.findall(r"^( *)```sh\n(.*?)^\1```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(commands) for _, commands in found]


class Walkthrough(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        harness.install_hermes()  # or skips

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="portcullis-walkthrough-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def run_script(self, script, env, within):
        """What the script prints. What it starts in the background is ended with it."""
        script = BACKGROUND.sub(' &\nSTARTED="$STARTED $!"', script)
        script = "STARTED=\ntrap 'test -z \"$STARTED\" || { kill $STARTED; wait; }' EXIT\n" + script
        printed = self.folder / "printed"
        with open(printed, "wb") as out:
            status = subprocess.run(["sh", "-euc", script], cwd=self.folder, env=env, stdin=subprocess.DEVNULL,
                                    stdout=out, stderr=out, timeout=within).returncode
        logs = "".join(f"\n== {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in self.folder.glob("*.log"))
        text = printed.read_text(errors="replace")
        self.assertEqual(status, 0, f"{script}\n{text}{logs}")
        return text

    def test_the_page_works_from_the_first_command_to_the_last(self):
        steps = blocks()
        self.assertEqual(len(steps), 10, "the page says ten steps")
        free = {port: str(harness.free_port()) for port in PORTS}
        steps = [re.sub("|".join(PORTS), lambda found: free[found[0]], step) for step in steps]
        tools = str(harness.BINARY.parent)
        env = {name: value for name, value in os.environ.items() if not name.startswith(("HERMES_", "PORTCULLIS_"))}
        cache = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True).stdout.strip()
        env |= {"HOME": str(self.folder), "PATH": f"{tools}:{env['PATH']}", "LANG": "C.UTF-8", "PIP_CACHE_DIR": cache,
                "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.run_script(steps[0], env, 300)

        # The rest needs no network.
        alone = {"HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE, "ALL_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1,localhost,agent.example.com"}
        script = "".join(steps[1:])
        printed = self.run_script(script, env | alone, 300)
        expected = [line.removeprefix("#> ") for line in script.splitlines() if line.startswith("#> ")]
        self.assertGreater(len(expected), 5)
        at = 0
        for line in expected:
            found = printed.find(line, at)
            self.assertGreaterEqual(found, 0, f"{line} does not come after {printed[:at]!r}, but:\n{printed[at:]}")
            at = found + len(line)


if __name__ == "__main__":
    unittest.main()
