"""A host for the tests, in place of the real one: no WebAssembly, no network."""

import portcullis
import pytest


class Host:
    def __init__(self):
        self.settings: dict[str, str] = {}
        self.bucket: dict[str, bytes] = {}
        self.web: dict[str, int] = {}  # URL: status; any other URL does not answer
        self.asked: list[str] = []

    def http_get(self, url):
        self.asked.append(url)
        if url not in self.web:
            raise OSError("connection refused")
        return self.web[url], b""


@pytest.fixture
def host(monkeypatch):
    host = Host()
    monkeypatch.setattr(portcullis, "setting", host.settings.get)
    monkeypatch.setattr(portcullis, "bucket_get", host.bucket.get)
    monkeypatch.setattr(portcullis, "bucket_set", host.bucket.__setitem__)
    monkeypatch.setattr(portcullis, "http_get", host.http_get)
    return host
