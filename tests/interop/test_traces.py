"""Traces of the real binary, read by a collector with OpenTelemetry's published messages.

    python3 -m unittest discover -v -s tests/interop -p test_traces.py
"""
import hashlib
import http.client
import json
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness import BINARY, DRAIN_SECRET, ROOT, Process, eventually, skip

try:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse)
except ImportError:
    ExportTraceServiceRequest = None
try:
    import grpc
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
        TraceServiceServicer, add_TraceServiceServicer_to_server)
except ImportError:
    grpc = None

CERTIFICATES = ROOT / "tests/certificates"
KEY = "sk-3d9f61b07c5e4a28-traces"
PASSWORD = "lovelace-engine-1843"
EMAIL = "ada@example.test"
QUERY = "query-7c1e5b8d42a6"
PATH_KEY = "9f3c1b7e2d8a4650"
COLLECTOR_KEY = "collector-5b8d42a63f9a7c1e"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
INTERNAL, SERVER, CLIENT = 1, 2, 3


def setUpModule():
    if not BINARY.exists():
        raise RuntimeError(f"{BINARY} is missing: build it, or set PORTCULLIS_BIN")
    if ExportTraceServiceRequest is None:
        skip("without the package opentelemetry-proto no traces were read")


class Server:
    """Notes every request."""

    def __init__(self, answer=b"", tls=False):
        self.requests, server = [], self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def respond(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                server.requests.append((self.command, self.path, self.headers, body))
                self.send_response(200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = respond

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATES / "good.pem", CERTIFICATES / "server.key")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Span:
    def __init__(self, span):
        self.name, self.kind, self.is_error = span.name, span.kind, span.status.code == 2
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.links = [link.trace_id.hex() for link in span.links]
        self.took = span.end_time_unix_nano - span.start_time_unix_nano
        self.attributes = {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}

    def __repr__(self):
        return f"{self.name} {self.attributes}"


class Received:
    """What the requests of a collector hold. The last of each request's parts is its message."""

    def raw(self):
        return b"".join(body for *_, body in self.requests)

    def spans(self):
        found = []
        for *_, body in self.requests:
            request = ExportTraceServiceRequest()
            request.ParseFromString(body)
            for resource in request.resource_spans:
                found += [Span(span) for scope in resource.scope_spans for span in scope.spans]
        return found

    def of_trace(self, trace, count):
        """The spans of a trace by name and kind; nothing before there are so many."""
        found = {(span.name, span.kind): span for span in self.spans() if span.trace == trace}
        return found if len(found) == count else None

    def resource(self):
        request = ExportTraceServiceRequest()
        request.ParseFromString(self.requests[0][-1])
        return {one.key: one.value.string_value for one in request.resource_spans[0].resource.attributes}

    def wait_for(self, name, trace=None):
        """The first span of this name."""
        def look():
            return next((span for span in self.spans() if span.name == name and trace in (None, span.trace)), None)
        return eventually(f"a span {name}", look)


class Collector(Received, Server):
    """Takes spans over OTLP/HTTP."""


class GrpcCollector(Received):
    """The published service on gRPC's own server. It answers with these, and from then on that it took all."""

    def __init__(self, *answers, tls=False):
        self.requests, collector = [], self
        answers = list(answers)

        class Service(TraceServiceServicer):
            def Export(self, request, context):
                collector.requests.append((dict(context.invocation_metadata()), request.SerializeToString()))
                answer = answers.pop(0) if answers else ExportTraceServiceResponse()
                if isinstance(answer, grpc.StatusCode):
                    context.abort(answer, "as the test says")
                return answer

        self.server = grpc.server(ThreadPoolExecutor(max_workers=2))
        add_TraceServiceServicer_to_server(Service(), self.server)
        if tls:
            pair = [(CERTIFICATES / name).read_bytes() for name in ("server.key", "good.pem")]
            self.port = self.server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tuple(pair)]))
        else:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def close(self):
        self.server.stop(None).wait()


