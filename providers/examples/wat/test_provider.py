import unittest

from portcullis.host import Host

TOKENS = "# people\n\ngood-token-1 alice  metrics.read\ngood-token-2 bob\n"
LOOKUP = "http://127.0.0.1:9000/principals/"


class Provider(unittest.TestCase):
    def host(self, **settings):
        return Host("example.wasm", settings=settings)

    def test_settings_are_checked(self):
        def check(**settings):
            return self.host(**settings).call("settings", "check")
        self.assertIsNone(check(tokens=TOKENS))
        self.assertEqual(check(), "`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`")
        self.assertEqual(check(tokens="# c\na b\n\nsecret"), "`tokens`, line 4: it needs a token and a principal")

    def test_only_its_own_tokens_are_known(self):
        host = self.host(tokens=TOKENS)
        for token, principal, scopes in [("good-token-1", "alice", ["metrics.read"]), ("good-token-2", "bob", [])]:
            self.assertEqual(host.call("provider", "verify-token", token), {"principal": principal, "scopes": scopes})
        for wrong in ["", "#", "good-token-", "good-token-11", "good-token-3", "góód-tókén-1"]:
            self.assertIsNone(host.call("provider", "verify-token", wrong))

    def test_who_is_revoked_stays_revoked(self):
        asked, host = [], self.host(tokens=TOKENS, lookup=LOOKUP)
        host.http = lambda url: asked.append(url) or (410, b"")
        self.assertIsNone(host.call("provider", "verify-token", "good-token-2"))
        self.assertIsNone(host.call("provider", "verify-token", "good-token-2"))
        self.assertEqual(asked, [LOOKUP + "bob"])
        self.assertEqual(host.bucket, {"revoked:bob": b"1"})

    def test_look_up_that_says_neither_yes_nor_no_is_told(self):
        def verify(http):
            host = self.host(tokens=TOKENS, lookup=LOOKUP)
            host.http = http
            return host.call("provider", "verify-token", "good-token-1")

        def refuse(url):
            raise ConnectionError
        self.assertEqual(verify(lambda url: (200, b"ok"))["principal"], "alice")
        self.assertEqual(verify(lambda url: (500, b"")), "the look-up answered 500")
        self.assertEqual(verify(refuse), "the look-up: connection refused")
