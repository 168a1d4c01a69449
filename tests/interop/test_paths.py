"""Three strangers, each with the documents alone: an operator who sets an agent up, a platform that drains it, an auditor who
trusts neither. Where a document has the commands, they are run as they stand there.

    python3 -m unittest -v tests/interop/test_paths.py
"""
import csv
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness import BINARY, DRAIN_SECRET, ROOT, Home, OurDashboard, OurGateway, Process, Turn, eventually, free_port, http

PASSWORD = "correct horse 7 battery"


def setUpModule():
    if not BINARY.exists():
        raise RuntimeError(f"{BINARY} is missing: build it, or set PORTCULLIS_BIN")


def block(heading, fence):
    """The first block of this kind below a heading of the documents, wherever the page is."""
    for page in sorted(ROOT.glob("docs/**/*.md")):
        _, found, below = page.read_text().partition(f"\n{heading}\n")
        match = re.search(rf"^```{fence}\n(.*?)^```$", re.split(r"\n#{1,3} ", below)[0], re.DOTALL | re.MULTILINE)
        if found and match:
            return match[1]
    raise AssertionError(f"no page has a block of {fence} below {heading!r}")


def prompts(console):
    """The commands of a `console` block, with the lines that a backslash continues."""
    return [match[1].replace("\\\n", " ") for match in re.finditer(r"^\$ ((?:.*\\\n)*.*)$", console, re.MULTILINE)]