class Dashboard:
    def __init__(self, collector_port, app_port, scheme="http", **otlp):
        self.home = Path(tempfile.mkdtemp(prefix="portcullis-traces-"))
        hashed = subprocess.run([BINARY, "provider", "hash-password"], input=PASSWORD, text=True, check=True, capture_output=True)
        keys = [{"sha256": hashlib.sha256(KEY.encode()).hexdigest(), "principal": "ci-bot", "scopes": ["app.use", "metrics.read"]}]
        users = [{"username": "ada", "password_hash": hashed.stdout.strip(), "email": EMAIL}]
        (self.home / "collector-key").write_text(COLLECTOR_KEY)
        (self.home / "portcullis.yaml").write_text(json.dumps({"dashboard": {
            "public_url": "http://agent.test",
            "trusted_proxies": ["127.0.0.1"],
            "telemetry": {"otlp": {"endpoint": f"{scheme}://127.0.0.1:{collector_port}", "protocol": "http",
                                   "headers": {"x-collector-key": {"file": "collector-key"}}, **otlp}},
            "token_routes": [{"path": "/metrics", "scope": "metrics.read"}],
            "providers": [
                {"name": "keys", "component": "builtin:service-keys", "config": {"keys": keys},
                 "grants": {"scopes": ["app.use", "metrics.read"]}},
                {"name": "people", "component": "builtin:basic", "config": {"users": users}, "grants": {"keyvalue": True},
                 "limits": {"deadline_ms": 5000}},
            ],
            "apps": [{"name": "app", "path": "/app", "upstream": f"http://127.0.0.1:{app_port}",
                      "allow": ["people", {"scope": "app.use"}]}],
        }}))
        env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(self.home),
               "HERMES_DASHBOARD_DRAIN_SECRET": DRAIN_SECRET}
        self.process = Process([BINARY, "--home", self.home, "serve", "--port", "0"], env, self.home / "log")
        said = self.process.ready("the dashboard", lambda: re.search(r"READY dashboard port=(\d+)", self.process.said()))
        self.port = int(said[1])

    def send(self, method, path, body=None, source="127.0.0.1", **headers):
        """(status, headers, text). `source` is the address of the peer; underscores in names of headers are hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(source, 0))
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            headers["content-type"] = "application/json"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, text

    def dropped(self):
        """How many spans were not exported."""
        _, _, text = self.send("GET", "/metrics", authorization=f"Bearer {KEY}")
        return int(float(re.search(r"^portcullis_spans_dropped_total (\S+)", text, re.MULTILINE)[1]))

    def warnings(self):
        return [line for line in self.process.said().splitlines() if "spans are not exported" in line]

    def close(self):
        self.process.end()
        shutil.rmtree(self.home, ignore_errors=True)


def parent(sampled="01"):
    return f"00-{TRACE}-00f067aa0ba902b7-{sampled}"


class Traces(unittest.TestCase):
    def setUp(self):
        self.collector, self.app = Collector(), Server(b"hello")
        self.addCleanup(self.collector.close)
        self.addCleanup(self.app.close)

    def dashboard(self, **otlp):
        dashboard = Dashboard(self.collector.port, self.app.port, **otlp)
        self.addCleanup(dashboard.close)
        return dashboard

    def has(self, span, **expected):
        found = {name: span.attributes.get(name.replace("_", ".")) for name in expected}
        self.assertEqual(found, expected, span)

    def test_one_trace_leads_from_the_caller_to_the_application(self):
        dashboard = self.dashboard()
        status, _, text = dashboard.send("GET", f"/app/{EMAIL}/x?token={QUERY}", authorization=f"Bearer {KEY}",
                                         traceparent=parent(), tracestate="vendor=value")
        self.assertEqual((status, text), (200, "hello"))
        spans = eventually("the four spans", lambda: self.collector.of_trace(TRACE, 4))
        server, gate = spans["GET", SERVER], spans["gate", INTERNAL]
        call, client = spans["verify-token", INTERNAL], spans["GET", CLIENT]
        self.assertEqual(server.parent, "00f067aa0ba902b7")
        self.assertEqual([gate.parent, client.parent, call.parent], [server.id, server.id, gate.id])
        self.assertTrue(all(span.took > 0 for span in (server, gate, call, client)))

        self.has(server, http_request_method="GET", url_path="/app/REDACTED/x", url_scheme="http", portcullis_app="app")
        self.assertEqual(server.attributes["http.response.status_code"], 200)
        self.has(gate, portcullis_gate_decision="permitted", portcullis_gate_caller="service", portcullis_provider="keys")
        self.has(call, portcullis_provider="keys", portcullis_operation="verify-token", portcullis_outcome="answered")
        self.assertEqual(call.attributes["portcullis.limit.deadline_ms"], 1000)
        self.assertGreater(call.attributes["portcullis.used.memory_bytes"], 0)
        self.has(client, http_request_method="GET", server_address="127.0.0.1", server_port=self.app.port)

        _, _, headers, _ = self.app.requests[0]
        self.assertEqual(headers.get_all("traceparent"), [f"00-{TRACE}-{client.id}-01"])
        self.assertEqual(headers.get_all("tracestate"), ["vendor=value"])

    def test_sign_in_drain_and_refusal_are_traced_and_no_secret_leaves(self):
        dashboard = self.dashboard()
        credentials = {"provider": "people", "username": "ada", "password": PASSWORD}
        status, headers, text = dashboard.send("POST", "/auth/password-login", credentials)
        self.assertEqual(status, 200, text)
        cookies = [line.split(";")[0] for line in headers.get_all("set-cookie")]
        status, _, text = dashboard.send("GET", f"/app/reset/{PATH_KEY}?q={QUERY}", cookie="; ".join(cookies))
        self.assertEqual((status, text), (200, "hello"))
        for action in ("drain", "cancel"):
            status, _, text = dashboard.send("POST", "/api/gateway/drain", {"action": action, "reason": QUERY},
                                             authorization=f"Bearer {DRAIN_SECRET}")
            self.assertEqual(status, 200, text)
        self.assertEqual(dashboard.send("GET", "/metrics", authorization=f"Bearer {KEY}-wrong")[0], 401)

        login = self.collector.wait_for("POST /auth/password-login")
        call = self.collector.wait_for("complete-password-login", login.trace)
        self.assertEqual((login.kind, call.parent), (SERVER, login.id))
        self.has(login, http_route="/auth/password-login")
        self.has(call, portcullis_provider="people", portcullis_outcome="answered")

        for name, is_draining in (("drain begin", True), ("drain cancel", False)):
            drain = self.collector.wait_for(name)
            server = self.collector.wait_for("POST /api/gateway/drain", drain.trace)
            self.assertEqual(drain.parent, server.id)
            self.has(drain, portcullis_drain_draining=is_draining)

        refused = self.collector.wait_for("GET /metrics")
        gate = self.collector.wait_for("gate", refused.trace)
        self.has(gate, portcullis_gate_decision="refused", portcullis_gate_reason="no_provider_recognises_token")
        self.assertEqual(refused.attributes["http.response.status_code"], 401)
        self.assertFalse(refused.is_error or gate.is_error, "a caller's mistake is no error of the server")

        method, path, headers, _ = self.collector.requests[0]
        self.assertEqual((method, path, headers["content-type"]), ("POST", "/v1/traces", "application/x-protobuf"))
        self.assertEqual(headers["x-collector-key"], COLLECTOR_KEY)
        self.assertEqual(self.collector.resource()["service.name"], "portcullis")

        values = [cookie.split("=", 1)[1] for cookie in cookies]
        for secret in [KEY, PASSWORD, EMAIL, QUERY, PATH_KEY, COLLECTOR_KEY, DRAIN_SECRET, *filter(None, values)]:
            self.assertNotIn(secret.encode(), self.collector.raw())
        self.assertNotIn(COLLECTOR_KEY, dashboard.process.said())

    def test_strangers_neither_join_a_trace_nor_decide_what_is_recorded(self):
        dashboard = self.dashboard(sample_ratio=0)
        call = {"authorization": f"Bearer {KEY}"}
        dashboard.send("GET", "/app/", source="127.0.0.2", traceparent=parent(), **call)
        dashboard.send("GET", "/app/", traceparent=parent("00"), **call)
        dashboard.send("GET", "/app/", traceparent="00-" + "0" * 32 + "-00f067aa0ba902b7-01", **call)
        stranger, unsampled, invalid = [headers["traceparent"] for _, _, headers, _ in self.app.requests]
        self.assertNotIn(TRACE, stranger)
        self.assertRegex(unsampled, f"^00-{TRACE}-[0-9a-f]{{16}}-00$")
        self.assertNotIn("0" * 32, invalid)
        self.assertTrue(stranger.endswith("-00") and invalid.endswith("-00"), "a ratio of 0 records nothing")

        # The ratio does not count for what a trusted proxy records. It is the only trace that arrives.
        dashboard.send("GET", "/app/", traceparent=parent(), **call)
        self.collector.wait_for("GET", TRACE)
        self.assertEqual({span.trace for span in self.collector.spans()}, {TRACE})

    def test_trace_that_a_stranger_names_is_linked(self):
        dashboard = self.dashboard()
        dashboard.send("GET", "/healthz", source="127.0.0.2", traceparent=parent())
        server = self.collector.wait_for("GET /healthz")
        self.assertEqual((server.links, server.parent), ([TRACE], ""))
        self.assertNotEqual(server.trace, TRACE)

    def test_end_of_the_process_sends_what_is_queued(self):
        dashboard = self.dashboard()
        dashboard.send("GET", "/healthz", traceparent=parent())
        self.assertEqual(dashboard.process.end(signal.SIGTERM), 0)
        self.assertIn(TRACE, [span.trace for span in self.collector.spans()])

    def test_collector_over_tls_is_trusted_by_its_authority_alone(self):
        collector = Collector(tls=True)
        self.addCleanup(collector.close)
        authority = {"file": str(CERTIFICATES / "authority.pem")}
        trusting = Dashboard(collector.port, self.app.port, scheme="https", ca=authority)
        self.addCleanup(trusting.close)
        trusting.send("GET", "/healthz")
        collector.wait_for("GET /healthz")

        before = len(collector.requests)
        other = Dashboard(collector.port, self.app.port, scheme="https")
        self.addCleanup(other.close)
        other.send("GET", "/healthz")
        eventually("the certificate is refused", lambda: "spans are not exported" in other.process.said())
        self.assertIn("certificate", other.process.said())
        self.assertEqual(len(collector.requests), before)

    def test_collector_that_is_down_holds_nothing_up(self):
        self.collector.close()
        dashboard = self.dashboard()

        def dropped():
            self.assertEqual(dashboard.send("GET", "/healthz")[0], 200)
            return dashboard.dropped()
        first = eventually("the first batch is given up", dropped)
        eventually("further batches are given up", lambda: dropped() > first)
        warnings = dashboard.warnings()
        self.assertEqual(len(warnings), 1, warnings)
        self.assertIn("cannot be reached", warnings[0])
        self.assertEqual(dashboard.process.end(signal.SIGTERM), 0)


class TracesOverGrpc(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if grpc is None:
            skip("without the package grpcio no traces over gRPC were read")

    def start(self, *answers, tls=False, **otlp):
        """A collector that answers so, and a dashboard that exports to it."""
        collector, app = GrpcCollector(*answers, tls=tls), Server(b"hello")
        self.addCleanup(app.close)
        self.addCleanup(collector.close)
        scheme = "https" if tls else "http"
        dashboard = Dashboard(collector.port, app.port, scheme=scheme, protocol="grpc", **otlp)
        self.addCleanup(dashboard.close)
        return collector, dashboard

    def test_spans_and_metadata_reach_the_published_service(self):
        collector, dashboard = self.start()
        status, _, text = dashboard.send("GET", f"/app/{EMAIL}/x?token={QUERY}", authorization=f"Bearer {KEY}",
                                         traceparent=parent())
        self.assertEqual((status, text), (200, "hello"))
        spans = eventually("the four spans", lambda: collector.of_trace(TRACE, 4))
        server, gate = spans["GET", SERVER], spans["gate", INTERNAL]
        self.assertEqual([gate.parent, spans["GET", CLIENT].parent], [server.id, server.id])
        self.assertEqual(server.attributes["url.path"], "/app/REDACTED/x")

        metadata, _ = collector.requests[0]
        self.assertEqual(metadata["x-collector-key"], COLLECTOR_KEY)
        self.assertTrue(metadata["user-agent"].startswith("portcullis/"), metadata)
        self.assertEqual(collector.resource()["service.name"], "portcullis")
        for secret in [KEY, EMAIL, QUERY, COLLECTOR_KEY]:
            self.assertNotIn(secret.encode(), collector.raw())
        self.assertEqual((dashboard.warnings(), dashboard.dropped()), ([], 0))

    def test_batch_is_sent_again_while_the_collector_is_unavailable(self):
        collector, dashboard = self.start(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED)
        dashboard.send("GET", "/healthz")
        eventually("the third attempt", lambda: len(collector.requests) >= 3)
        bodies = {body for _, body in collector.requests[:3]}
        self.assertEqual(len(bodies), 1, "the same spans")
        self.assertEqual(dashboard.process.end(signal.SIGTERM), 0)
        self.assertEqual(dashboard.warnings(), [])

    def test_spans_that_are_refused_or_rejected_are_counted(self):
        partial = ExportTracePartialSuccess(rejected_spans=1, error_message="one is too old")
        rejected = ExportTraceServiceResponse(partial_success=partial)
        for answer, why in [(grpc.StatusCode.INVALID_ARGUMENT, "answered INVALID_ARGUMENT"),
                            (grpc.StatusCode.RESOURCE_EXHAUSTED, "answered RESOURCE_EXHAUSTED"),
                            (rejected, "rejected them")]:
            with self.subTest(why):
                collector, dashboard = self.start(answer)
                dashboard.send("GET", "/healthz")
                [warning] = eventually("the loss is named", dashboard.warnings)
                self.assertIn(why, warning)
                self.assertEqual(len(collector.requests), 1, "one attempt")
                expected = 1 if answer is rejected else len(collector.spans())
                self.assertEqual(dashboard.dropped(), expected)

    def test_end_of_the_process_sends_what_is_queued(self):
        collector, dashboard = self.start()
        dashboard.send("GET", "/healthz", traceparent=parent())
        self.assertEqual(dashboard.process.end(signal.SIGTERM), 0)
        self.assertIn(TRACE, [span.trace for span in collector.spans()])

    def test_collector_over_tls_is_trusted_by_its_authority_alone(self):
        collector, dashboard = self.start(tls=True, ca={"file": str(CERTIFICATES / "authority.pem")})
        dashboard.send("GET", "/healthz")
        collector.wait_for("GET /healthz")

        other, distrusting = self.start(tls=True)
        distrusting.send("GET", "/healthz")
        eventually("the certificate is refused", distrusting.warnings)
        self.assertIn("certificate", distrusting.process.said())
        self.assertEqual(other.requests, [])


if __name__ == "__main__":
    unittest.main()
