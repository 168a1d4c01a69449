"""What the interop tests share: the released Hermes agent in a virtual environment, our binary, a stub model, and
one interface over both gateways and both dashboards, so that a check is written once and driven both ways."""
import atexit
import fcntl
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("PORTCULLIS_BIN", ROOT / "target/debug/portcullis")).absolute()
VENV = Path(os.environ.get("PORTCULLIS_HERMES_VENV", ROOT / "target/tools/hermes-venv")).absolute()
# The API server of the gateway needs aiohttp, which the package has only in its extras.
PACKAGES = ["hermes_agent==0.19.0", "aiohttp==3.14.1"]
DRAIN_SECRET = "q7Jm2cV9xR4tN8wB1zL6yH3kD5fG0sPaQeUiOoTnXrY"
API_KEY = "interop-3f9a7c1e5b8d42a6"
KEEP = bool(os.environ.get("PORTCULLIS_INTEROP_KEEP"))  # keep homes and logs
SOON = 20.0
MARKER = ".drain_request.json"


# ---- released packages ----

def skip(reason):
    print(f"\nSKIPPED: {reason}\n", file=sys.stderr, flush=True)
    raise unittest.SkipTest(reason)


def install(venv, packages, untested):
    """Makes a virtual environment once. No PyPI: a loud skip, which says what was not tested. Any other failure is one."""
    done = venv / "interop-packages"
    if done.exists() and done.read_text() == "\n".join(packages):
        return
    venv.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    pip = subprocess.run(
        [venv / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1",
         "--timeout", "15", *packages], capture_output=True, text=True)
    if pip.returncode:
        network = re.search(r"NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|NameResolution|Max retries|SSLError", pip.stderr)
        if network:
            skip(f"PyPI cannot be reached, so {untested} ({network[0]})")
        raise RuntimeError(f"pip install failed:\n{pip.stderr}")
    done.write_text("\n".join(packages))


def install_hermes():
    """Of these tests and those of `tests/people`, which run at the same time, one installs it and the others wait."""
    VENV.parent.mkdir(parents=True, exist_ok=True)
    with open(VENV.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        install(VENV, PACKAGES, "nothing was tested beside the released Hermes agent")


# ---- small tools ----

def eventually(what, look, within=SOON):
    """Polls until `look` gives something true, and returns it."""
    end = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:.1f} s: {what}")
        time.sleep(0.02)


def http(method, url, body=None, token=None, timeout=60):
    """(status, headers, parsed JSON or text); `body` may be an object or raw text. No answer: status 0."""
    data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    if token:
        request.add_header("authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        answer = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        answer = error
    except OSError as error:
        return 0, {}, str(error)
    try:
        with answer:
            text = answer.read().decode(errors="replace")
    except (OSError, ValueError) as error:
        return 0, {}, str(error)
    try:
        return answer.status, answer.headers, json.loads(text)
    except ValueError:
        return answer.status, answer.headers, text


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def can_unshare():
    return os.geteuid() == 0 and shutil.which("unshare") is not None and subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True).returncode == 0


class Process:
    """A program with its output in a file. All that is left is ended when the tests end, however they end."""
    running = set()

    def __init__(self, args, env, log, namespace=False):
        self.namespace = namespace
        if namespace:
            args = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *args]
        if shutil.which("setpriv"):  # ended even if these tests are killed
            args = ["setpriv", "--pdeathsig", "KILL", *args]
        self.log = Path(log)
        with open(self.log, "ab") as out:
            self.from_byte = out.tell()
            self.child = subprocess.Popen(
                [str(arg) for arg in args], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        Process.running.add(self)

    def said(self):
        return self.log.read_bytes()[self.from_byte:].decode(errors="replace")

    def alive(self):
        return self.child.poll() is None

    def target(self):
        """The pid to signal: `unshare` itself ignores SIGTERM, its one child is the program."""
        if not self.namespace:
            return self.child.pid
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
        return int(children[0]) if children else self.child.pid

    def ready(self, what, look, within=60.0):
        def attempt():
            if not self.alive():
                raise AssertionError(f"{what} ended with {self.child.returncode}:\n{self.said()[-3000:]}")
            return look()
        try:
            return eventually(f"{what} is ready", attempt, within)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()[-3000:]}") from None

    def end(self, how=signal.SIGTERM, within=15.0):
        """Its exit code."""
        if self.alive():
            try:
                os.kill(self.target(), how)
                self.child.wait(within)
            except (OSError, subprocess.TimeoutExpired):
                self.child.kill()
                self.child.wait()
        Process.running.discard(self)
        return self.child.returncode

    @staticmethod
    def end_all():
        for process in list(Process.running):
            process.end(within=5.0)


