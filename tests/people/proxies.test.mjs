// nginx and Caddy ask the dashboard who calls, for an application that knows nothing of sign-in. The configurations are
// those that the documentation shows.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { Client, DRAIN_SECRET, Home, basic, eventually, folder, gated, start } from './harness.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const KEY = 'a-service-key-of-forty-three-characters-long';
const freePort = () => new Promise((resolve) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)); });
});

/** Says back what reached it. */
async function application() {
  const server = http.createServer(async (request, response) => {
    let bytes = 0;
    for await (const chunk of request) bytes += chunk.length;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ url: request.url, method: request.method, bytes, headers: request.headers }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, address: `127.0.0.1:${server.address().port}` };
}

async function proxy(kind, dashboard, app) {
  const [dir, port] = [folder(kind), await freePort()];
  const file = kind === 'nginx' ? 'nginx.conf' : 'Caddyfile';
  const filled = readFileSync(join(HERE, 'proxies', file), 'utf8')
    .replaceAll('@DIR@', dir).replaceAll('@PORT@', port).replaceAll('@DASH@', `127.0.0.2:${dashboard.port}`).replaceAll('@UP@', app.address);
  writeFileSync(join(dir, file), filled);
  const process = kind === 'nginx'
    ? await start('nginx', ['-e', join(dir, 'error.log'), '-p', dir, '-c', join(dir, file)], {})
    : await start('caddy', ['run', '--adapter', 'caddyfile', '--config', join(dir, file)], { env: { XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir, HOME: dir } });
  const url = `http://127.0.0.1:${port}`;
  await eventually(`${kind} answers`, () => fetch(`${url}/login`).then(({ ok }) => ok, () => false));
  return Object.assign(process, { url });
}

for (const kind of ['nginx', 'caddy']) {
  test(`${kind}: an application behind the gate`, async (t) => {
    const app = await application();
    t.after(() => app.server.close());
    const keys = [{ sha256: createHash('sha256').update(KEY).digest('hex'), principal: 'ci-bot', scopes: ['deploy'] }];
    const service = { name: 'service-keys', component: 'builtin:service-keys', config: { keys }, grants: { scopes: ['deploy'] } };
    const home = new Home(gated([await basic({ session_ttl_seconds: 5 }), service], { allowed_hosts: ['127.0.0.1'], trusted_proxies: ['127.0.0.0/8'] }));
    const dashboard = await home.dashboard();
    const front = await proxy(kind, dashboard, app);
    const client = new Client();
    const target = '/app/x?a=1&b=2%26c';
    const ask = (path, options) => client.fetch(front.url + path, options);

    await t.test('nobody: to the sign-in page, and back to the very page', async () => {
      const answer = await ask(target, { headers: { accept: 'text/html' } });
      assert.equal(answer.status, 302);
      const login = new URL(answer.headers.get('location'), front.url);
      assert.equal(login.pathname + '?next=' + login.searchParams.get('next'), `/login?next=${target}`);
      assert.match(await (await client.fetch(login)).text(), /name="next" value="\/app\/x\?a=1&amp;b=2%26c"/);
      assert.equal((await ask('/app', { method: 'POST' })).status, 401, 'a form is not sent astray');
      const signedIn = await client.form(`${front.url}/auth/password-login`, { provider: 'basic', username: 'ada', password: 'lovelace', next: target });
      assert.equal(signedIn.headers.get('location'), target);
    });

    await t.test('a person: the application is told who', async () => {
      const forged = { 'x-auth-user': 'root', 'X-Auth-Scopes': 'admin', 'X-Auth-Groups': 'admins', 'X-Auth-Provider': 'forged', X_Auth_User: 'root', 'x-forwarded-for': '6.6.6.6', 'x-original-uri': '/public' };
      client.jar(front.url).set('theme', 'dark');
      const answer = await ask(target, { headers: forged });
      assert.equal(answer.status, 200);
      const { url, headers } = await answer.json();
      assert.equal(url, target);
      assert.equal(headers.cookie?.replace(/; *$/, ''), 'theme=dark', 'its own cookies, and no session');
      const told = Object.fromEntries(Object.entries(headers).filter(([name, value]) => /^x.auth/.test(name) && value !== ''));
      assert.deepEqual(told, { 'x-auth-user': 'ada', 'x-auth-email': 'ada@example.test', 'x-auth-provider': 'basic' });
    });

    await t.test('a large body arrives whole, though the gate sees none', async () => {
      const answer = await ask('/app', { method: 'POST', body: Buffer.alloc(3_000_000) });
      assert.equal((await answer.json()).bytes, 3_000_000);
    });

    await t.test('an access token that ends is renewed on the way to the page', async () => {
      const before = client.cookie(front.url, 'hermes_session_rt');
      await eventually('the access token has ended', async () => (await ask('/app', { headers: { accept: 'text/html' } })).status === 302);
      const { answer } = await client.follow(await ask('/app?again', { headers: { accept: 'text/html' } }), front.url);
      assert.equal(answer.status, 200);
      assert.equal((await answer.json()).headers['x-auth-user'], 'ada');
      assert.notEqual(client.cookie(front.url, 'hermes_session_rt'), before);
      assert.equal((await home.audited('refresh_success')).length, 1);
    });

    await t.test('a service with a bearer token', async () => {
      const { headers } = await (await fetch(`${front.url}/app`, { headers: { authorization: `Bearer ${KEY}` } })).json();
      assert.deepEqual([headers['x-auth-user'], headers['x-auth-provider'], headers['x-auth-scopes']], ['ci-bot', 'service-keys', 'deploy']);
      const refused = async (bearer) => (await fetch(`${front.url}/app`, { headers: { authorization: `Bearer ${bearer}` }, redirect: 'manual' })).ok;
      assert.equal(await refused('wrong'), false);
      assert.equal(await refused(DRAIN_SECRET), false, 'the drain secret opens no application');
      const own = await ask('/app', { headers: { authorization: 'Bearer of-the-application' } });
      assert.equal((await own.json()).headers['x-auth-user'], 'ada', 'a token that is the application\'s own');
    });

    await t.test('the question itself is not for the outside, and nothing is open when nobody answers it', async () => {
      for (const path of ['/auth/verify', '/auth/verify?x=1', '/auth/verify/', '/auth/verify/app/x']) {
        assert.equal((await client.follow(await ask(path), front.url)).answer.headers.get('x-auth-user'), null, path);
      }
      await dashboard.stop();
      assert.ok((await ask('/app')).status >= 500);
    });
    await front.stop();
  });
}
