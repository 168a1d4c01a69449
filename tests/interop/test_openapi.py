"""Calls that schemathesis makes of the OpenAPI document: no answer fails, and the document describes every answer.

    python3 -m unittest -v tests/interop/test_openapi.py

PORTCULLIS_OPENAPI_CASES=10000 makes the stateful run that long, instead of some hundred calls.
"""
import json
import os
import subprocess
import tempfile
import unittest
from collections import Counter
from pathlib import Path

from harness import BINARY, DRAIN_SECRET, ROOT, Home, OurDashboard, OurGateway, install

VENV = Path(os.environ.get("PORTCULLIS_SCHEMATHESIS_VENV", ROOT / "target/tools/schemathesis-venv")).absolute()
PACKAGES = ["schemathesis==4.32.5"]
# A status that the document describes may still be a failure of the server: `not_a_server_error`.
CHECKS = ("not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
          "response_schema_conformance")
PASSWORD = "correct horse 7 battery"
USERS = 20
CASES = int(os.environ.get("PORTCULLIS_OPENAPI_CASES", "300"))
# A provider that gives no answer is a described 503, which is no failure of the server.
CONFIGURED = """
[[operations]]
include-path-regex = "/(auth|api)/"
[operations.checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "503"]
"""


def setUpModule():
    if not BINARY.exists():
        raise RuntimeError(f"{BINARY} is missing: build it, or set PORTCULLIS_BIN")
    install(VENV, PACKAGES, "nothing was tested by schemathesis")


def configuration():
    hashed = subprocess.run([BINARY, "provider", "hash-password"], input=PASSWORD + "\n", capture_output=True, text=True,
                            check=True).stdout.strip()
    people = {"name": "people", "component": "builtin:basic", "grants": {"keyvalue": True}, "limits": {"deadline_ms": 5000},
              "config": {"users": [{"username": f"user{number}", "password_hash": hashed} for number in range(USERS)]}}
    # Out of reach: its sign-ins fail, and its logout tokens cannot be checked.
    corp = {"name": "corp", "component": "builtin:oidc", "limits": {"deadline_ms": 1000},
            "config": {"issuer": "http://127.0.0.1:9", "client_id": "portcullis"},
            "grants": {"keyvalue": True, "http": [{"origin": "http://127.0.0.1:9", "networks": ["127.0.0.0/8"]}]}}
    return {"dashboard": {"public_url": "http://agent.test", "branding": {"logo": "logo.svg"}, "allowed_hosts": ["127.0.0.1"], "providers": [people, corp]},
            "gateway": {"command": ["cat"]}}


class OpenApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = Home()
        cls.addClassCleanup(cls.home.close)
        (cls.home.path / "logo.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
        (cls.home.path / "portcullis.yaml").write_text(json.dumps(configuration()))
        OurGateway(cls.home)
        cls.dashboard = OurDashboard(cls.home)
        printed = subprocess.run([BINARY, "openapi"], capture_output=True, text=True, check=True).stdout
        cls.document = json.loads(printed)
        cls.folder = Path(tempfile.mkdtemp(prefix="portcullis-openapi-", dir=cls.home.logs))
        (cls.folder / "openapi.json").write_text(printed)
        (cls.folder / "schemathesis.toml").write_text(CONFIGURED)

    def run_cases(self, seed, *arguments):
        """Runs schemathesis, and returns how often each operation was answered with each status."""
        log = self.folder / f"{self.id()}.log"
        env = {**self.home.env(), "PYTHONPATH": str(ROOT / "tests/interop"), "SCHEMATHESIS_HOOKS": "openapi_hooks",
               "OPENAPI_PORT": self.dashboard.url.rpartition(":")[2], "OPENAPI_DRAIN_SECRET": DRAIN_SECRET,
               "OPENAPI_PASSWORD": PASSWORD, "OPENAPI_USERS": str(USERS), "OPENAPI_LOG": str(log),
               "OPENAPI_FIRST_SIGN_IN": str(7 * seed)}
        run = subprocess.run(
            [VENV / "bin/schemathesis", "--no-color", "--config-file", "schemathesis.toml", "run", "openapi.json", "--url",
             self.dashboard.url, "--checks", CHECKS, "--max-redirects", "0", "--request-timeout", "40", "--seed", str(seed),
             "--generation-database", "none", "--suppress-health-check", "all", "--continue-on-failure",
             "--warnings", "off", "--no-shrink", *arguments], cwd=self.folder, env=env, capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, f"{run.stdout[-8000:]}\n{run.stderr[-2000:]}")
        return Counter(log.read_text().splitlines())

    def test_every_operation_answers_as_described(self):
        answered = self.run_cases(1, "--phases", "examples,coverage,fuzzing", "--max-examples", "5")
        called = {tuple(line.split(" ")[:2]) for line in answered}
        described = {(method.upper(), path) for path, operations in self.document["paths"].items() for method in operations}
        self.assertEqual(described - called, set(), "operations that were never called")
        good = {path for line in answered for _, path, status in [line.split(" ")] if status in ("200", "202", "302", "303")}
        # A web socket and a logout token need more than made-up values, and a gateway that restarts is gone.
        hard = {"/api/ws", "/auth/backchannel/{provider}", "/api/restart", "/api/gateway/restart"}
        self.assertEqual({path for _, path in described} - good - hard, set(), "paths that were never answered well")

    def test_sequences_of_calls_are_answered_as_described(self):
        seed, answered = 0, Counter()
        while sum(answered.values()) < CASES:
            seed += 1
            before = sum(answered.values())
            answered = self.run_cases(seed, "--phases", "stateful", "--max-examples", str(CASES))
            self.assertGreater(sum(answered.values()), before, "schemathesis made no calls")


if __name__ == "__main__":
    unittest.main()