atexit.register(Process.end_all)
signal.signal(signal.SIGTERM, signal.default_int_handler)


class Turn(threading.Thread):
    """One turn, asked for in the background."""

    def __init__(self, ask):
        super().__init__(daemon=True)
        self.ask, self.answer = ask, None
        self.start()

    def run(self):
        self.answer = self.ask()

    def result(self, within=30.0):
        self.join(within)
        if self.answer is None:
            raise AssertionError(f"the turn did not end within {within:.1f} s")
        return self.answer


class Model:
    """An OpenAI-like endpoint on loopback that answers "done", but not while it is held."""

    def __init__(self):
        self.go, self.lock, self.waiting = threading.Event(), threading.Lock(), 0
        self.go.set()
        model = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def reply(self, kind, text, status=200):
                self.send_response(status)
                self.send_header("content-type", kind)
                self.end_headers()
                self.wfile.write(text.encode())

            def do_GET(self):
                models = {"object": "list", "data": [{"id": "stub", "object": "model", "context_length": 200000}]}
                self.reply("application/json", json.dumps(models))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.path != "/v1/chat/completions":
                    return self.reply("application/json", "{}", 404)
                model.hold_up()
                base = {"id": "1", "created": 1, "model": "stub"}
                if not body.get("stream"):
                    choice = {"index": 0, "message": {"role": "assistant", "content": "done"}, "finish_reason": "stop"}
                    return self.reply("application/json", json.dumps({**base, "object": "chat.completion", "choices": [choice]}))
                chunks = [({"role": "assistant", "content": "done"}, None), ({}, "stop")]
                self.reply("text/event-stream", "".join(
                    "data: " + json.dumps({**base, "object": "chat.completion.chunk",
                                           "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}) + "\n\n"
                    for delta, reason in chunks) + "data: [DONE]\n\n")

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def hold_up(self):
        with self.lock:
            self.waiting += 1
        self.go.wait(120)
        with self.lock:
            self.waiting -= 1

    def close(self):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()


# ---- the home, and what runs over it ----

class Home:
    def __init__(self, drain=None):
        self.path = Path(tempfile.mkdtemp(prefix="portcullis-interop-"))
        self.logs = Path(tempfile.mkdtemp(prefix="portcullis-interop-logs-"))
        self.model = Model()
        self.held = self.path / "hold-turns"
        (self.path / "config.yaml").write_text(json.dumps({  # the original's; JSON is YAML
            "model": {"provider": "custom", "default": "stub", "base_url": self.model.url, "api_key": "stub-key-0123456789",
                      "context_length": 200000},
            "security": {"tirith_enabled": False},
        }))
        turn = f'while [ -e "{self.held}" ]; do sleep 0.05; done; echo done'
        (self.path / "portcullis.yaml").write_text(json.dumps({
            "dashboard": {"drain": drain or {}}, "gateway": {"command": ["sh", "-c", turn]},
        }))
        self.marker = self.path / MARKER
        self.used = []
        atexit.register(self.close)

    def env(self, **more):
        """Nothing of ours, and no way out but loopback."""
        nowhere = "http://127.0.0.1:9"
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.path), "HERMES_HOME": str(self.path),
                "HERMES_DASHBOARD_DRAIN_SECRET": DRAIN_SECRET, "HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere,
                "ALL_PROXY": nowhere, "NO_PROXY": "127.0.0.1,localhost", **more}

    def state(self):
        """The status file; empty if it cannot be read just now."""
        try:
            return json.loads((self.path / "gateway_state.json").read_text())
        except (OSError, ValueError):
            return {}

    def mark(self, content):
        """Writes a marker at once: bytes as they are, anything else as JSON."""
        temporary = self.path / "marker-being-written"
        temporary.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        temporary.rename(self.marker)

    def clear(self):
        if self.marker.is_dir() and not self.marker.is_symlink():
            self.marker.rmdir()
        self.marker.unlink(missing_ok=True)

    def hold(self):
        self.held.touch()
        self.model.go.clear()

    def release(self):
        self.held.unlink(missing_ok=True)
        self.model.go.set()

    def close(self):
        atexit.unregister(self.close)
        self.release()
        for part in reversed(self.used):
            if part.process:
                part.process.end()
        self.model.close()
        if KEEP:
            print(f"kept: {self.path} {self.logs}", file=sys.stderr)
        else:
            shutil.rmtree(self.path, ignore_errors=True)
            shutil.rmtree(self.logs, ignore_errors=True)


