// Everything that can be wrong with a sign-in ends at the sign-in page with a sentence of a fixed set, one audit line and no
// session. The issuer here misbehaves as it is told.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Client, Home, basic, eventually, gated, identityProvider, me, oidc, signIn, toCallback } from './harness.mjs';

let idp, home, dashboard;
before(async () => {
  idp = await identityProvider('misbehaving.mjs', { SLOW_MS: '6000' });
  home = new Home(gated([
    { ...oidc(idp.url), limits: { deadline_ms: 2000 } },
    oidc(idp.url, { name: 'other' }), oidc(idp.url, { name: 'choosy', require: { email: ['ada@example.test'] } }), await basic(),
  ]));
  dashboard = await home.dashboard();
});

const UNANSWERED = ['unanswered', 'The sign-in provider did not answer. Please try again in a moment.'];
const EXPIRED = ['expired', 'This sign-in took too long, or was begun in another tab or browser. Please start again.'];
/** The word in the address and the sentence on the page, by the reason in the audit log. */
const READ = {
  invalid_code: ['1', 'Sign-in failed. Please try again.'],
  not_allowed: ['denied', 'is signed in at the identity provider, but may not enter this dashboard. Ask its operator for access.'],
  identity_provider_refused: ['refused', 'The identity provider did not sign you in. Please try again.'],
  unavailable: UNANSWERED, deadline_exceeded: UNANSWERED,
  wrong_state: EXPIRED, no_sign_in: EXPIRED, replayed: EXPIRED,
};

/** The one way in which every failure ends. */
async function assertFailed(client, answer, reason) {
  assert.equal(answer.status, 302);
  const [word, sentence] = READ[reason];
  assert.match(answer.headers.get('location'), new RegExp(`^/login\\?next=[^&]*&failed=${word}$`));
  const kept = answer.headers.getSetCookie().filter((line) => !/Max-Age=0/.test(line));
  assert.ok(kept.every((line) => word === 'denied' && /_refused=/.test(line)), 'only deletions, and who was refused');
  assert.equal((await me(client, dashboard)).status, 401);
  const page = await (await client.fetch(new URL(answer.headers.get('location'), dashboard.url))).text();
  const [, alert] = /<p class="alert" role="alert">.*?<span>(?:<bdi>[^<]*<\/bdi>)?([^<]*)<\/span><\/p>/.exec(page) ?? [];
  assert.ok(word === 'denied' ? alert?.endsWith(sentence) : alert === sentence, page);
  const failures = await home.audited('login_failure', ++failed);
  assert.equal(failures.length, failed, 'one line each');
  assert.equal(failures.at(-1).reason, reason);
}
let failed = 0;

const MODES = {
  wrong_nonce: 'invalid_code', no_nonce: 'invalid_code', wrong_iss_in_token: 'invalid_code', wrong_iss_param: 'invalid_code',
  no_iss_param: 'invalid_code', wrong_audience: 'invalid_code', aud_array_wrong_azp: 'invalid_code', alg_none: 'invalid_code',
  hs256_with_public_key: 'invalid_code', expired: 'invalid_code', no_exp: 'invalid_code', no_sub: 'invalid_code',
  future_iat: 'invalid_code', not_yet_valid: 'invalid_code', unknown_kid: 'invalid_code', unknown_kid_same_key: 'invalid_code',
  bad_signature: 'invalid_code', jwk_in_header: 'invalid_code', no_id_token: 'invalid_code', token_garbage: 'unavailable',
  token_empty: 'unavailable', token_500: 'unavailable', token_401: 'unavailable', token_redirect: 'unavailable',
  token_huge: 'unavailable', token_slow: 'deadline_exceeded', wrong_state: 'wrong_state', no_state: 'wrong_state',
  access_denied: 'identity_provider_refused',
};

for (const [mode, reason] of Object.entries(MODES)) {
  test(mode, async () => {
    await idp.mode(mode);
    const client = new Client();
    // One that just failed too often is left alone for a while, which would say nothing of the next.
    const provider = reason === 'deadline_exceeded' ? 'idp' : 'other';
    await assertFailed(client, await signIn(client, dashboard, { provider }), reason);
    if (mode === 'token_redirect') assert.equal((await idp.seen()).trap, undefined, 'no redirect was followed');
    await idp.mode('ok');
  });
}

for (const mode of ['ok', 'aud_array', 'no_kid', 'no_refresh_token', 'hostile_claims', 'next_second']) {
  test(`${mode}: is a sign-in`, async () => {
    await idp.mode(mode);
    const client = new Client();
    const answer = await signIn(client, dashboard, { provider: 'other' });
    assert.equal(answer.headers.get('location'), '/');
    const cookies = client.jar(dashboard.url).names();
    assert.deepEqual(cookies, mode === 'no_refresh_token' ? ['hermes_session_at'] : ['hermes_session_at', 'hermes_session_rt']);
    const page = await (await client.fetch(`${dashboard.url}/`)).text();
    assert.ok(!page.includes('<script>alert'), 'claims are text');
    await idp.mode('ok');
  });
}

test('a code that comes back twice opens one session', async () => {
  const client = new Client();
  const { url } = await toCallback(client, dashboard, { provider: 'other' });
  const jar = client.jar(dashboard.url).copy();
  assert.equal((await client.fetch(url)).headers.get('location'), '/');
  const thief = new Client();
  thief.use(dashboard.url, jar);
  await assertFailed(thief, await thief.fetch(url), 'replayed');
});