class Stranger(unittest.TestCase):
    """A shell in which `portcullis` is the binary, and a folder of the stranger's own."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="portcullis-stranger-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / "bin").mkdir()
        (self.folder / "bin/portcullis").symlink_to(BINARY)
        self.variables = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOME": str(self.folder), "LANG": "C.UTF-8"}

    def shell(self, script, code=0, stdin="", within=None):
        """What a script prints on stdout."""
        done = subprocess.run(["bash", "-e", "-c", script], env=self.variables, cwd=within or self.folder, input=stdin,
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, f"{script}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def json(self, script, **more):
        return json.loads(self.shell(script, **more))


class Operator(Stranger):
    """From nothing to people who sign in; then the work of later days."""

    def start(self, *arguments, ready):
        log = self.folder / f"{len(list(self.folder.glob('*.log')))}.log"
        process = Process([BINARY, *arguments], self.variables, log)
        self.addCleanup(process.end)
        process.ready(" ".join(map(str, arguments)), lambda: ready in process.said())
        return process

    def test_greeting_of_up_works_as_it_is_pasted(self):
        home = self.folder / "agent"
        up = self.start("--home", home, "up", "--port", "0", "--listen", "127.0.0.1:0", ready="Ctrl-C ends both")
        curls = re.findall(r"^  (curl .*)$", up.said(), re.MULTILINE)
        self.assertEqual(len(curls), 5, up.said())
        turn, drain, status, cancel, whoami = (self.shell(f"{curl} --silent --fail") for curl in curls)
        self.assertEqual((turn, json.loads(whoami)["provider"]), ("hello", "service-keys"))
        self.assertTrue(json.loads(drain)["draining"] and json.loads(status)["drain"]["active"])
        self.assertFalse(json.loads(cancel)["draining"])
        self.assertEqual(up.end(), 0)

    def configure(self, home):
        """The documented entry for passwords, with a person who was added by command."""
        self.shell(f"portcullis user add ada --email ada@example.com --file {home}/users.yaml", stdin=PASSWORD + "\n")
        self.variables["BASIC_SECRET"] = self.shell("portcullis secret generate").strip()
        (home / "drain").write_text(DRAIN_SECRET)
        documented = block("## Passwords: `builtin:basic`", "yaml")
        # The page's second person has a hash that stands for one.
        documented = re.sub(r"^ +users: .*\n +- \{username: grace.*\n", "", documented, flags=re.MULTILINE)
        documented = documented.replace("https://agent.example.com", "http://agent.test")
        (home / "portcullis.yaml").write_text(documented.rstrip() + "\n  drain_auth: {secret: {file: drain}}\n")
        for name in ("portcullis.yaml", "users.yaml", "drain"):
            (home / name).chmod(0o600)

    def serve(self, home):
        log = self.start("--home", home, "serve", "--port", "0", "--host", "127.0.0.1", ready="PORTCULLIS_READY")
        return log, f"http://127.0.0.1:{re.search(r'port=([0-9]+)', log.said())[1]}"

    def curl(self, url, path, *more):
        """Status and body, with the cookies of the stranger."""
        jar = self.folder / "cookies"
        answer = subprocess.run(["curl", "-s", "-b", jar, "-c", jar, "-w", "\n%{http_code}", *more, url + path],
                                env=self.variables, capture_output=True, text=True, check=True).stdout
        body, _, status = answer.rpartition("\n")
        return int(status), json.loads(body) if body.startswith("{") else body

    def sign_in(self, url):
        body = json.dumps({"provider": "local", "username": "ada", "password": PASSWORD})
        return self.curl(url, "/auth/password-login", "-H", "content-type: application/json", "-d", body)

    def test_people_sign_in_and_a_backup_brings_all_of_it_back(self):
        home = self.folder / "agent"
        home.mkdir(mode=0o700)
        self.configure(home)
        on_home = f"portcullis --home {home}"
        checked = self.shell(f"{on_home} config check")
        self.assertIn("local: loaded", checked)
        self.assertTrue(self.json(f"{on_home} doctor --json")["ok"])

        dashboard, url = self.serve(home)
        self.assertEqual(self.curl(url, "/api/auth/me")[0], 401)
        self.assertEqual(self.sign_in(url)[0], 200)
        status, me = self.curl(url, "/api/auth/me")
        self.assertEqual((status, me["email"]), (200, "ada@example.com"))

        # Rotation of the drain secret without a gap.
        new = self.shell("portcullis secret generate").strip()
        (home / "drain-new").write_text(new)
        (home / "drain-new").chmod(0o600)
        configured = (home / "portcullis.yaml").read_text()
        (home / "portcullis.yaml").write_text(configured.replace("{file: drain}", "[{file: drain}, {file: drain-new}]"))
        opens = lambda secret: http("GET", url + "/api/gateway/drain", token=secret)[0] == 200
        eventually("the new secret opens", lambda: opens(new))
        self.assertTrue(opens(DRAIN_SECRET), "the old secret stays valid meanwhile")

        # What the page about the home calls a backup, restored elsewhere.
        self.assertEqual(dashboard.end(), 0)
        text = next(page.read_text() for page in ROOT.glob("docs/**/*.md") if "A backup needs" in page.read_text())
        needed = re.findall(r"`([^`]+)`", re.search(r"^A backup needs (.*?)\.$", text, re.DOTALL | re.MULTILINE)[1])
        self.assertIn("session_key", needed)
        restored = self.folder / "restored"
        restored.mkdir(mode=0o700)
        # Files that the configuration names are the operator's own.
        for name in [*needed, "users.yaml", "drain", "drain-new"]:
            if (source := home / name).is_dir():
                shutil.copytree(source, restored / name.rstrip("/"))
            elif source.exists():
                shutil.copy2(source, restored / name)
        _, url = self.serve(restored)
        status, me = self.curl(url, "/api/auth/me")
        self.assertEqual((status, me["email"]), (200, "ada@example.com"), "the session outlives the move")

        # Ending a person's sessions from the command line.
        sessions = lambda: self.json(f"portcullis --home {restored} session list --json")["sessions"]
        [listed] = eventually("the session is listed", sessions)
        self.shell(f"portcullis --home {restored} session end {listed['id']}")
        eventually("the session is over", lambda: self.curl(url, "/api/auth/me")[0] == 401)
        self.assertEqual(self.shell(f"portcullis --home {restored} audit verify").count(": good"), 2)


class Platform(Stranger):
    """Drains an agent before it is upgraded, by the commands of the page about the drain."""

    def setUp(self):
        super().setUp()
        self.home = Home()
        self.addCleanup(self.home.close)
        self.gateway = OurGateway(self.home)
        self.dashboard = OurDashboard(self.home)
        self.variables.update(URL=self.dashboard.url, SECRET=DRAIN_SECRET, HERMES_HOME=str(self.home.path))
        configured = json.loads((self.home.path / "portcullis.yaml").read_text())
        configured["dashboard"]["port"] = int(self.dashboard.url.rpartition(":")[2])
        (self.home.path / "portcullis.yaml").write_text(json.dumps(configured))
        (self.home.path / "drain-secret").write_text(DRAIN_SECRET)
        (self.home.path / "drain-secret").chmod(0o600)

    def gateway_drains(self):
        status = self.dashboard.status()
        return status["drain"]["active"] and status["acknowledged"]

    def test_quick_start_drains_around_a_turn_in_flight(self):
        begin, cancel = block("## Quick start", "sh").strip().splitlines()
        self.assertTrue(begin.startswith("portcullis drain begin") and cancel.startswith("portcullis drain cancel"))
        turn = self.gateway.held_turn()
        waiting = Turn(lambda: self.shell(begin))
        eventually("the gateway drains", lambda: self.gateway_drains() or waiting.answer)
        status, headers, refused = self.gateway.take_turn()
        self.assertEqual((status, headers["retry-after"], refused["code"]), (503, "1", "gateway_draining"))
        self.assertFalse(self.dashboard.status()["quiesced"])
        self.assertIsNone(waiting.answer, "it waits for the turn")
        self.home.release()
        self.assertEqual(turn.result()[0], 200)
        waiting.result()
        self.assertTrue(self.dashboard.status()["quiesced"])
        self.shell(cancel)
        eventually("turns are accepted again", self.gateway.takes_turns)

    def test_protocol_is_as_its_examples(self):
        drain, cancel = prompts(block("## `POST /api/gateway/drain`", "console"))
        begun = self.json(drain)
        self.assertEqual([holder["owner"] for holder in begun["holders"]], ["upgrade"])
        self.assertTrue(begun["acknowledged"], begun)
        [look] = prompts(block("## `GET /api/gateway/drain`", "console"))
        self.assertTrue(self.json(look)["drained"])
        [status] = prompts(block("## `GET /api/status`", "console"))
        self.assertTrue(self.json(status)["quiesced"])
        cancelled = self.json(cancel)
        self.assertEqual((cancelled["was_draining"], cancelled["draining"], cancelled["acknowledged"]), (True, False, True))

    def test_every_way_to_fail_has_its_exit_code(self):
        self.gateway.held_turn()
        too_slow = self.json("portcullis drain begin --owner upgrade --wait --timeout 1 --json", code=2)
        self.assertEqual(too_slow["error"], "timeout")
        self.shell("portcullis drain wait --timeout 1 --owner upgrade --cancel-on-timeout", code=2)
        self.assertFalse(self.dashboard.status()["drain"]["active"])
        (self.folder / "wrong").write_text("M3xT9vQ2rL7wZ5kB8nC1yH6jD4fG0sPaUeIiOoRrSsX")
        for script, code, error in [
            (f"portcullis drain begin --url $URL --secret-file {self.folder}/wrong --json", 3, "refused"),
            (f"HERMES_DASHBOARD_DRAIN_SECRET=$SECRET portcullis drain status --url http://127.0.0.1:{free_port()} --json", 4,
             "unreachable"),
            ("portcullis drain wait --timeout 20 --json", 5, "no_longer_draining"),
        ]:
            self.assertEqual(self.json(script, code=code)["error"], error, script)


class Auditor(Stranger):
    """Checks on another machine what happened here, with a key that was noted before."""

    def setUp(self):
        super().setUp()
        home = Home()
        self.addCleanup(home.close)
        self.home = home.path
        dashboard = OurDashboard(home)
        self.noted = self.shell(f"portcullis --home {self.home} audit key").strip()
        dashboard.drain(owner="upgrade", reason="image 2.1")
        dashboard.cancel(owner="upgrade")
        http("GET", dashboard.url + "/api/gateway/drain", token="not-the-secret")
        dashboard.process.end()
        self.elsewhere = self.folder / "elsewhere"
        shutil.copytree(self.home / "logs", self.elsewhere)

    def verify(self, code=0):
        log = self.elsewhere / "dashboard-auth.log"
        return self.shell(f"portcullis --home {self.folder}/none audit verify --log {log} --public-key {self.noted}", code=code)

    def test_log_is_proven_by_the_command_and_by_the_documented_script(self):
        doctor = self.json(f"portcullis --home {self.home} doctor --json || true")
        self.assertIn(self.noted, json.dumps(doctor["findings"]))
        self.assertIn(": good", self.verify())
        script = f"python3 -c '{block('## What proves the log', 'python')}'"
        self.shell(script, within=self.elsewhere)

        log = self.elsewhere / "dashboard-auth.log"
        log.write_text(log.read_text().replace("image 2.1", "image 2.0"))
        self.assertIn("FINDING: dashboard-auth.log:", self.verify(code=1))
        self.shell(script, code=1, within=self.elsewhere)

    def test_log_of_another_key_is_no_proof(self):
        other = Home()
        self.addCleanup(other.close)
        forger = OurDashboard(other)
        forger.drain(owner="upgrade", reason="image 2.1")
        forger.process.end()
        shutil.copytree(other.path / "logs", self.elsewhere, dirs_exist_ok=True)
        self.assertIn("signed by another key", self.verify(code=1))

    def test_questions_of_an_audit_have_answers(self):
        on_home = f"portcullis --home {self.home} audit"
        [begin] = self.shell(f"{on_home} query --event drain_begin --json").splitlines()
        begin = json.loads(begin)
        self.assertEqual((begin["principal"], begin["owner"], begin["reason"]), ("drain-control", "upgrade", "image 2.1"))
        [refused] = self.shell(f"{on_home} query --event token_auth_failure --since 1h --json").splitlines()
        self.assertNotIn("not-the-secret", refused)
        rows = list(csv.DictReader(self.shell(f"{on_home} export --format csv").splitlines()))
        self.assertEqual([row["event"] for row in rows if row["event"].startswith("drain")], ["drain_begin", "drain_cancel"])
        events = [json.loads(line) for line in self.shell(f"{on_home} export --format ocsf").splitlines()]
        self.assertEqual(len(events), len(rows))
        self.assertEqual({event["class_uid"] for event in events if "auth" in event["activity_name"]}, {3002})

    def test_surface_is_written_down_by_the_binary(self):
        paths = self.json("portcullis openapi")["paths"]
        self.assertTrue({"/api/gateway/drain", "/auth/verify", "/api/status"} <= paths.keys())
        self.assertIn("dashboard", self.json("portcullis config schema")["properties"])


if __name__ == "__main__":
    unittest.main()
