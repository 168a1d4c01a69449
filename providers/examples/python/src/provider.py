"""A provider with a table of tokens, and a look-up that can revoke a principal for good."""

import portcullis
from portcullis import Err, Session, TokenPrincipal, unavailable
from wit_world import exports


class Settings(exports.Settings):
    def check(self) -> None:
        table()


class Provider(exports.Provider):
    def supports_token(self) -> bool:
        return True

    def verify_token(self, token: str) -> TokenPrincipal | None:
        # Compares with every token of the table, whether or not one was found already.
        found = [who for known, who in table() if portcullis.same(known, token)]
        if not found or revoked(found[0].principal):
            return None
        return found[0]

    def verify_session(self, access_token: str) -> Session | None:
        return None


def table() -> list[tuple[str, TokenPrincipal]]:
    """The setting `tokens`, as pairs of a token and whose it is."""
    tokens = portcullis.setting("tokens")
    if tokens is None:
        raise Err("`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`")
    pairs = []
    for number, line in enumerate(tokens.split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match line.split():
            case [token, principal, *scopes]:
                pairs.append((token, TokenPrincipal(principal, scopes)))
            case _:
                raise Err(f"`tokens`, line {number}: it needs a token and a principal")
    return pairs


def revoked(principal: str) -> bool:
    """Whether the bucket says so, or else the look-up, whose word is then kept in the bucket."""
    key = f"revoked:{principal}"
    try:
        if portcullis.bucket_get(key) is not None:
            return True
        if look_up(principal) == 200:
            return False
        portcullis.bucket_set(key, b"1")
        return True
    except OSError as why:
        raise unavailable(f"the bucket: {why}") from why


def look_up(principal: str) -> int:
    prefix = portcullis.setting("lookup")
    if prefix is None:
        return 200
    try:
        status, _ = portcullis.http_get(prefix + principal)
    except OSError as why:
        raise unavailable(f"the look-up: {why}") from why
    if status not in (200, 410):
        raise unavailable(f"the look-up answered {status}")
    return status