test('a callback in another browser opens none', async () => {
  const { url } = await toCallback(new Client(), dashboard, { provider: 'other' });
  const other = new Client();
  await assertFailed(other, await other.fetch(url), 'no_sign_in');
});

test('a code of one provider is not redeemed by another', async () => {
  const [client, other] = [new Client(), new Client()];
  const { url } = await toCallback(client, dashboard, { provider: 'other' });
  const mine = await toCallback(other, dashboard, { provider: 'choosy' });
  const swapped = new URL(mine.url);
  swapped.searchParams.set('code', new URL(url).searchParams.get('code'));
  // The code is real; its PKCE verifier is in the first browser.
  await assertFailed(other, await other.fetch(swapped), 'invalid_code');
});

test('a provider without redirect, and one that is not there, are 404', async () => {
  for (const provider of ['basic', 'nope', '', 'IDP', '../idp']) {
    const answer = await fetch(`${dashboard.url}/auth/login?provider=${encodeURIComponent(provider)}`, { redirect: 'manual' });
    assert.equal(answer.status, 404, provider);
  }
});

test('an address that nobody verified is no reason to let anyone in', async () => {
  await idp.mode('email_unverified');
  const client = new Client();
  await assertFailed(client, await signIn(client, dashboard, { provider: 'choosy' }), 'not_allowed');
  await idp.mode('ok');
  assert.equal((await signIn(client, dashboard, { provider: 'choosy' })).headers.get('location'), '/');
});

test('discovery that fails, or is of another issuer, is told at the sign-in page', async () => {
  for (const mode of ['discovery_500', 'discovery_wrong_issuer', 'discovery_slow']) {
    const fresh = new Home(gated([{ ...oidc(idp.url), limits: { deadline_ms: 1000 } }]));
    const cold = await fresh.dashboard();
    await idp.mode(mode);
    const answer = await fetch(`${cold.url}/auth/login?provider=idp&next=/x`, { redirect: 'manual' });
    assert.equal(answer.headers.get('location'), '/login?next=%2Fx&failed=unanswered', mode);
    await idp.mode('ok');
    await cold.stop();
  }
});

for (const [mode, status] of [['token_500', 503], ['token_garbage', 503], ['token_empty', 503], ['refresh_invalid_grant', 401], ['refresh_other_sub', 401], ['refresh_no_rotation', 200]]) {
  test(`refresh with ${mode}: ${status}`, async () => {
    const short = await identityProvider('misbehaving.mjs', { TTL: '4' });
    const home = new Home(gated([oidc(short.url)]));
    const dashboard = await home.dashboard();
    const client = new Client();
    await signIn(client, dashboard);
    const { expires_at } = await (await me(client, dashboard)).json();
    await short.mode(mode);
    await eventually('the access token has ended', () => Date.now() / 1000 > expires_at + 0.5);
    const answer = await me(client, dashboard);
    assert.equal(answer.status, status);
    assert.equal(client.jar(dashboard.url).size, status === 401 ? 0 : 2, 'cookies are deleted by a refusal alone');
    await short.mode('ok');
    assert.equal((await me(client, dashboard)).status, status === 401 ? 401 : 200, 'an outage costs nobody their session');
    await Promise.all([dashboard.stop(), short.stop()]);
  });
}

test('a session outlives a sign-in that failed beside it', async () => {
  const client = new Client();
  await signIn(client, dashboard, { provider: 'other' });
  await idp.mode('access_denied');
  assert.match((await signIn(client, dashboard, { provider: 'other' })).headers.get('location'), /failed=refused$/);
  await idp.mode('ok');
  const callback = await client.fetch(`${dashboard.url}/auth/callback?state=x&code=y`);
  assert.equal(callback.headers.get('location'), '/', 'nothing to do: the person is signed in');
  assert.equal((await me(client, dashboard)).status, 200, 'anybody can lead a browser to the callback');
});

test('people who are signed in are not held up by sign-ins that hang', async () => {
  const client = new Client();
  await signIn(client, dashboard, { provider: 'choosy' });
  const callbacks = await Promise.all(Array.from({ length: 24 }, async () => {
    const stranger = new Client();
    return { stranger, url: (await toCallback(stranger, dashboard, { provider: 'choosy' })).url };
  }));
  await idp.mode('token_slow');
  const hanging = callbacks.map(({ stranger, url }) => stranger.fetch(url, { signal: AbortSignal.timeout(1200) }).catch(() => {}));
  // Few enough that good answers do not outweigh the hang-ups, were they counted together.
  for (let asked = 0; asked < 4; asked += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal((await me(client, dashboard)).status, 200);
  }
  await Promise.all(hanging);
  assert.equal((await me(client, dashboard)).status, 200, 'and whoever hung up has shut nobody out');
  await idp.mode('ok');
});

test('another issuer under the same name ends the sessions of the one before, and never sees their tokens', async () => {
  const other = await identityProvider('misbehaving.mjs');
  const first = await identityProvider('misbehaving.mjs');
  const home = new Home(gated([oidc(first.url)]));
  const dashboard = await home.dashboard();
  const client = new Client();
  await signIn(client, dashboard);
  home.write(gated([oidc(other.url)]));
  await home.audited('provider_loaded', 2);
  assert.equal((await me(client, dashboard)).status, 401);
  assert.equal((await other.counts()).token_refresh_token, 0);
});
