"""Portcullis orders its certificate from Pebble, the ACME server that Let's Encrypt publishes for tests of clients, and from
directories that misbehave. Pebble refuses some nonces and reuses some authorizations at random.

    python3 -m unittest discover -v -s tests/interop -p test_acme.py
"""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness import BINARY, ROOT, Process, eventually, free_port, skip

CERTIFICATES = ROOT / "tests/certificates"
AUTHORITY = CERTIFICATES / "authority.pem"
DOMAIN, SECOND = "agent.example.com", "second.example.com"
# As a directory shows it.
EXTERNAL_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
TOKEN = "Jx3_8vTqk0ZrWm2yLhNcPd5uBfGa7sEoKi9tRb1XwQc"
# The first retry comes after 7.5 to 12.5 seconds.
RETRIED = 40.0


def setUpModule():
    if not BINARY.exists():
        raise RuntimeError(f"{BINARY} is missing: build it, or set PORTCULLIS_BIN")
    missing = [program for program in ("pebble", "pebble-challtestsrv") if not shutil.which(program)]
    if missing:
        skip(f"{' and '.join(missing)} cannot be found, so no certificate was ordered (apt-get install pebble)")


class Folder:
    """A temporary folder that goes when the test ends."""

    def __init__(self, test):
        self.path = Path(tempfile.mkdtemp(prefix="portcullis-acme-"))
        test.addCleanup(shutil.rmtree, self.path, ignore_errors=True)


class Pebble:
    """The directory. All its state is gone when it ends, and each run signs with another root."""

    def __init__(self, test, tls_port, valid_seconds=86_400, needs_external_account=False):
        self.test, self.folder = test, Folder(test).path
        self.port, self.management, self.dns = free_port(), free_port(), free_port()
        self.valid_seconds, self.needs_external_account = valid_seconds, needs_external_account
        self.process = self.names = None
        self.tls_port, self.http_port = tls_port, free_port()
        self.url = f"https://127.0.0.1:{self.port}/dir"

    def start(self):
        self.names = Process(
            ["pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "",
             "-tlsalpn01", "", "-dns01", f"127.0.0.1:{self.dns}", "-management", f"127.0.0.1:{free_port()}"],
            dict(os.environ), self.folder / "names.log")
        configuration = self.folder / "pebble.json"
        configuration.write_text(json.dumps({"pebble": {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(CERTIFICATES / "good.pem"), "privateKey": str(CERTIFICATES / "server.key"),
            "httpPort": self.http_port, "tlsPort": self.tls_port, "ocspResponderURL": "",
            "externalAccountBindingRequired": self.needs_external_account,
            "externalAccountMACKeys": {"kid-1": EXTERNAL_KEY, "kid-2": EXTERNAL_KEY},
            "certificateValidityPeriod": self.valid_seconds}}))
        self.process = Process(
            ["pebble", "-config", configuration, "-dnsserver", f"127.0.0.1:{self.dns}"],
            # It else refuses a nonce now and then, and the request that is sent again would be counted twice.
            {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}, self.folder / "pebble.log")
        self.test.addCleanup(self.stop)
        self.process.ready("Pebble", self.look_for_root)
        return self

    def look_for_root(self):
        try:
            context = ssl.create_default_context(cafile=AUTHORITY)
            address = f"https://127.0.0.1:{self.management}/roots/0"
            with urllib.request.urlopen(address, timeout=5, context=context) as answer:
                self.root = answer.read().decode()
            return True
        except OSError:
            return False

    def stop(self):
        for process in (self.process, self.names):
            if process:
                process.end()

    def asked(self, path):
        """How often this resource was asked for."""
        return self.process.said().count(f"POST /{path} -> calling handler()")


