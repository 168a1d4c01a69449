// A second identity provider (PyPI oidc-provider-mock), which leaves out all that may be left out: no `kid`, no `iss`
// of RFC 9207, an `aud` that is a list, no rotation, no ID token at a refresh, no revocation.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, Home, eventually, gated, me, oidc, start } from './harness.mjs';

const MOCK = process.env.OIDC_PROVIDER_MOCK ?? 'oidc-provider-mock';

async function signIn(client, dashboard, fields) {
  const begin = `${dashboard.url}/auth/login?provider=idp&next=/x`;
  const authorize = (await client.fetch(begin)).headers.get('location');
  const back = (await client.form(authorize, fields)).headers.get('location');
  return client.fetch(back);
}

test('sign-in, refresh and sign-out where the provider does the least', async () => {
  const idp = await start(MOCK, ['-H', '127.0.0.1', '-p', '0', '-e', '5'], { env: { NO_COLOR: '1' }, ready: /running on http:\/\/127.0.0.1:(\d+)/, stream: 'stderr' });
  const issuer = `http://127.0.0.1:${idp.port}`;
  const claims = { email: 'ada@example.test', name: 'Ada Lovelace', groups: ['admins'] };
  await fetch(`${issuer}/users/ada`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify(claims) });
  const home = new Home(gated([oidc(issuer, { require: { groups: ['admins'] } })]));
  const dashboard = await home.dashboard();
  const client = new Client();
  assert.equal((await signIn(client, dashboard, { sub: 'ada' })).headers.get('location'), '/x');
  const { user_id, display_name } = await (await me(client, dashboard)).json();
  assert.deepEqual([user_id, display_name], ['ada', 'Ada Lovelace']);
  await eventually('a refresh', async () => {
    const answer = await me(client, dashboard);
    assert.equal(answer.status, 200, 'no gap');
    return home.audit().some(({ event }) => event === 'refresh_success');
  });
  await client.fetch(`${dashboard.url}/auth/logout`, { method: 'POST' });
  assert.equal((await me(client, dashboard)).status, 401);
  assert.equal((await home.audited('revoke'))[0].ok, true);

  const denied = new Client();
  assert.match((await signIn(denied, dashboard, { action: 'deny' })).headers.get('location'), /failed=refused$/);
  const other = new Client();
  assert.match((await signIn(other, dashboard, { sub: 'mallory' })).headers.get('location'), /failed=denied$/, 'not in the group');
});
