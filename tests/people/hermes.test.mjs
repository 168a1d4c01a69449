// The released Hermes dashboard behind ours, with `preset: hermes`, in a real Chromium over https: at the root, at a path of its own, and
// behind a proxy that takes a prefix off. People sign in by password and at a certified identity provider; services have keys.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { launch, loginAtIdp, watched } from './browser.mjs';
import { DRAIN_SECRET, Home, basic, eventually, folder, freePort, gated, identityProvider, oidc, start } from './harness.mjs';
import { hermesDashboard, installed } from './hermes.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const SHOTS = join(HERE, '../../target/people');
const CERTIFICATES = join(HERE, '../certificates');
const HTTPS = { ignoreHTTPSErrors: true };   // the certificate is for 127.0.0.1
const KEYS = { agent: 'the-key-of-a-service-that-may-use-the-api-01', other: 'the-key-of-a-service-that-may-do-other-things' };
const PLACES = ['at the root', 'at a path of its own', 'behind a proxy with a prefix'];
const [ROOT, PATH, PREFIX] = PLACES;
const programs = await installed();
const skip = programs ? false : 'PyPI cannot be reached: nothing was tested with the released Hermes dashboard';

let browser, dashboard, places;
before(async () => {
  if (skip) return;
  mkdirSync(SHOTS, { recursive: true });
  const hermes = await hermesDashboard(programs);
  const idp = await identityProvider('certified.mjs', { GRANT: 'new' });
  const digest = (key) => createHash('sha256').update(key).digest('hex');
  const keys = [{ sha256: digest(KEYS.agent), principal: 'nightly', scopes: ['hermes.api'] }, { sha256: digest(KEYS.other), principal: 'other', scopes: ['other'] }];
  const services = { name: 'services', component: 'builtin:service-keys', config: { keys }, grants: { scopes: ['hermes.api', 'other'] } };
  const app = (name, path) => ({ name, path, upstream: hermes.url, preset: 'hermes', allow: ['people', { scope: 'hermes.api' }] });
  const home = new Home(gated([await basic(), oidc(idp.url, { end_session: true }), services], {
    trusted_proxies: ['127.0.0.1'], allowed_hosts: ['127.0.0.3'],
    tls: { certificate: join(CERTIFICATES, 'good.pem'), key: join(CERTIFICATES, 'server.key') },
    apps: [app('root', '/'), app('below', '/agents/hermes')],
  }));
  dashboard = await home.dashboard();
  const front = await proxy();
  const origin = `https://127.0.0.2:${dashboard.port}`;
  places = {
    [ROOT]: { base: origin, own: origin, name: 'root' },
    [PATH]: { base: `${origin}/agents/hermes`, own: origin, name: 'path' },
    [PREFIX]: { base: `${front}/hermes`, own: `${front}/hermes`, name: 'prefix' },
  };
  await idp.post('/test/redirect-uris', [origin, `${front}/hermes`].map((own) => `${own}/auth/callback`).join(','));
  await idp.post('/test/sign-out', JSON.stringify({ post_logout_redirect_uris: [`${origin}/login`, `${front}/hermes/login`] }));
  browser = await launch();
  const { request } = await browser.newContext(HTTPS);
  await eventually('the providers are loaded', async () => (await (await request.get(`${origin}/api/auth/providers`)).json()).providers.length === 2);
}, { timeout: 240_000 });
after(() => browser?.close());

/** nginx with `nginx-prefix.conf`. Returns its origin. */
async function proxy() {
  const [dir, port] = [folder('nginx'), await freePort()];
  const values = { DIR: dir, PORT: port, DASH: `127.0.0.2:${dashboard.port}`, CERTIFICATES };
  const text = readFileSync(join(HERE, 'proxies/nginx-prefix.conf'), 'utf8').replace(/@([A-Z]+)@/g, (whole, name) => values[name] ?? whole);
  writeFileSync(join(dir, 'nginx.conf'), text);
  await start('nginx', ['-e', join(dir, 'error.log'), '-p', dir, '-c', join(dir, 'nginx.conf')]);
  return `https://127.0.0.3:${port}`;
}

const WAYS = {
  'by password': async (page) => {
    await page.getByLabel('User name').fill('ada');
    await page.getByLabel('Password').fill('lovelace');
    await page.getByRole('button', { name: 'Sign in' }).click();
  },
  'at an identity provider': async (page) => {
    await page.getByRole('link', { name: 'Sign in with Test IdP' }).click();
    await loginAtIdp(page);
  },
};

/** The sockets of a page, each with what it received. */
function sockets(page) {
  const all = [];
  page.on('websocket', (socket) => {
    const seen = { path: new URL(socket.url()).pathname, text: '', isOpen: true };
    all.push(seen);
    socket.on('framereceived', ({ payload }) => { seen.text += payload; });
    socket.on('close', () => { seen.isOpen = false; });
  });
  return all;
}

/** What went wrong, but for requests and sockets that the page itself breaks off, and files of other servers. */
const unexpected = (context, base) => context.trouble.filter(({ kind, url, text }) =>
  !(kind === 'requestfailed' && text === 'net::ERR_ABORTED') && !/closed before the connection is established/.test(text)
  && (!url || url.startsWith(base)));

/** Asks the API as the page does. */
const ask = (page, base, path, options = {}) => page.evaluate(async ([url, init]) => {
  const headers = { 'content-type': 'application/json', 'x-hermes-session-token': window.__HERMES_SESSION_TOKEN__ };
  const answer = await fetch(url, { ...init, headers });
  const text = await answer.text();
  return { status: answer.status, kind: answer.headers.get('content-type'), text };
}, [base + path, options]);