class Dashboard:
    def __init__(self, test, **acme):
        self.test, self.home, self.port = test, Folder(test).path, free_port()
        self.process = self.http_port = None
        self.settings = {"domains": [DOMAIN], "ca": {"file": str(AUTHORITY)}, **acme}

    def start(self, **acme):
        self.settings |= acme
        front = {"tls": {"acme": self.settings}}
        if self.http_port:
            front["redirect_http"] = f"127.0.0.1:{self.http_port}"
        (self.home / "portcullis.yaml").write_text(json.dumps({"dashboard": {  # JSON is YAML
            "port": self.port, "allowed_hosts": self.settings["domains"], **front}}))
        env = {"PATH": os.environ["PATH"], "HERMES_DASHBOARD_SESSION_TOKEN": TOKEN}
        log = self.home.with_suffix(".log")
        self.test.addCleanup(log.unlink, missing_ok=True)
        # The gate for people is not what is tested here.
        self.process = Process([BINARY, "--home", self.home, "serve", "--insecure"], env, log)
        self.test.addCleanup(self.process.end)
        self.process.ready("the dashboard", lambda: "PORTCULLIS_READY dashboard" in self.process.said())
        return self

    def stop(self):
        return self.process.end(signal.SIGTERM)

    def logged(self, text, within=RETRIED):
        """Waits for a line with this text, and returns it."""
        def line():
            if not self.process.alive():
                raise AssertionError(f"the dashboard ended: {self.process.said()[-3000:]}")
            return next((line for line in self.process.said().splitlines() if text in line), None)
        try:
            return eventually(f"the log says {text!r}", line, within)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.said()[-3000:]}") from None

    def connect(self, root, name=DOMAIN, protocols=("http/1.1",)):
        context = ssl.create_default_context(cadata=root)
        context.set_alpn_protocols(list(protocols))
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        try:
            return context.wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def ask(self, root, path="/healthz", name=DOMAIN):
        """(status, text, serial number of the certificate), for a client that trusts this root alone."""
        connection = http.client.HTTPSConnection(name)
        connection.sock = self.connect(root, name)
        try:
            serial = connection.sock.getpeercert()["serialNumber"]
            connection.request("GET", path, headers={"X-Hermes-Session-Token": TOKEN})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), serial
        finally:
            connection.close()

    def examined(self):
        """(severity, what was found) of the doctor's check of the certificate."""
        run = subprocess.run([BINARY, "--home", self.home, "doctor", "--json"], capture_output=True, text=True, timeout=60)
        finding = next(found for found in json.loads(run.stdout)["findings"] if found["check"] == "certificate")
        return finding["severity"], finding["what"]

    def kept(self, name):
        return self.home / "acme" / name


