"""Hooks for schemathesis: credentials, values that exist on the dashboard, and a log of every call.

Environment: OPENAPI_PORT, OPENAPI_DRAIN_SECRET, OPENAPI_PASSWORD, OPENAPI_USERS (a number), OPENAPI_FIRST_SIGN_IN (a number), OPENAPI_LOG
(a file).
"""
import http.client
import itertools
import json
import os

import schemathesis

PORT = int(os.environ["OPENAPI_PORT"])
BEARER = f"Bearer {os.environ['OPENAPI_DRAIN_SECRET']}"
PASSWORD = os.environ["OPENAPI_PASSWORD"]
USERS = int(os.environ["OPENAPI_USERS"])
BEARER_PATHS = ("/api/gateway/drain", "/api/auth/whoami")
PROVIDERS = ("people", "corp")

log = open(os.environ["OPENAPI_LOG"], "a", buffering=1)
calls = itertools.count(1)
# Each run begins with other users and networks than the one before, which may have used up their tries.
sign_ins = itertools.count(int(os.environ["OPENAPI_FIRST_SIGN_IN"]))
session = {"cookie": None}


def request(method, path, body=None, source="127.0.0.1", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30, source_address=(source, 0))
    try:
        connection.request(method, path, body, {"content-type": "application/json", **headers})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def cookie():
    """The cookies of a person who is signed in. Users and networks take turns, so that the throttle is not in the way."""
    if session["cookie"] is None:
        number = next(sign_ins)
        network = number % 60_000
        answer, _ = request("POST", "/auth/password-login", json.dumps(
            {"provider": "people", "username": f"user{number % USERS}", "password": PASSWORD},
        ), source=f"127.{network // 250 + 1}.{network % 250 + 1}.1")
        if answer.status != 200:
            raise RuntimeError(f"sign-in {number} was answered {answer.status}")
        sent = [value for name, value in answer.getheaders() if name.lower() == "set-cookie"]
        session["cookie"] = "; ".join(value.split(";")[0] for value in sent)
    return session["cookie"]


def use_what_exists(case, number):
    """Puts names in, of which the made-up ones would never be right."""
    parameters = case.query if isinstance(case.query, dict) else {}
    if case.path == "/auth/backchannel/{provider}":
        case.path_parameters = {"provider": PROVIDERS[number % 2]}
    elif case.path == "/auth/login":
        case.query = {**parameters, "provider": PROVIDERS[number % 2]}
    elif case.path == "/api/ws":
        _, body = request("POST", "/api/auth/ws-ticket", cookie=cookie())
        case.query = {**parameters, "ticket": json.loads(body).get("ticket", "")}
    elif case.path == "/api/sessions" and case.method == "DELETE":
        case.query = {"provider": PROVIDERS[number % 2]}
    elif case.path == "/api/sessions/{id}":
        _, body = request("GET", "/api/sessions", cookie=cookie())
        case.path_parameters = {"id": (json.loads(body).get("sessions") or [{"id": "0"}])[0]["id"]}
    elif case.path == "/auth/password-login" and isinstance(case.body, dict):
        case.body = {**case.body, "provider": "people", "username": f"user{number % USERS}", "password": PASSWORD}


def shorten_waits(case, number):
    """A long poll with a good length takes as long as that: few calls wait, and for a second."""
    for values, name in ((case.query, "wait"), (case.body, "wait_seconds")):
        if isinstance(values, dict) and str(values.get(name)).isdecimal() and 1 < int(values[name]) <= 30:
            values[name] = int(number % 16 == 0)


@schemathesis.hook
def before_call(_context, case, _kwargs):
    number = next(calls)
    shorten_waits(case, number)
    # Half of the calls use names that exist. Of three calls, one has no credentials of ours.
    if number % 2:
        use_what_exists(case, number // 2)
    case.headers = {} if case.headers is None else case.headers
    if number % 3 == 0:
        return
    if case.path in BEARER_PATHS:
        case.headers["Authorization"] = BEARER
    else:
        case.headers.pop("Authorization", None)
        case.headers["Cookie"] = cookie()


@schemathesis.hook
def after_call(_context, case, response):
    log.write(f"{case.method} {case.path} {response.status_code}\n")
    ends_sessions = case.path == "/auth/logout" or (case.method == "DELETE" and response.status_code == 200)
    if ends_sessions or response.status_code == 401:
        session["cookie"] = None
