"""What is built: the provider, after a rehearsal.

Every call runs in a fresh instance, and would do anew what CPython does only once: it specialises code, fills caches.
So each function is called here, while the component is built and there is no host yet: all settings are missing, and
whatever else is asked of the host fails.
"""

import time
from contextlib import suppress

import componentize_py_runtime
import portcullis
import provider
from provider import *  # noqa: F403  what the component exports

EXPORTS = ["Settings", "Provider", "Password", "Redirect", "Refresh"]
ROUNDS, MAX_SECONDS = 100, 2.0


def functions():
    """What is called, with how many arguments."""
    yield portcullis.same, 2
    yield portcullis.TokenPrincipal, 2
    for exported in (getattr(provider, name) for name in EXPORTS if hasattr(provider, name)):
        for name, function in list(vars(exported).items()):
            if not name.startswith("_"):
                yield lambda *words: getattr(exported(), name)(*words), function.__code__.co_argcount - 1


def rehearse():
    end = time.monotonic() + MAX_SECONDS
    for _ in range(ROUNDS):
        for function, words in functions():
            if time.monotonic() < end:
                with suppress(Exception):
                    function(*["rehearsal"] * words)


def no_host(*_):
    raise OSError("there is no host while the component is built")


host = componentize_py_runtime.call_import, portcullis.config.get
componentize_py_runtime.call_import, portcullis.config.get = no_host, lambda _: None
try:
    rehearse()
finally:
    componentize_py_runtime.call_import, portcullis.config.get = host