/** The path of the API below an address, as the sockets name it. */
const apiPath = (base, end) => `${new URL(base).pathname.replace(/\/$/, '')}/api/${end}`;
const openSocket = (all, base, end) => all.find((one) => one.isOpen && one.path === apiPath(base, end));

/** Opens the page, signs in, and waits until it shows its data. */
async function open({ base, own, name }, way) {
  const context = await watched(browser, HTTPS);
  const page = await context.newPage();
  await page.goto(`${base}/sessions`);
  assert.equal(new URL(page.url()).pathname, new URL(`${own}/login`).pathname);
  await WAYS[way](page);
  await page.waitForURL(`${base}/sessions`);
  await page.getByText('Ada Lovelace').waitFor();
  await page.getByText('Active in store').waitFor();
  await page.waitForLoadState('networkidle');
  await page.screenshot({ path: join(SHOTS, `hermes-${name}-sessions.png`) });
  return { context, page };
}

/** Opens each page that the menu leads to. */
async function visitPages(page, { base }) {
  const links = await page.locator('a[href^="/"]').evaluateAll((all) => all.map((link) => link.getAttribute('href')));
  assert.ok(links.length > 10, `${links}`);
  for (const link of new Set(links)) {
    await page.locator(`a[href="${link}"]`).first().click();
    await page.waitForURL(`${new URL(base).origin}${link}`);
    await page.waitForLoadState('networkidle');
  }
}

/** Types into the terminal of the agent, and reads what it shows. */
async function useTerminal(page, { base, name }) {
  const all = sockets(page);
  await page.goto(`${base}/chat`);
  await eventually('the gateway is ready', () => openSocket(all, base, 'ws')?.text.includes('gateway.ready'), 90_000);
  await eventually('the terminal shows its prompt', () => openSocket(all, base, 'pty')?.text.includes('❯') && openSocket(all, base, 'events'));
  await page.locator('.xterm-helper-textarea').first().focus();
  await eventually('the terminal has what was typed', async () => {
    // It drops keys while it starts.
    await page.keyboard.type('What is the answer?');
    await page.keyboard.press('Enter');
    return eventually('its echo', () => openSocket(all, base, 'pty').text.includes('What is the answer?'), 2_000).catch(() => false);
  });
  await page.screenshot({ path: join(SHOTS, `hermes-${name}-chat.png`) });
}

async function useApi(page, { base }) {
  const theme = await ask(page, base, '/api/dashboard/theme', { method: 'PUT', body: '{"name":"midnight"}' });
  assert.deepEqual([theme.status, JSON.parse(theme.text)], [200, { ok: true, theme: 'midnight' }]);
  const status = JSON.parse((await ask(page, base, '/api/status')).text);
  assert.deepEqual([status.version, status.auth_required, status.drained], ['0.19.0', true, false]);
}

/** Signs out with the page's own button, while another tab is open that does not know of it. */
async function signOut(context, page, { base, own, name }) {
  const other = await context.newPage();
  const all = sockets(other);
  await other.goto(`${base}/sessions`);
  await eventually('the other tab has a socket', () => openSocket(all, base, 'ws')?.text.includes('gateway.ready'), 90_000);
  const before = all.filter(({ isOpen }) => isOpen);
  const stolen = await browser.newContext({ ...HTTPS, storageState: await context.storageState() });
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.waitForURL(`${own}/login`);
  await page.screenshot({ path: join(SHOTS, `hermes-${name}-signed-out.png`) });
  assert.deepEqual(context.trouble.filter(({ text }) => /CORS/.test(text)), [], 'it is led to no other origin');
  await eventually('the sockets of the other tab have ended', () => before.every(({ isOpen }) => !isOpen));
  await other.waitForURL((url) => url.href.split('?')[0] === `${own}/login`);

  for (const [{ request }, expected] of [[context, 'unauthenticated'], [stolen, 'session_expired']]) {
    const refused = await request.get(`${base}/api/sessions`);
    const { error, login_url } = await refused.json();
    assert.deepEqual([refused.status(), error], [401, expected]);
    assert.equal(login_url.split('?')[0], new URL(`${own}/login`).pathname);
  }
  await stolen.close();
}

for (const where of PLACES) {
  for (const way of Object.keys(WAYS)) {
    test(`Hermes ${where}, signed in ${way}`, { skip }, async () => {
      const place = places[where];
      const { context, page } = await open(place, way);
      if (where === ROOT && way === 'by password') await visitPages(page, place);
      // One terminal per place: each starts an agent, which takes seconds.
      if (way === 'by password') await useTerminal(page, place);
      assert.deepEqual(unexpected(context, place.base), []);
      await useApi(page, place);
      await signOut(context, page, place);
      await context.close();
    });
  }
}

test('Hermes: services with a scoped key reach the API, and no one else does', { skip }, async () => {
  const { request } = await browser.newContext(HTTPS);
  for (const { base } of Object.values(places)) {
    const get = (path, bearer) => request.get(base + path, { headers: bearer ? { authorization: `Bearer ${bearer}` } : {}, maxRedirects: 0 });
    const sessions = await get('/api/sessions', KEYS.agent);
    assert.equal(sessions.status(), 200, `${base}: ${await sessions.text()}`);
    assert.ok(Array.isArray((await sessions.json()).sessions));
    for (const [bearer, status] of [[KEYS.other, 403], [DRAIN_SECRET, 403], ['none-of-these', 401], [undefined, 401]]) {
      const refused = await get('/api/sessions', bearer);
      assert.equal(refused.status(), status, `${base} ${bearer}`);
      assert.ok((await refused.json()).error);
    }
    for (const path of ['/', '/chat', '/assets/none.js', '/api/cron/fire']) {
      const answer = await get(path);
      assert.ok(!(await answer.text()).includes('__HERMES_SESSION_TOKEN__'), `${base}${path} shows its token`);
    }
  }
});
