// A real provider (npm oidc-provider) with the settings that issuers are seen with: every usual algorithm, an ID token that
// has `sub` alone, groups, a private certificate authority, endpoints that move, and sign-outs at the issuer.
import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { CLIENT_SECRET, Client, Home, eventually, gated, identityProvider, me, oidc, signIn } from './harness.mjs';

const AUTHORITY = join(dirname(fileURLToPath(import.meta.url)), '../certificates/authority.pem');
const SCOPES = 'openid email profile groups offline_access';

/** An issuer, and a dashboard whose provider `idp` has these settings. */
async function setUp(env = {}, settings = {}) {
  const idp = await identityProvider('certified.mjs', { GRANT: 'new', CLAIMS: 'userinfo', ...env });
  const home = new Home(gated([oidc(idp.url, { scopes: SCOPES, ...settings })]));
  const dashboard = await home.dashboard();
  await idp.post('/test/redirect-uris', `${dashboard.url}/auth/callback`);
  return { idp, home, dashboard };
}

const setGroups = (idp, groups) => idp.put('/test/users/ada/claims', { groups });

/** Signs Ada in. */
async function signedIn(dashboard, options) {
  const client = new Client();
  const answer = await signIn(client, dashboard, options);
  assert.equal(answer.headers.get('location'), '/');
  return client;
}

/** Waits until the access token of the session has ended. */
async function accessTokenEnds(client, dashboard) {
  const { expires_at } = await (await me(client, dashboard)).json();
  await eventually('the access token has ended', () => Date.now() / 1000 > expires_at + 0.5);
}

for (const ALG of ['PS256', 'ES384', 'RS256']) {
  test(`${ALG}: claims and groups come from userinfo, at the sign-in and at a refresh`, async () => {
    const { idp, home, dashboard } = await setUp({ ALG, TTL: '5' }, { require: { groups: ['admins', 'auditors'] } });
    await setGroups(idp, ['admins', 'on call, nights']);
    const client = await signedIn(dashboard);
    const { user_id, email, display_name, groups } = await (await me(client, dashboard)).json();
    assert.deepEqual({ user_id, email, display_name, groups },
      { user_id: 'ada', email: 'ada@example.test', display_name: 'Ada Lovelace', groups: ['admins', 'on call, nights'] });
    const verified = await client.fetch(`${dashboard.url}/auth/verify`);
    assert.equal(verified.status, 200);
    assert.deepEqual(verified.headers.get('x-auth-groups').split(',').map(decodeURIComponent), ['admins', 'on call, nights']);
    assert.ok((await idp.counts()).userinfo >= 1, 'userinfo was asked');

    await setGroups(idp, ['auditors']);
    await accessTokenEnds(client, dashboard);
    const renewed = await me(client, dashboard);
    assert.equal(renewed.status, 200);
    assert.deepEqual((await renewed.json()).groups, ['auditors'], 'the groups of now');
    assert.equal((await idp.counts()).token_refresh_token, 1);
    await home.audited('refresh_success');

    await setGroups(idp, ['users']);
    await accessTokenEnds(client, dashboard);
    assert.equal((await me(client, dashboard)).status, 401, 'a person without the group is out');
  });
}

test('a person who is not in the group reads why, and has no session', async () => {
  const { idp, home, dashboard } = await setUp({}, { require: { groups: ['admins'] } });
  await setGroups(idp, ['users']);
  const client = new Client();
  const answer = await signIn(client, dashboard, { next: '/?tab=2' });
  assert.match(answer.headers.get('location'), /^\/login\?next=%2F%3Ftab%3D2&failed=denied$/);
  const page = await (await client.fetch(new URL(answer.headers.get('location'), dashboard.url))).text();
  const sentence = '<bdi>ada@example.test</bdi> is signed in at the identity provider, but may not enter this dashboard. Ask its operator for access.';
  assert.ok(page.includes(`<span>${sentence}</span></p>`), page);
  assert.equal((await me(client, dashboard)).status, 401);
  assert.equal((await home.audited('login_failure'))[0].reason, 'not_allowed');
});

test('endpoints that move are found at the next sign-in and at the next refresh', async () => {
  const { idp, dashboard } = await setUp({ TTL: '5' });
  const early = await signedIn(dashboard);
  await idp.post('/test/move-token');
  await accessTokenEnds(early, dashboard);
  assert.equal((await me(early, dashboard)).status, 200, 'the refresh went to the new address');
  assert.equal((await idp.counts()).discovery, 2, 'its address was asked for once more');

  await idp.post('/test/move-token');
  const late = await signedIn(dashboard);
  assert.equal((await me(late, dashboard)).status, 200);
});

