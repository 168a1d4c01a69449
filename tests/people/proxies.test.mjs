// nginx, Caddy and HAProxy ask the dashboard who calls, for an application that knows nothing of sign-in; and they stand before
// the dashboard itself. The configurations are the blocks of docs/proxies.
import assert from 'node:assert/strict';
import http from 'node:http';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { Client, DRAIN_SECRET, Home, basic, eventually, folder, freePort, gated, start } from './harness.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const KEY = 'a-service-key-of-forty-three-characters-long';

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

/** How each proxy is run with the configuration `file` in `dir`. */
const RUN = {
  nginx: (dir, file) => start('nginx', ['-e', join(dir, 'error.log'), '-p', dir, '-c', file], {}),
  caddy: (dir, file) => start('caddy', ['run', '--adapter', 'caddyfile', '--config', file], { env: { XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir, HOME: dir } }),
  haproxy: (_, file) => start('haproxy', ['-db', '-f', file], {}),
};

/**
 * Each proxy's page, what the tests put around its configuration, what they put in place of the page's names and addresses, and the
 * languages of the files that lie beside the configuration.
 */
const PAGES = {
  nginx: {
    page: 'nginx.md',
    around: 'nginx.conf',
    replace: ({ PORT }) => [
      ['listen 443 ssl;', `listen 127.0.0.1:${PORT};`],
      ['server_name agent.example.com;', 'server_name _;'],
      ['ssl_certificate     /etc/ssl/agent.pem;', ''],
      ['ssl_certificate_key /etc/ssl/agent.key;', ''],
    ],
  },
  caddy: {
    page: 'caddy.md',
    around: 'Caddyfile',
    replace: ({ PORT }) => [['agent.example.com {', `http://127.0.0.1:${PORT}, http://localhost:${PORT} {\n\tbind 127.0.0.1`]],
  },
  haproxy: {
    page: 'haproxy.md',
    around: 'haproxy.cfg',
    replace: ({ PORT }) => [['bind :443 ssl crt /etc/haproxy/agent.pem', `bind 127.0.0.1:${PORT}`]],
    beside: { 'portcullis.lua': 'lua' },
  },
};

/** Health checks come sooner in the tests. */
const INTERVALS = [['health_interval 10s', 'health_interval 200ms'], ['inter 5s', 'inter 200ms']];

/** The blocks below a heading of a page of `docs/proxies`, by language. */
function blocks(page, heading) {
  const text = readFileSync(join(HERE, '../../docs/proxies', page), 'utf8');
  const [, below] = text.split(`\n## ${heading}\n`);
  assert.ok(below, `${page} has no heading "${heading}"`);
  const [section] = below.split('\n## ');
  return Object.fromEntries([...section.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].map(([, language, block]) => [language, block]));
}

/** The files of a page's configuration by name, the one to run first, with ports of this machine. `values` has the ports and addresses. */
function configuration(kind, heading, values) {
  const { page, around, replace, beside = {} } = PAGES[kind];
  const { DIR, DASH, UP } = values;
  const found = blocks(page, heading);
  const own = [['127.0.0.1:9119', DASH], ['127.0.0.1:8080', UP], ['/etc/haproxy', DIR], ...INTERVALS];
  const here = (text) => own.reduce((text, [from, to]) => text.replaceAll(from, () => to), text);

  let main = found[kind];
  for (const [from, to] of replace(values)) {
    assert.ok(main.includes(from), `${page}: ${from}`);
    main = main.replaceAll(from, () => to);
  }
  const all = { ...values, BLOCK: here(main) };
  const whole = readFileSync(join(HERE, 'proxies', around), 'utf8').replace(/@([A-Z]+)@/g, (whole, name) => all[name] ?? whole);
  const others = Object.entries(beside).filter(([, language]) => found[language]).map(([name, language]) => [name, here(found[language])]);
  return [[around, whole], ...others];
}