class WithPebble(unittest.TestCase):
    def dashboard_and_pebble(self, valid_seconds=86_400, **acme):
        dashboard = Dashboard(self, **acme)
        pebble = Pebble(self, dashboard.port, valid_seconds)
        dashboard.settings.setdefault("directory", pebble.url)
        return dashboard, pebble

    def test_first_order_and_a_restart_without_another(self):
        dashboard, pebble = self.dashboard_and_pebble(
            domains=[DOMAIN, SECOND], contact=["mailto:ops@example.com"])
        pebble.start()
        dashboard.start()
        line = dashboard.logged("there is no certificate yet")
        self.assertIn(DOMAIN, line)
        dashboard.logged("certificate obtained")

        for name in (DOMAIN, SECOND):
            status, text, serial = dashboard.ask(pebble.root, name=name)
            self.assertEqual((status, text), (200, "ok\n"), name)
        _, metrics, _ = dashboard.ask(pebble.root, "/metrics")
        ends = re.search(r"^portcullis_certificate_expiry_timestamp_seconds ([\d.e+]+)$", metrics, re.M)
        self.assertAlmostEqual(float(ends[1]), time.time() + 86_400, delta=600)
        eventually("the certificate is kept", dashboard.kept("certificate.pem").exists)
        for name, mode in (("", 0o700), ("account.json", 0o600), ("certificate.pem", 0o600)):
            self.assertEqual(stat.S_IMODE(dashboard.kept(name).stat().st_mode), mode, name)
        severity, what = dashboard.examined()
        self.assertEqual(severity, "ok", what)
        self.assertIn("is renewed from", what)

        dashboard.stop()
        dashboard.start()
        dashboard.logged("the certificate that the home keeps is presented")
        self.assertEqual(dashboard.ask(pebble.root)[::2], (200, serial))
        self.assertEqual((pebble.asked("order-plz"), pebble.asked("sign-me-up")), (1, 1))

        # Another domain needs another certificate. The one that is there serves meanwhile, and the account stays.
        dashboard.stop()
        dashboard.start(domains=[DOMAIN, "third.example.com"], contact=["mailto:other@example.com"])
        dashboard.logged("certificate renewed")
        self.assertEqual(dashboard.ask(pebble.root, name="third.example.com")[0], 200)
        self.assertEqual(pebble.asked("sign-me-up"), 1)
        self.assertEqual(json.loads(dashboard.kept("account.json").read_text())["contact"], ["mailto:other@example.com"])

    def test_renewal_and_a_directory_that_then_fails(self):
        dashboard, pebble = self.dashboard_and_pebble(valid_seconds=40)
        pebble.start()
        dashboard.start()
        dashboard.logged("certificate obtained")
        first = dashboard.ask(pebble.root)[2]
        # After two thirds of 40 seconds.
        dashboard.logged("certificate renewed", within=60)
        status, _, second = dashboard.ask(pebble.root)
        self.assertEqual(status, 200)
        self.assertNotEqual(first, second)

        pebble.stop()
        line = dashboard.logged("the certificate is not renewed: the present one stays", within=60)
        self.assertIn("Connection refused", line)
        self.assertEqual(dashboard.ask(pebble.root)[::2], (200, second))

    def test_directory_that_is_down_is_asked_again(self):
        dashboard, pebble = self.dashboard_and_pebble()
        dashboard.start()
        line = dashboard.logged("no certificate was obtained")
        for text in (pebble.url, "Connection refused", "retry_in_seconds"):
            self.assertIn(text, line)
        with self.assertRaises(ssl.SSLError):
            dashboard.connect(AUTHORITY.read_text())
        severity, what = dashboard.examined()
        self.assertEqual(severity, "warn", what)
        self.assertIn("there is no certificate", what)
        pebble.start()
        dashboard.logged("certificate obtained")
        self.assertEqual(dashboard.ask(pebble.root)[0], 200)

    def test_directory_that_forgot_the_account_gets_a_new_one(self):
        dashboard, pebble = self.dashboard_and_pebble(valid_seconds=30)
        pebble.start()
        dashboard.start()
        dashboard.logged("certificate obtained")
        account = json.loads(dashboard.kept("account.json").read_text())
        dashboard.stop()
        pebble.stop()
        pebble.start()
        dashboard.start()
        dashboard.logged("certificate renewed")
        self.assertEqual(dashboard.ask(pebble.root)[0], 200)
        self.assertNotEqual(account, json.loads(dashboard.kept("account.json").read_text()))

    def test_challenge_that_does_not_reach_the_dashboard(self):
        dashboard, pebble = self.dashboard_and_pebble()
        pebble.tls_port = free_port()
        pebble.start()
        dashboard.start()
        line = dashboard.logged("no certificate was obtained")
        self.assertIn(f"the directory could not verify {DOMAIN}: ", line)
        self.assertIn(f"Failed to connect to 127.0.0.1:{pebble.tls_port}", line)
        self.assertIn("port 443", line)

    def test_challenge_over_plain_http(self):
        dashboard, pebble = self.dashboard_and_pebble(domains=[DOMAIN, SECOND], challenge="http-01")
        dashboard.http_port = pebble.http_port
        # Nothing is there: the order succeeds by HTTP alone.
        pebble.tls_port = free_port()
        pebble.start()
        dashboard.start()
        dashboard.logged("certificate obtained")
        self.assertEqual(dashboard.ask(pebble.root)[:2], (200, "ok\n"))
        plain = http.client.HTTPConnection("127.0.0.1", pebble.http_port, timeout=10)
        self.addCleanup(plain.close)
        plain.request("GET", "/.well-known/acme-challenge/made-up")
        self.assertEqual(plain.getresponse().status, 404)

    def test_challenge_over_plain_http_that_does_not_reach_the_dashboard(self):
        dashboard, pebble = self.dashboard_and_pebble(challenge="http-01")
        dashboard.http_port = free_port()
        pebble.start()
        dashboard.start()
        line = dashboard.logged("no certificate was obtained")
        self.assertIn(f"the directory could not verify {DOMAIN}: ", line)
        self.assertIn("port 80", line)

    def test_account_that_is_refused(self):
        dashboard, pebble = self.dashboard_and_pebble()
        pebble.needs_external_account = True
        pebble.start()
        dashboard.start()
        line = dashboard.logged("no certificate was obtained")
        self.assertIn("the directory refused the account: ", line)
        self.assertIn("externalAccountRequired", line)
        self.assertFalse(dashboard.kept("account.json").exists())

    def test_account_that_is_bound_to_an_external_one(self):
        dashboard, pebble = self.dashboard_and_pebble(eab={"kid": "kid-1", "hmac": EXTERNAL_KEY})
        pebble.needs_external_account = True
        pebble.start()
        dashboard.start()
        dashboard.logged("certificate obtained")
        self.assertNotIn(EXTERNAL_KEY, dashboard.process.said())

    def test_another_external_account_needs_another_account(self):
        dashboard, pebble = self.dashboard_and_pebble(eab={"kid": "kid-1", "hmac": EXTERNAL_KEY})
        pebble.needs_external_account = True
        pebble.start()
        dashboard.start()
        dashboard.logged("certificate obtained")
        first = json.loads(dashboard.kept("account.json").read_text())
        self.assertEqual(first["kid"], "kid-1")

        # Another domain, so that an order is due at once.
        dashboard.stop()
        dashboard.start(domains=[DOMAIN, SECOND], eab={"kid": "kid-2", "hmac": EXTERNAL_KEY})
        dashboard.logged("certificate renewed")
        second = json.loads(dashboard.kept("account.json").read_text())
        self.assertEqual(second["kid"], "kid-2")
        self.assertNotEqual(first["credentials"], second["credentials"])
        self.assertEqual(pebble.asked("sign-me-up"), 2)

        # A key that can be used once may be removed: the account stays.
        dashboard.stop()
        del dashboard.settings["eab"]
        dashboard.start(domains=[DOMAIN, "third.example.com"])
        dashboard.logged("certificate renewed")
        self.assertEqual(json.loads(dashboard.kept("account.json").read_text()), second)
        self.assertEqual(pebble.asked("sign-me-up"), 2)

    def test_account_that_is_bound_by_another_key(self):
        dashboard, pebble = self.dashboard_and_pebble(eab={"kid": "kid-1", "hmac": EXTERNAL_KEY[::-1]})
        pebble.needs_external_account = True
        pebble.start()
        dashboard.start()
        self.assertIn("the directory refused the account: ", dashboard.logged("no certificate was obtained"))
        self.assertFalse(dashboard.kept("account.json").exists())

    def test_directory_of_an_authority_that_is_not_trusted(self):
        dashboard, pebble = self.dashboard_and_pebble(ca={"file": str(CERTIFICATES / "other-authority.pem")})
        pebble.start()
        dashboard.start()
        self.assertIn("dashboard.tls.acme.ca names another one", dashboard.logged("no certificate was obtained"))

    def test_client_that_asks_for_a_challenge_without_one_gets_nothing_more(self):
        dashboard, pebble = self.dashboard_and_pebble()
        pebble.start()
        dashboard.start()
        dashboard.logged("certificate obtained")
        with dashboard.connect(pebble.root, protocols=["acme-tls/1"]) as stream:
            self.assertEqual(stream.selected_alpn_protocol(), "acme-tls/1")
            try:
                stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: agent.example.com\r\n\r\n")
                self.assertEqual(stream.recv(1), b"")
            except OSError:
                pass  # the connection was reset
        self.assertEqual(dashboard.ask(pebble.root)[0], 200)