// The tests themselves trust the authority by NODE_EXTRA_CA_CERTS: see `package.json`.
test('an issuer with a private certificate authority', async () => {
  const idp = await identityProvider('certified.mjs', { GRANT: 'new', TLS: '1', ALG: 'ES384', CLAIMS: 'userinfo' });
  const grant = {
    origin: idp.url, networks: ['127.0.0.0/8'],
    headers: { authorization: { basic: { username: 'portcullis', password: CLIENT_SECRET } } },
  };
  const home = new Home(gated([
    oidc(idp.url, { name: 'trusting', grants: { http: [{ ...grant, ca: { file: AUTHORITY } }] } }),
    oidc(idp.url, { name: 'unaware', grants: { http: [grant] } }),
  ]));
  const dashboard = await home.dashboard();
  await idp.post('/test/redirect-uris', `${dashboard.url}/auth/callback`);
  const client = await signedIn(dashboard, { provider: 'trusting' });
  assert.equal((await (await me(client, dashboard)).json()).email, 'ada@example.test');

  const stranger = new Client();
  const answer = await stranger.fetch(`${dashboard.url}/auth/login?provider=unaware&next=/`);
  assert.equal(answer.headers.get('location'), '/login?next=%2F&failed=unanswered');
  await eventually('the log names the setting', () => dashboard.said.stderr
    .includes('the certificate is not signed by a known authority: give its PEM with grants.http[].ca'));
});

/** Signs out at the dashboard and then, as the issuer's page asks, at the issuer. Returns where the browser ends. */
async function signOutEverywhere(client, idp, dashboard) {
  const out = await client.fetch(`${dashboard.url}/auth/logout`, { method: 'POST' });
  const there = new URL(out.headers.get('location'));
  assert.equal(there.origin, idp.url, 'the browser goes to the issuer');
  const back = there.searchParams.get('post_logout_redirect_uri');
  assert.equal(new URL(back).origin, dashboard.url);
  await idp.post('/test/sign-out', JSON.stringify({ post_logout_redirect_uris: [back] }));

  const page = await (await client.fetch(there.href)).text();
  const [, action] = /action="([^"]+)"/.exec(page);
  const [, xsrf] = /name="xsrf" value="([^"]+)"/.exec(page);
  const confirmed = await client.form(action, { xsrf, logout: 'yes' });
  return (await client.follow(confirmed, action)).url;
}

test('a sign-out ends the session at the issuer as well', async () => {
  const { idp, dashboard } = await setUp({}, { end_session: true });
  const client = await signedIn(dashboard);
  const silent = await signIn(client, dashboard, { login: '', password: '' });
  assert.equal(silent.headers.get('location'), '/', 'the issuer knows the browser');

  assert.equal(new URL(await signOutEverywhere(client, idp, dashboard)).pathname, '/login');
  assert.equal((await idp.counts()).end_session, 1);
  assert.equal((await me(client, dashboard)).status, 401);
  const begin = `${dashboard.url}/auth/login?provider=idp&next=/`;
  const { answer } = await client.follow(await client.fetch(begin), begin, /\/auth\/callback/);
  assert.match(await answer.text(), /name=password/, 'the issuer asks who it is');
});

test('a sign-out at the issuer ends the session here', async () => {
  const { idp, home, dashboard } = await setUp({}, { end_session: true });
  const backchannel = { backchannel_logout_uri: `${dashboard.url}/auth/backchannel/idp`, backchannel_logout_session_required: true };
  await idp.post('/test/sign-out', JSON.stringify(backchannel));
  const client = await signedIn(dashboard);
  const bystander = await signedIn(dashboard);
  const action = `${idp.url}/session/end`;
  const page = await (await client.fetch(action)).text();
  const [, confirm] = /action="([^"]+)"/.exec(page);
  const [, xsrf] = /name="xsrf" value="([^"]+)"/.exec(page);
  await client.form(confirm, { xsrf, logout: 'yes' });
  await eventually('the session is over', async () => (await me(client, dashboard)).status === 401);
  assert.equal((await me(bystander, dashboard)).status, 200, 'another browser of the same person goes on');
  await home.audited('logout');
});
