"""A dashboard's token check and drain endpoint in Python, to be compared with in speed.

An HTTP middleware, the outermost, decides on the routes in TOKEN_ROUTES: it asks each provider
that supports tokens whose bearer token it is, then checks the caller's scopes. Any other route is
none of its business. PEER_TOKEN and PEER_DRAIN_SECRET in the environment are the two good tokens.
"""

import argparse
import hmac
import json
import os
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse

HOME = Path(os.environ.get("PEER_HOME", "."))
MARKER = HOME / ".drain_request.json"


@dataclass(frozen=True)
class Principal:
    name: str
    provider: str
    scopes: tuple[str, ...] = ()


class ProviderError(Exception):
    """The provider cannot say: not the caller's fault."""


class SecretProvider:
    """Knows one secret, and whom it stands for."""

    supports_token = True

    def __init__(self, name: str, secret: str, scope: str):
        self.name = name
        self.secret = secret.encode()
        self.principal = Principal(name, name, (scope,))

    def verify_token(self, *, token: str) -> Principal | None:
        return self.principal if hmac.compare_digest(token.encode(), self.secret) else None


PROVIDERS = [
    SecretProvider("check", os.environ.get("PEER_TOKEN", "good-token"), "check"),
    SecretProvider("drain", os.environ.get("PEER_DRAIN_SECRET", "drain-secret"), "drain"),
]
# Path -> the scope its caller needs.
TOKEN_ROUTES = {"/check": "check", "/api/gateway/drain": "drain"}

app = FastAPI(openapi_url=None)


def bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def authenticate(token: str) -> tuple[Principal | None, bool]:
    """Who it is, and whether somebody who might have known could not be asked."""
    unreachable = False
    for provider in PROVIDERS if token else []:
        if not provider.supports_token:
            continue
        try:
            principal = provider.verify_token(token=token)
        except ProviderError:
            unreachable = True
            continue
        except Exception:  # a broken provider knows nobody
            continue
        if principal is not None:
            return principal, False
    return None, unreachable


def write_marker(content: dict) -> None:
    """All of it or nothing, also after a crash: a file beside it, on the disk, renamed."""
    fd, name = tempfile.mkstemp(dir=HOME, prefix=".drain")
    try:
        with os.fdopen(fd, "w") as f:
            json.dump(content, f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(name, MARKER)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@app.get("/check")
async def check():
    return PlainTextResponse("ok")


@app.get("/api/status")
async def status():
    return {"gateway_state": "draining" if MARKER.exists() else "running"}


@app.post("/api/gateway/drain")
async def drain(request: Request):
    try:
        action = (await request.json()).get("action", "drain")
    except (ValueError, AttributeError):
        action = "drain"
    if action == "cancel":
        was_draining = MARKER.exists()
        MARKER.unlink(missing_ok=True)
        return {"ok": True, "action": action, "was_draining": was_draining}
    if action != "drain":
        return JSONResponse({"detail": "action is drain or cancel"}, 400)
    now = datetime.now(timezone.utc).isoformat()
    by = request.state.principal.name
    # On the event loop's own thread, fsync and all, as in the original.
    write_marker({"action": action, "requested_at": now, "principal": by})
    return {"ok": True, "action": action, "requested_at": now, "draining": MARKER.exists()}


@app.middleware("http")  # added last, so outermost
async def token_auth(request: Request, call_next):
    scope = TOKEN_ROUTES.get(request.url.path)
    if scope is None:
        return await call_next(request)
    principal, unreachable = authenticate(bearer(request))
    if principal is None:
        return JSONResponse({"detail": "unreachable" if unreachable else "unauthenticated"},
                            503 if unreachable else 401)
    if scope not in principal.scopes:
        return JSONResponse({"detail": "forbidden"}, 403)
    request.state.principal = principal
    return await call_next(request)


if __name__ == "__main__":
    args = argparse.ArgumentParser()
    args.add_argument("--port", type=int, required=True)
    args.add_argument("--workers", type=int, default=1)
    args.add_argument("--home", default=".")
    args = args.parse_args()
    os.environ["PEER_HOME"] = args.home  # the workers import this file anew
    uvicorn.run("app:app", host="127.0.0.1", port=args.port, workers=args.workers,
                loop="uvloop", http="httptools", access_log=False, log_level="warning")
