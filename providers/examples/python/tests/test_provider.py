import pytest
from portcullis import Err, TokenPrincipal, unavailable
from provider import Provider, Settings

ALICE = TokenPrincipal("alice", ["metrics.read"])
TOKENS = """
# comments and blank lines count for nothing
good-token-1 alice metrics.read
good-token-2 bob
"""


def refusal(call, *arguments):
    with pytest.raises(Err) as caught:
        call(*arguments)
    return caught.value


def test_check_accepts_a_table(host):
    host.settings["tokens"] = TOKENS
    Settings().check()


def test_check_wants_tokens(host):
    assert "`tokens` is missing" in refusal(Settings().check).value


def test_check_names_the_line_and_never_prints_it(host):
    host.settings["tokens"] = TOKENS + "secret"
    assert refusal(Settings().check) == Err("`tokens`, line 5: it needs a token and a principal")


@pytest.mark.parametrize("token", ["", "good-token-", "good-token-11", "héé", "alice", "#"])
def test_an_unknown_token_is_not_ours(host, token):
    host.settings["tokens"] = TOKENS
    assert Provider().verify_token(token) is None


def test_a_known_token(host):
    host.settings["tokens"] = TOKENS
    assert Provider().verify_token("good-token-1") == ALICE


def test_the_look_up_revokes_for_good(host):
    host.settings |= {"tokens": TOKENS, "lookup": "http://x/"}
    host.web |= {"http://x/alice": 200, "http://x/bob": 410}
    assert Provider().verify_token("good-token-1") == ALICE
    assert Provider().verify_token("good-token-2") is None
    assert host.bucket == {"revoked:bob": b"1"}
    host.asked.clear()
    assert Provider().verify_token("good-token-2") is None
    assert host.asked == []


def test_no_answer_is_neither_yes_nor_no(host):
    host.settings |= {"tokens": TOKENS, "lookup": "http://x/"}
    verify = Provider().verify_token
    assert refusal(verify, "good-token-1") == unavailable("the look-up: connection refused")
    host.web["http://x/alice"] = 500
    assert refusal(verify, "good-token-1") == unavailable("the look-up answered 500")
