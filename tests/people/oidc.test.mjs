// A certified identity provider (npm oidc-provider): the whole life of a session, with every algorithm.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, Home, eventually, gated, identityProvider, me, oidc, signIn, toCallback } from './harness.mjs';

async function setUp(env = {}) {
  const idp = await identityProvider('certified.mjs', { GRANT: 'new', ...env });
  const home = new Home(gated([oidc(idp.url)]));
  const dashboard = await home.dashboard();
  await idp.post('/test/redirect-uris', `${dashboard.url}/auth/callback`);
  return { idp, home, dashboard };
}

for (const ALG of ['RS256', 'ES256', 'EdDSA']) {
  test(`${ALG}: sign-in, session, sign-out and revocation`, async () => {
    const { idp, home, dashboard } = await setUp({ ALG });
    const client = new Client();
    const answer = await signIn(client, dashboard, { next: '/sessions?tab=2' });
    assert.equal(answer.status, 302);
    assert.equal(answer.headers.get('location'), '/sessions?tab=2');
    const { user_id, email, display_name, provider, expires_at } = await (await me(client, dashboard)).json();
    assert.deepEqual({ user_id, email, display_name, provider },
      { user_id: 'ada', email: 'ada@example.test', display_name: 'Ada Lovelace', provider: 'idp' });
    assert.ok(Math.abs(expires_at - Date.now() / 1000 - 300) < 60, `the ID token's own end: ${expires_at}`);
    assert.equal((await idp.seen()).token._auth, 'Basic', 'the host added the client secret');

    const stolen = client.jar(dashboard.url).copy();
    const out = await client.fetch(`${dashboard.url}/auth/logout`, { method: 'POST' });
    assert.equal(out.headers.get('location'), '/login');
    assert.equal((await me(client, dashboard)).status, 401);
    client.use(dashboard.url, stolen);
    assert.equal((await me(client, dashboard)).status, 401, 'cookies of before are worth nothing');
    await eventually('the identity provider was told', async () => (await idp.counts()).revocation === 1);
    assert.equal((await idp.seen()).revocation._status, 200);
    const component = (await home.audited('login_success'))[0].component;
    assert.match(component, /^[0-9a-f]{64}$/);
    for (const event of ['login_start', 'logout', 'revoke']) {
      assert.equal((await home.audited(event))[0].component, component, `${event} names the component`);
    }
  });
}

test('a session is refreshed once for fifty requests that find it ended together', async () => {
  const { idp, home, dashboard } = await setUp({ TTL: '5' });
  const client = new Client();
  assert.equal((await signIn(client, dashboard)).headers.get('location'), '/');
  const { expires_at } = await (await me(client, dashboard)).json();
  await eventually('the access token has ended', () => Date.now() / 1000 > expires_at + 0.5);
  const before = client.cookie(dashboard.url, 'hermes_session_rt');
  const jar = client.jar(dashboard.url).copy();
  const answers = await Promise.all(Array.from({ length: 50 }, () => {
    const tab = new Client();
    tab.use(dashboard.url, jar.copy());
    return me(tab, dashboard).then((answer) => ({ status: answer.status, refresh: tab.cookie(dashboard.url, 'hermes_session_rt') }));
  }));
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  assert.equal((await idp.counts()).token_refresh_token, 1);
  assert.ok(answers.every(({ refresh }) => refresh !== before), 'every one of them has the new token');
  assert.equal((await home.audited('refresh_success')).length, 1);

  client.jar(dashboard.url).set('hermes_session_rt', before);
  assert.equal((await me(client, dashboard)).status, 200, 'a late one with the old token shares the outcome');
  assert.equal((await idp.counts()).token_refresh_token, 1);
});

test('a refresh that is refused ends the session, and one that nobody answers does not', async () => {
  const { idp, home, dashboard } = await setUp({ TTL: '5' });
  const client = new Client();
  assert.equal((await signIn(client, dashboard)).headers.get('location'), '/');
  const { expires_at } = await (await me(client, dashboard)).json();
  await eventually('the access token has ended', () => Date.now() / 1000 > expires_at + 0.5);
  await idp.post('/test/slow?ms=60000');
  const late = await me(client, dashboard);
  assert.equal(late.status, 503);
  assert.deepEqual(late.headers.getSetCookie(), [], 'the cookies are kept');
  assert.equal(late.headers.get('retry-after'), '1');
  // It was spent at the identity provider, whose answer was lost: to use it again is theft, for all it knows.
  await idp.post('/test/slow?ms=0');
  // Whoever comes while that exchange is still under way shares its outcome.
  const refused = await eventually('the exchange is over', async () => {
    const answer = await me(client, dashboard);
    return answer.status !== 503 && answer;
  });
  assert.equal(refused.status, 401);
  assert.equal((await refused.json()).error, 'session_expired');
  assert.equal(client.jar(dashboard.url).size, 0, 'the cookies are deleted');
  assert.equal((await home.audited('refresh_failure', 2)).at(-1).reason, 'refresh_refused');
});