class Misbehaving:
    """A directory on loopback that answers each path in another wrong way."""

    def __init__(self, test):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def reply(self, status, kind, body, **headers):
                self.send_response(status)
                for name, value in {"content-type": kind, "content-length": len(body), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_HEAD(self):
                self.reply(200, "text/plain", b"", **{"Replay-Nonce": "bm9uY2U"})

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                problem = {"type": "urn:ietf:params:acme:error:invalidContact", "detail": "no\nFORGED \u202e" + "x" * 5000}
                body = json.dumps(problem).encode()
                self.reply(400, "application/problem+json", body, **{"Replay-Nonce": "bm9uY2U"})

            def do_GET(self):
                here = f"http://{self.headers['host']}"
                elsewhere = {"/leads-elsewhere": "http://192.0.2.1", "/leads-to-a-file": "file://", "/leads-nowhere": "no url"}
                elsewhere = elsewhere.get(self.path, here)
                if self.path == "/endless":
                    return self.pour()
                if self.path == "/redirect":
                    return self.reply(302, "text/plain", b"", Location=here + "/refuses")
                if self.path == "/html":
                    return self.reply(503, "text/html", b"<h1>Service Unavailable</h1>")
                if self.path == "/not-acme":
                    return self.reply(200, "application/json", b'{"hello": "world"}')
                names = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange")
                self.reply(200, "application/json", json.dumps({name: f"{elsewhere}/{name}" for name in names}).encode())

            def pour(self):
                self.send_response(200)
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(b" " * 65536)
                except OSError:
                    pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        test.addCleanup(self.server.server_close)
        test.addCleanup(self.server.shutdown)


class WithMisbehavingDirectories(unittest.TestCase):
    def test_each_gives_one_clear_line_and_ends_nothing(self):
        directory = Misbehaving(self)
        for path, expected in (
            ("/endless", "its answer is longer than 256 KiB"),
            ("/redirect", "redirects are not followed"),
            ("/html", "503 Service Unavailable without a reason"),
            ("/not-acme", "its answer is not what RFC 8555 prescribes"),
            ("/leads-elsewhere", "it names http://192.0.2.1/newNonce, which is not https"),
            ("/leads-to-a-file", "it names file:///newNonce, which is not https"),
            ("/leads-nowhere", "it names no url/newNonce, which is not https"),
            ("/refuses", "the directory refused the account: no\\nFORGED"),
        ):
            with self.subTest(path):
                dashboard = Dashboard(self, directory=directory.url + path)
                del dashboard.settings["ca"]
                dashboard.start()
                line = dashboard.logged("no certificate was obtained")
                self.assertIn(expected, line)
                self.assertLess(len(line), 1000)
                self.assertFalse([said for said in dashboard.process.said().splitlines() if said.startswith("FORGED")])
                self.assertNotIn("\u202e", dashboard.process.said())
                self.assertEqual(dashboard.stop(), 0)

    def test_directory_that_never_answers_does_not_hold_up_the_end(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            dashboard = Dashboard(self, directory=f"http://127.0.0.1:{silent.getsockname()[1]}/")
            del dashboard.settings["ca"]
            dashboard.start()
            connection, _ = silent.accept()
            with connection:
                self.assertEqual(dashboard.stop(), 0)


if __name__ == "__main__":
    unittest.main()