/** Starts a proxy with the configuration below a heading of its page. */
async function proxy(kind, heading, dashboard, more = {}) {
  const [dir, port] = [folder(kind), await freePort()];
  const values = { DIR: dir, PORT: port, STATS: await freePort(), DASH: `127.0.0.2:${dashboard.port}`, ...more };
  const files = configuration(kind, heading, values);
  for (const [name, text] of files) writeFileSync(join(dir, name), text);
  const process = await RUN[kind](dir, join(dir, files[0][0]));
  const url = `http://127.0.0.1:${port}`;
  await eventually(`${kind} answers`, () => fetch(`${url}/login`).then(({ ok }) => ok, () => false));
  return Object.assign(process, { url, statistics: `http://127.0.0.1:${values.STATS}` });
}

for (const kind of ['nginx', 'caddy', 'haproxy']) {
  test(`${kind}: an application behind the gate`, async (t) => {
    const app = await application();
    t.after(() => app.server.close());
    const keys = [{ sha256: createHash('sha256').update(KEY).digest('hex'), principal: 'ci-bot', scopes: ['deploy'] }];
    const service = { name: 'service-keys', component: 'builtin:service-keys', config: { keys }, grants: { scopes: ['deploy'] } };
    const home = new Home(gated([await basic({ session_ttl_seconds: 5 }), service], { allowed_hosts: ['127.0.0.1'], trusted_proxies: ['127.0.0.0/8'] }));
    const dashboard = await home.dashboard();
    const front = await proxy(kind, 'An application behind the gate', dashboard, { UP: app.address });
    const client = new Client();
    const target = '/app/x?a=1&b=2%26c';
    const ask = (path, options) => client.fetch(front.url + path, options);

    await t.test('without a session: to the sign-in page, and back to the same page', async () => {
      const answer = await ask(target, { headers: { accept: 'text/html' } });
      assert.equal(answer.status, 302);
      const login = new URL(answer.headers.get('location'), front.url);
      assert.equal(login.pathname + '?next=' + login.searchParams.get('next'), `/login?next=${target}`);
      assert.match(await (await client.fetch(login)).text(), /name="next" value="\/app\/x\?a=1&amp;b=2%26c"/);
      assert.equal((await ask('/app', { method: 'POST' })).status, 401, 'a form is not sent astray');
      const signedIn = await client.form(`${front.url}/auth/password-login`, { provider: 'basic', username: 'ada', password: 'lovelace', next: target });
      assert.equal(signedIn.headers.get('location'), target);
    });

    await t.test('a person: the application reads who, and nothing that the client claims', async () => {
      const identity = { 'x-auth-user': 'root', 'X-Auth-Scopes': 'admin', 'X-Auth-Groups': 'admins', 'X-Auth-Provider': 'forged', X_Auth_User: 'root', 'X-Auth_Email': 'root', 'x.auth.groups': 'root' };
      const way = { 'x-forwarded-for': '6.6.6.6', 'x-forwarded-host': 'six.example', 'x-forwarded-prefix': '/six', forwarded: 'for=6.6.6.6', 'x-original-uri': '/six' };
      client.jar(front.url).set('theme', 'dark');
      const answer = await ask(target, { headers: { ...identity, ...way } });
      assert.equal(answer.status, 200);
      const { url, headers } = await answer.json();
      assert.equal(url, target);
      assert.equal(headers.cookie?.replace(/; *$/, ''), 'theme=dark', 'its own cookies, and no session');
      const told = Object.fromEntries(Object.entries(headers).filter(([name, value]) => /^x.auth/.test(name) && value !== ''));
      assert.deepEqual(told, { 'x-auth-user': 'ada', 'x-auth-email': 'ada@example.test', 'x-auth-provider': 'basic' });
      const claimed = Object.entries(headers).filter(([name]) => name in way).filter(([, value]) => /6\.6\.6\.6|six/.test(value));
      assert.deepEqual(claimed, []);
      assert.equal(headers['x-forwarded-for'], '127.0.0.1');
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

    await t.test('the question itself is not for the outside, and a dashboard that is down opens nothing', async () => {
      for (const path of ['/auth/verify', '/auth/verify?x=1', '/auth/verify/', '/auth/verify/app/x']) {
        assert.equal((await client.follow(await ask(path), front.url)).answer.headers.get('x-auth-user'), null, path);
      }
      await dashboard.stop();
      assert.ok((await ask('/app')).status >= 500);
    });
    await front.stop();
  });
}

/** A request from an address of this machine, which `fetch` cannot choose. */
const requestFrom = (localAddress, url, { method = 'GET', headers = {}, body } = {}) => new Promise((resolve, reject) => {
  const request = http.request(url, { method, headers, localAddress }, async (response) => {
    let text = '';
    for await (const chunk of response) text += chunk;
    resolve({ status: response.statusCode, headers: response.headers, text });
  });
  request.on('error', reject);
  request.end(body);
});

/** How often the dashboard was asked for `/healthz`, by status. */
async function healthChecks(dashboard, cookie) {
  const text = await (await fetch(`${dashboard.url}/metrics`, { headers: { cookie } })).text();
  const counts = {};
  for (const [, labels, count] of text.matchAll(/^portcullis_requests_total\{([^}]*)\} (\d+)/gm)) {
    if (/route="\/healthz"/.test(labels)) counts[/status="(\d+)"/.exec(labels)[1]] = Number(count);
  }
  return counts;
}

/** The servers' state, as HAProxy's page of statistics has it in CSV. */
async function haproxyServers(url) {
  const [head, ...rows] = (await (await fetch(`${url}/;csv`)).text()).replace(/^# /, '').trim().split('\n').map((line) => line.split(','));
  return rows.map((row) => Object.fromEntries(row.map((value, column) => [head[column], value]))).filter(({ svname }) => svname === 'dash');
}

for (const kind of ['nginx', 'caddy', 'haproxy']) {
  test(`${kind}: the dashboard itself, with the headers that the proxy sends by itself`, async () => {
    const home = new Home(gated([await basic()], { allowed_hosts: ['127.0.0.1'], trusted_proxies: ['127.0.0.1'] }));
    const dashboard = await home.dashboard();
    const front = await proxy(kind, 'The dashboard itself', dashboard);

    const body = new URLSearchParams({ provider: 'basic', username: 'ada', password: 'lovelace', next: '/?tab=2' }).toString();
    // What the client claims of its address is not believed.
    const headers = { 'content-type': 'application/x-www-form-urlencoded', origin: front.url, 'x-forwarded-for': '6.6.6.6' };
    const signedIn = await requestFrom('127.0.0.77', `${front.url}/auth/password-login`, { method: 'POST', headers, body });
    assert.deepEqual([signedIn.status, signedIn.headers.location], [303, '/?tab=2'], signedIn.text);
    const cookie = signedIn.headers['set-cookie'].map((line) => line.split(';')[0]).join('; ');
    const mine = await requestFrom('127.0.0.77', `${front.url}/api/auth/me`, { headers: { cookie } });
    assert.equal(JSON.parse(mine.text).user_id, 'ada');
    assert.equal((await home.audited('login_success'))[0].ip, '127.0.0.77', 'the client, and not the proxy');

    const elsewhere = await requestFrom('127.0.0.77', `${front.url}/api/drain`, { method: 'POST', headers: { cookie, origin: 'http://127.0.0.1:9' }, body: '{}' });
    assert.equal(elsewhere.status, 403, 'a page of another port');

    if (kind === 'nginx') {
      // It has no checks of its own: what stands behind a load balancer is asked through it.
      assert.equal((await fetch(`${front.url}/healthz`)).status, 200);
    } else {
      await eventually('health checks succeed', async () => (await healthChecks(dashboard, cookie))[200] >= 3);
      assert.deepEqual(Object.keys(await healthChecks(dashboard, cookie)), ['200'], 'no check fails');
    }
    if (kind === 'haproxy') {
      const servers = await eventually('HAProxy has checked', async () => {
        const found = await haproxyServers(front.statistics);
        return found[0]?.check_status === 'L7OK' && found;
      });
      assert.deepEqual(servers.map(({ status, check_code }) => [status, check_code]), [['UP', '200']]);
    }
    await front.stop();
    await dashboard.stop();
  });
}