test('keys that were rotated are found, and a provider that is restarted knows its sessions', async () => {
  const { idp, home, dashboard } = await setUp();
  const client = new Client();
  await signIn(client, dashboard);
  await idp.post('/test/rotate-keys');
  // One bounded refresh: not more often than every ten seconds.
  await eventually('a sign-in with the new key', async () => {
    const other = new Client();
    const answer = await signIn(other, dashboard);
    return answer.headers.get('location') === '/';
  });
  assert.equal((await idp.counts()).jwks, 2);
  await dashboard.stop();
  const again = await home.dashboard();
  again.url = dashboard.url.replace(/\d+$/, again.port);
  assert.equal((await me(client, again)).status, 200);
});

test('an identity provider that is down ends at the sign-in page', async () => {
  const { idp, home, dashboard } = await setUp();
  const client = new Client();
  const { url } = await toCallback(client, dashboard);
  await idp.stop();
  const answer = await client.fetch(url);
  assert.equal(answer.headers.get('location'), '/login?next=%2F&failed=unanswered');
  assert.equal((await home.audited('login_failure'))[0].reason, 'unavailable');
});

/** A dashboard over the issuer that misbehaves, with these settings. */
async function misbehaving(settings = {}, env = {}) {
  const idp = await identityProvider('misbehaving.mjs', env);
  const home = new Home(gated([oidc(idp.url, settings)]));
  return { idp, home, dashboard: await home.dashboard() };
}

test('what the ID token lacks comes from userinfo, of the same subject alone', async () => {
  const { idp, home, dashboard } = await misbehaving({ require: { preferred_username: ['ada'] } });
  await idp.mode('sub_only');
  const client = new Client();
  assert.equal((await signIn(client, dashboard)).headers.get('location'), '/');
  const { email, display_name } = await (await me(client, dashboard)).json();
  assert.deepEqual([email, display_name], ['ada@example.test', 'Ada Lovelace']);
  assert.equal((await idp.counts()).userinfo, 1);
  assert.equal((await idp.seen()).token._client_ok, true, 'the host still adds the client secret elsewhere');

  await idp.mode('userinfo_other_sub');
  assert.match((await signIn(new Client(), dashboard)).headers.get('location'), /failed=1$/);
  assert.equal((await home.audited('login_failure'))[0].reason, 'invalid_code');
});

test('a name that the host would refuse is refused with the person, and is no fault', async () => {
  const { idp, home, dashboard } = await misbehaving();
  await idp.mode('hostile_sub');
  for (let round = 1; round <= 7; round += 1) {
    await signIn(new Client(), dashboard);
    assert.equal((await home.audited('login_failure', round)).at(-1).reason, 'invalid_code');
  }
  await idp.mode('ok');
  assert.equal((await signIn(new Client(), dashboard)).headers.get('location'), '/', 'no quarantine');
});

test('a token endpoint that moved is found at once', async () => {
  const { idp, dashboard } = await misbehaving();
  assert.equal((await signIn(new Client(), dashboard)).headers.get('location'), '/');
  await idp.mode('token_moved');
  assert.equal((await signIn(new Client(), dashboard)).headers.get('location'), '/');
  assert.equal((await idp.counts()).discovery, 2);
});

test('a long refresh token leaves small cookies and is refreshed', async () => {
  const { idp, dashboard } = await misbehaving({}, { TTL: '4' });
  await idp.mode('long_refresh_token');
  const client = new Client();
  assert.equal((await signIn(client, dashboard)).headers.get('location'), '/');
  for (const { name, value } of client.jar(dashboard.url).cookies.values()) assert.ok(value.length < 2048, `${name}: ${value.length}`);
  const { expires_at } = await (await me(client, dashboard)).json();
  await eventually('the access token has ended', () => Date.now() / 1000 > expires_at + 0.5);
  assert.equal((await me(client, dashboard)).status, 200);
  assert.equal((await idp.counts()).token_refresh_token, 1);
});

test('a refresh that is refused for another reason than the grant ends the session', async () => {
  const { idp, dashboard } = await misbehaving({}, { TTL: '4' });
  const client = new Client();
  await signIn(client, dashboard);
  const { expires_at } = await (await me(client, dashboard)).json();
  await idp.mode('refresh_invalid_request');
  await eventually('the access token has ended', () => Date.now() / 1000 > expires_at + 0.5);
  assert.equal((await me(client, dashboard)).status, 401);
});