class Part:
    """A gateway or a dashboard over a home."""

    def __init__(self, home, namespace=False, wait=True):
        self.home, self.namespace, self.process = home, namespace, None
        home.used.append(self)
        self.start(wait)

    def launch(self, args, **env):
        log = self.home.logs / f"{type(self).__name__}.log"
        self.process = Process(args, self.home.env(**env), log, self.namespace)

    def port_said(self, line):
        match = self.process.ready(type(self).__name__, lambda: re.search(line + r" port=(\d+)", self.process.said()))
        self.url = f"http://127.0.0.1:{match[1]}"


class Gateway(Part):
    def ask(self):
        return Turn(self.take_turn)

    def held_turn(self):
        """A turn that is in flight until `home.release()`."""
        self.home.hold()
        turn = self.ask()
        eventually("the turn is in flight", lambda: self.in_flight() or turn.answer)
        if turn.answer:
            raise AssertionError(f"the turn ended at once: {turn.answer}")
        return turn

    def takes_turns(self):
        status, _, body = self.take_turn()
        if status not in (200, 503):
            raise AssertionError(f"a turn was answered {status}: {body}")
        return status == 200


class TheirGateway(Gateway):
    whole_seconds = True  # looks at the marker once a second

    def start(self, wait=True):
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.launch([VENV / "bin/hermes", "gateway", "run", "-v", "--external-supervisor"], API_SERVER_ENABLED="true",
                    API_SERVER_KEY=API_KEY, API_SERVER_HOST="127.0.0.1", API_SERVER_PORT=str(port))
        if wait:
            self.process.ready("TheirGateway", lambda: http("GET", self.url + "/health")[0] == 200
                               and self.home.state().get("gateway_state") not in (None, "starting"))

    def take_turn(self):
        body = {"model": "hermes-agent", "messages": [{"role": "user", "content": "hello"}]}
        return http("POST", self.url + "/v1/chat/completions", body, API_KEY)

    def in_flight(self):
        return self.home.model.waiting


class OurGateway(Gateway):
    whole_seconds = False
    sessions = itertools.count(1)

    def __init__(self, *args, name=str(BINARY), **more):
        self.name = name  # argv[0]: the original tells a gateway by its command line
        super().__init__(*args, **more)

    def start(self, wait=True):
        args = [self.name, "--home", self.home.path, "gateway", "--listen", "127.0.0.1:0"]
        if self.name != str(BINARY):
            (link := self.home.logs / self.name).unlink(missing_ok=True)
            link.symlink_to(BINARY)
            args[0] = link
        self.launch(args)
        if wait:
            self.port_said("PORTCULLIS_READY gateway")

    def take_turn(self):
        body = {"session": f"interop-{next(self.sessions)}", "text": "hello"}
        return http("POST", self.url + "/v1/turns", body)

    def in_flight(self):
        return "interop-" in json.dumps(http("GET", self.url + "/v1/turns")[2])


class Dashboard(Part):
    def status(self):
        code, _, body = http("GET", self.url + "/api/status", timeout=10)
        if code != 200:
            raise AssertionError(f"/api/status was answered {code}: {body}")
        return body

    def post(self, body):
        code, _, answer = http("POST", self.url + "/api/gateway/drain", body, DRAIN_SECRET)
        return code, answer

    def done(self, body):
        code, answer = self.post(body)
        if code != 200 or not answer.get("ok"):
            raise AssertionError(f"{body} was answered {code}: {answer}")
        return answer

    def drain(self, **more):
        return self.done({"action": "drain", **more})

    def cancel(self, **more):
        return self.done({"action": "cancel", **more})


class TheirDashboard(Dashboard):
    def start(self, _wait=True):
        self.launch([VENV / "bin/hermes", "dashboard", "--host", "127.0.0.1", "--port", "0", "--no-open", "--skip-build"])
        self.port_said("HERMES_DASHBOARD_READY")


class OurDashboard(Dashboard):
    def start(self, _wait=True):
        self.launch([BINARY, "--home", self.home.path, "serve", "--port", "0"])
        self.port_said("PORTCULLIS_READY dashboard")


if __name__ == "__main__":  # installs alone; exit code 75 (EX_TEMPFAIL of sysexits.h): skipped
    try:
        install_hermes()
    except unittest.SkipTest:
        sys.exit(75)
    print(VENV)
