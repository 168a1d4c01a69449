"""What a provider may ask of its host. (For the time, use `time`; `print` goes to the dashboard's log.)

To report a failure, `raise Err(...)` itself, never a class derived from it. Any other
exception that leaves the provider is a fault of the provider, with a traceback in the log.

Import everything at the top of a file: the component holds only what was imported while
it was built.
"""

import hmac
import re
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from componentize_py_types import Err, Ok
from wit_world.imports import config
from wit_world.imports.auth import ProviderError_Unavailable, Session, TokenPrincipal  # noqa: F401

with suppress(ImportError):  # only where wit/world.wit imports wasi:keyvalue/store
    from wit_world.imports import keyvalue
with suppress(ImportError):  # only where wit/world.wit imports wasi:http/outgoing-handler
    from wit_world.imports import http, outgoing_handler
    from wit_world.imports.streams import StreamError_Closed


def unavailable(why: str) -> Err:
    """To be raised in `Provider`: what it depends on is out of reach, so it cannot tell."""
    return Err(ProviderError_Unavailable(why))


def setting(key: str) -> str | None:
    with _os_errors():
        return config.get(key)


def same(a: str, b: str) -> bool:
    """Whether two secrets are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(a.encode(), b.encode())


def bucket_get(key: str) -> bytes | None:
    with _os_errors(), keyvalue.open("") as bucket:
        return bucket.get(key)


def bucket_set(key: str, value: bytes) -> None:
    with _os_errors(), keyvalue.open("") as bucket:
        bucket.set(key, value)


def http_get(url: str) -> tuple[int, bytes]:
    """The status and the body. An OSError: there was no answer."""
    scheme, host, path, query, _ = urlsplit(url)
    with _os_errors():
        request = http.OutgoingRequest(http.Fields())
        request.set_scheme(http.Scheme_Https() if scheme == "https" else http.Scheme_Http())
        request.set_authority(host)
        request.set_path_with_query(f"{path or '/'}?{query}" if query else path or "/")
        with outgoing_handler.handle(request, None) as answer:
            with answer.subscribe() as ready:
                ready.block()
            match answer.get():
                case Ok(Ok(response)):
                    with response, response.consume() as body, body.stream() as stream:
                        return response.status(), b"".join(_chunks(stream))
                case Ok(Err() as error):
                    raise error
    raise OSError("no answer")


def _chunks(stream):
    try:
        while True:
            yield stream.blocking_read(65536)
    except Err as error:
        if not isinstance(error.value, StreamError_Closed):
            raise


@contextmanager
def _os_errors():
    """Turn what the host reports into an OSError that can be read."""
    try:
        yield
    except Err as error:
        case, why = type(error.value).__name__.partition("_")[2], getattr(error.value, "value", None)
        words = re.sub(r"\B(?=[A-Z])", " ", case).lower()  # ConnectionRefused: connection refused
        raise OSError(why if isinstance(why, str) else words or "not allowed") from error
