import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeHost } from "#host/fake";
import { provider, settings } from "./provider.ts";

const tokens = "# ours\n\ngood-token-1 alice metrics.read\ngood-token-2  bob\n";
const lookup = "http://idp.example/principals/";
const alice = { principal: "alice", scopes: ["metrics.read"] };
const status = (status: number) => async () => new Response("", { status });

test("a good token is recognized, a wrong one is not", async () => {
  fakeHost({ settings: { tokens } });
  assert.deepEqual(await provider.verifyToken("good-token-1"), alice);
  for (const wrong of ["", "good-token-3", "good-token-", "good-token-1 ", "# ours"]) {
    assert.equal(await provider.verifyToken(wrong), null);
  }
});

test("the settings are checked", () => {
  fakeHost({ settings: { tokens } });
  settings.check();
  fakeHost({ settings: { tokens: "a b\n\nx" } });
  assert.throws(() => settings.check(), { message: "`tokens`, line 3: it needs a token and a principal" });
});

test("whoever is revoked stays revoked", async () => {
  const bucket = new Map();
  fakeHost({ settings: { tokens, lookup }, bucket, answer: status(410) });
  assert.equal(await provider.verifyToken("good-token-2"), null);
  fakeHost({ settings: { tokens, lookup }, bucket, answer: status(200) });
  assert.equal(await provider.verifyToken("good-token-2"), null);
});

test("a look-up without an answer is told", async () => {
  fakeHost({ settings: { tokens, lookup }, answer: status(200) });
  assert.deepEqual(await provider.verifyToken("good-token-1"), alice);
  fakeHost({ settings: { tokens, lookup }, answer: status(500) });
  await assert.rejects(provider.verifyToken("good-token-1"), { message: "the look-up answered 500" });
});
