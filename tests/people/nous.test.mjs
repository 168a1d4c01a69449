// `builtin:nous` at a portal that has neither a discovery document nor an ID token.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, Home, eventually, gated, identityProvider, me, signIn } from './harness.mjs';

const nous = (portal_url, config = {}) => ({
  name: 'portal', component: 'builtin:nous', display_name: 'Nous Research',
  config: { portal_url, client_id: 'agent:7', ...config },
  grants: { http: [{ origin: portal_url, networks: ['127.0.0.0/8'] }], keyvalue: true },
  limits: { deadline_ms: 3_000 },
});

async function setUp(env = {}) {
  const portal = await identityProvider('portal.mjs', env);
  const home = new Home(gated([nous(portal.url)]));
  const dashboard = await home.dashboard();
  const change = (what) => portal.post('/test/change', JSON.stringify(what));
  return { portal, home, dashboard, change };
}

/** What the portal leaves out. */
const ABSENT = '(absent)';

const into = (client, dashboard) => signIn(client, dashboard, { provider: 'portal' });

test('sign-in, session, sign-out', async () => {
  const { portal, home, dashboard } = await setUp();
  const client = new Client();
  const answer = await signIn(client, dashboard, { provider: 'portal', next: '/sessions?tab=2' });
  assert.equal(answer.headers.get('location'), '/sessions?tab=2');
  const { user_id, org_id, provider, expires_at } = await (await me(client, dashboard)).json();
  assert.deepEqual({ user_id, org_id, provider }, { user_id: 'user-1', org_id: 'org-1', provider: 'portal' });
  assert.ok(Math.abs(expires_at - Date.now() / 1000 - 300) < 30, `the end of the portal's token: ${expires_at}`);
  const { authorize } = await portal.seen();
  assert.equal(authorize.nonce, undefined);

  const stolen = client.jar(dashboard.url).copy();
  await client.fetch(`${dashboard.url}/auth/logout`, { method: 'POST' });
  client.use(dashboard.url, stolen);
  assert.equal((await me(client, dashboard)).status, 401, 'cookies of before are worth nothing');
  assert.equal((await home.audited('login_success'))[0].user_id, 'user-1');
});

test('an access token must be of this portal, for this agent, and signed by RS256', async () => {
  const { home, dashboard, change } = await setUp();
  const now = Math.floor(Date.now() / 1000);
  for (const good of [
    {}, { claims: { agent_instance_id: ABSENT, oauth_contract_version: ABSENT } }, { claims: { agent_instance_id: null, oauth_contract_version: null } },
    { claims: { agent_instance_id: 7, oauth_contract_version: '1' } }, { claims: { aud: ['agent:7'] } }, { claims: { org_id: 'x'.repeat(300) } },
    { claims: { nonce: 'of no request' } }, { answer: { refresh_token: ABSENT } }, { answer: { token_type: ABSENT } },
  ]) {
    await change(good);
    const client = new Client();
    assert.equal((await into(client, dashboard)).headers.get('location'), '/', JSON.stringify(good));
    assert.equal((await me(client, dashboard)).status, 200, JSON.stringify(good));
  }
  const bad = [
    { claims: { aud: 'agent:8' } }, { claims: { iss: 'https://other.example' } }, { claims: { exp: now - 120 } }, { claims: { iat: now + 3600 } },
    { claims: { agent_instance_id: '8' } }, { claims: { agent_instance_id: ['7'] } }, { claims: { oauth_contract_version: 2 } }, { claims: { oauth_contract_version: '2' } },
    { claims: { sub: '' } }, { claims: { sub: 7 } }, { alg: 'ES256' }, { alg: 'HS256' }, { alg: 'none' }, { answer: { token_type: 'DPoP' } }, { answer: { access_token: 'opaque' } },
  ];
  for (const [index, what] of bad.entries()) {
    await change(what);
    const client = new Client();
    assert.match((await into(client, dashboard)).headers.get('location'), /failed=1/, JSON.stringify(what));
    assert.equal((await me(client, dashboard)).status, 401);
    assert.equal((await home.audited('login_failure', index + 1)).at(-1).reason, 'invalid_code', JSON.stringify(what));
  }
});

test('people whose identifier no host takes are no fault of the provider', async () => {
  const { home, dashboard, change } = await setUp();
  const subs = ['x'.repeat(300), 'tab\there', 'hidden\u200b', ' space', 'bell\u0007', '\u00e9'.repeat(129)];
  for (const sub of [...subs, ...subs]) {
    await change({ claims: { sub } });
    await into(new Client(), dashboard);
  }
  await change({});
  const client = new Client();
  assert.equal((await into(client, dashboard)).headers.get('location'), '/', 'there is no quarantine');
  const reasons = (await home.audited('login_failure', subs.length * 2)).map(({ reason }) => reason);
  assert.deepEqual([...new Set(reasons)], ['invalid_code']);
});

test('a session is refreshed with the rotated token, survives an outage and ends with a refusal', async () => {
  const { portal, home, dashboard, change } = await setUp({ TTL: '3' });
  const client = new Client();
  await into(client, dashboard);
  await eventually('two refreshes', async () => {
    assert.equal((await me(client, dashboard)).status, 200, 'no gap');
    return (await portal.seen()).refreshed >= 2;
  });

  for (const status of [500, 429]) {
    await change({ refresh: status });
    await eventually(`${status} is an outage`, async () => (await me(client, dashboard)).status === 503);
  }
  await change({});
  await eventually('the session goes on', async () => (await me(client, dashboard)).status === 200);

  await change({ refresh: 400 });
  await eventually('any refusal is the end', async () => (await me(client, dashboard)).status === 401);
  assert.equal(client.cookie(dashboard.url, 'hermes_session_rt'), undefined);
  assert.equal((await home.audited('refresh_failure')).length > 0, true);
});

test('a setting that is missing is named with its variable', async () => {
  const portal = 'https://portal.example';
  const home = new Home({ dashboard: { providers: [nous(portal, { client_id: '' })] } });
  const dashboard = await home.dashboard();
  await eventually('the refusal', () => /`client_id` is missing.*HERMES_DASHBOARD_OAUTH_CLIENT_ID/.test(dashboard.said.stderr));
});
