import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./portcullis/host.mjs";

const start = await load("example.wasm");
const tokens = "# people\n\ngood-token-1 alice  metrics.read\ngood-token-2 bob\n";
const lookup = "http://127.0.0.1:9000/principals/";

test("the settings are checked", () => {
  const check = settings => start({ settings }).settings.check();
  check({ tokens });
  assert.throws(() => check({}), /^`tokens` is missing: one line a token, `TOKEN PRINCIPAL \[SCOPE ...\]`$/);
  assert.throws(() => check({ tokens: "# c\na b\n\nsecret" }), /^`tokens`, line 4: it needs a token and a principal$/);
});

test("only its own tokens are known", () => {
  const { provider } = start({ settings: { tokens } });
  assert.deepEqual(provider.verifyToken("good-token-1"), { principal: "alice", scopes: ["metrics.read"] });
  assert.deepEqual(provider.verifyToken("good-token-2"), { principal: "bob", scopes: [] });
  for (const wrong of ["", "#", "good-token-", "good-token-11", "good-token-3", "góód-tókén-1"]) {
    assert.equal(provider.verifyToken(wrong), undefined);
  }
});

test("who is revoked stays revoked", () => {
  const asked = [], bucket = new Map();
  const http = url => (asked.push(url), { status: 410, body: "" });
  const { provider } = start({ settings: { tokens, lookup }, bucket, http });
  assert.equal(provider.verifyToken("good-token-2"), undefined);
  assert.equal(provider.verifyToken("good-token-2"), undefined);
  assert.deepEqual(asked, [lookup + "bob"]);
  assert.deepEqual([...bucket.keys()], ["revoked:bob"]);
});

test("a look-up that says neither yes nor no is told", () => {
  const verify = http => start({ settings: { tokens, lookup }, http }).provider.verifyToken("good-token-1");
  assert.equal(verify(() => ({ status: 200, body: "ok" })).principal, "alice");
  assert.throws(() => verify(() => ({ status: 500, body: "" })), { tag: "unavailable", val: "the look-up answered 500" });
  assert.throws(() => verify(undefined), { tag: "unavailable", val: "the look-up: connection refused" });
});
