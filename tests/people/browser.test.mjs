// A real Chromium: what a person sees and does.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { axe, devices, launch, loginAtIdp, watched } from './browser.mjs';
import { DRAIN_SECRET, Home, basic, eventually, gated, identityProvider, oidc } from './harness.mjs';

const SHOTS = join(dirname(fileURLToPath(import.meta.url)), '../../target/people');
let browser, idp, home, dashboard, gateway;
before(async () => {
  mkdirSync(SHOTS, { recursive: true });
  idp = await identityProvider('certified.mjs', { GRANT: 'new' });
  home = new Home({ ...gated([await basic(), oidc(idp.url)]), gateway: { command: ['sleep', '6'] } });
  dashboard = await home.dashboard();
  gateway = await home.gateway();
  await idp.post('/test/redirect-uris', `${dashboard.url}/auth/callback`);
  browser = await launch();
});
after(() => browser?.close());

/** Trouble that nobody asked for: CSP violations, console errors, requests that failed. */
const unexpected = (context, ...statuses) => context.trouble.filter(({ kind, status, text }) =>
  !(kind === 'http' && statuses.includes(status)) && !(kind === 'console' && /Failed to load resource/.test(text)));

async function passwordForm(page, password) {
  await page.getByLabel('User name').fill('ada');
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

/** Signs in by password at a dashboard. */
async function signInAt(page, url) {
  await page.goto(`${url}/`);
  await passwordForm(page, 'lovelace');
  await page.waitForURL(`${url}/`);
}

/** Begins a drain by the page's dialog. */
async function beginDrain(page, reason = '') {
  await page.getByRole('button', { name: 'Begin a drain' }).click();
  await page.locator('#drain-reason').fill(reason);
  await page.getByRole('button', { name: 'Begin the drain' }).click();
  await page.locator('#drain-notice').waitFor();
}

/** Ends every drain by the page's dialog. */
async function endDrain(page) {
  await page.getByRole('button', { name: 'End the drain…' }).click();
  await page.locator('#end-dialog').getByRole('button', { name: 'End the drain' }).click();
  await page.locator('#drain-notice').waitFor({ state: 'hidden' });
}

/** A context that is signed in by password. */
async function signedIn(options = {}) {
  const context = await watched(browser, options);
  const page = await context.newPage();
  await signInAt(page, dashboard.url);
  return { context, page };
}

/** A server on a port of its own of the dashboards' host. */
async function serverBeside(serve, t) {
  const server = http.createServer(serve);
  await new Promise((resolve) => server.listen(0, '127.0.0.2', resolve));
  t.after(() => { server.closeAllConnections(); server.close(); });
  return { server, url: `http://127.0.0.2:${server.address().port}` };
}

/** A proxy that takes `prefix` off the path, for requests and web sockets, and changes nothing else. `target` gives the port. */
async function prefixProxy(prefix, target, t) {
  const inner = (url) => url.slice(prefix.length) || '/';
  const { server, url } = await serverBeside((request, response) => {
    if (!request.url.startsWith(`${prefix}/`)) {
      response.writeHead(404).end();
      return;
    }
    const { method, headers } = request;
    const onward = http.request({ host: '127.0.0.2', port: target(), path: inner(request.url), method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  }, t);
  server.on('upgrade', (request, socket, head) => {
    const onward = net.connect(target(), '127.0.0.2', () => {
      const lines = [];
      for (let at = 0; at < request.rawHeaders.length; at += 2) lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
      onward.write(`GET ${inner(request.url)} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
      onward.write(head);
      onward.pipe(socket);
      socket.pipe(onward);
    });
    for (const [one, other] of [[onward, socket], [socket, onward]]) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  return `${url}${prefix}`;
}

test('password: wrong, then right, then back to the page that was asked for', async () => {
  const context = await watched(browser);
  const page = await context.newPage();
  await page.goto(`${dashboard.url}/?tab=turns`);
  assert.equal(page.url(), `${dashboard.url}/login?next=%2F%3Ftab%3Dturns`);
  await page.screenshot({ path: join(SHOTS, 'login.png') });
  await passwordForm(page, 'wrong');
  await page.getByRole('alert').waitFor();
  assert.equal(await page.getByRole('alert').textContent(), 'Invalid username or password.');
  await passwordForm(page, 'lovelace');
  await page.waitForURL(`${dashboard.url}/?tab=turns`);
  await page.getByText('Ada Lovelace').waitFor();
  const cookies = (await context.cookies()).filter(({ name }) => name.startsWith('hermes_'));
  assert.deepEqual(cookies.map(({ name, httpOnly, sameSite, path }) => ({ name, httpOnly, sameSite, path })).sort((a, b) => a.name.localeCompare(b.name)), [
    { name: 'hermes_session_at', httpOnly: true, sameSite: 'Lax', path: '/' },
    { name: 'hermes_session_device', httpOnly: true, sameSite: 'Lax', path: '/' },
    { name: 'hermes_session_rt', httpOnly: true, sameSite: 'Lax', path: '/' },
  ]);
  assert.deepEqual(unexpected(context, 401), []);
  await context.close();
});

test('sign-in works without any script', async () => {
  const context = await watched(browser, { javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`${dashboard.url}/`);
  await passwordForm(page, 'lovelace');
  await page.waitForURL(`${dashboard.url}/`);
  await page.locator('#drain-reason').fill('a disk is swapped');
  await page.getByRole('button', { name: 'Begin the drain' }).click();
  await page.locator('#holders').getByText('a disk is swapped').waitFor();
  assert.equal(await page.locator('[data-opens]').first().isVisible(), false, 'what needs the script is not there');
  await page.locator('#end-dialog').getByRole('button', { name: 'End the drain' }).click();
  await page.locator('#drain-notice').waitFor({ state: 'hidden' });
  await context.close();
});

test('redirect: to the identity provider and back, sign-out, and no way back', async () => {
  const context = await watched(browser);
  const page = await context.newPage();
  await page.goto(`${dashboard.url}/?from=idp`);
  await page.getByRole('link', { name: 'Sign in with Test IdP' }).click();
  await loginAtIdp(page);
  await page.waitForURL(`${dashboard.url}/?from=idp`);
  await page.getByText('Ada Lovelace').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL(/\/login/);
  assert.deepEqual((await context.cookies(dashboard.url)).filter(({ name }) => name.startsWith('hermes_')), []);
  await page.goBack();
  await page.waitForURL(/\/login/);
  assert.equal(await page.getByText('Ada Lovelace').count(), 0, 'the page is not shown again');
  assert.deepEqual(unexpected(context, 401), []);
  await context.close();
});

test('two tabs sign in at the same time, and each comes to its own page', async () => {
  const context = await watched(browser);
  const tabs = [];
  for (const tab of ['one', 'two']) {
    const page = await context.newPage();
    await page.goto(`${dashboard.url}/auth/login?provider=idp&next=${encodeURIComponent(`/?tab=${tab}`)}`);
    tabs.push({ page, target: `${dashboard.url}/?tab=${tab}` });
  }
  // Both are at the identity provider now; the one that began first comes back first.
  for (const { page, target } of tabs) {
    await loginAtIdp(page);
    await page.waitForURL(target);
    await page.getByText('Ada Lovelace').waitFor();
  }
  await tabs[0].page.reload();
  await tabs[0].page.getByText('Ada Lovelace').waitFor();
  const left = (await context.cookies(dashboard.url)).filter(({ name }) => name.startsWith('hermes_session_pkce'));
  assert.deepEqual(left, [], 'no cookie of a sign-in is left');
  assert.deepEqual(unexpected(context), []);
  await context.close();
});

test('two dashboards on two ports of one host: one browser stays signed in to both', async () => {
  const other = await new Home(gated([await basic()])).dashboard();
  const { context, page } = await signedIn();
  const otherPage = await context.newPage();
  await signInAt(otherPage, other.url);
  for (const [shown, url] of [[page, dashboard.url], [otherPage, other.url]]) {
    for (let visits = 0; visits < 2; visits += 1) {
      await shown.goto(`${url}/`);
      assert.equal(shown.url(), `${url}/`);
      await shown.getByText('Ada Lovelace').waitFor();
    }
  }
  await otherPage.getByRole('button', { name: 'Sign out' }).click();
  await otherPage.waitForURL(/\/login/);
  await page.reload();
  await page.getByText('Ada Lovelace').waitFor();
  await context.close();
  await other.stop();
});

test('a session that ends while its page is open leads to the sign-in page and back', async () => {
  const { context, page } = await signedIn();
  await page.getByText('live', { exact: true }).waitFor();
  // Signed out elsewhere, with the same cookies.
  const cookie = (await context.cookies(dashboard.url)).map(({ name, value }) => `${name}=${value}`).join('; ');
  await fetch(`${dashboard.url}/auth/logout`, { method: 'POST', headers: { cookie }, redirect: 'manual' });
  await page.waitForURL(`${dashboard.url}/login?next=%2F`);
  await passwordForm(page, 'lovelace');
  await page.waitForURL(`${dashboard.url}/`);
  await context.close();
});

test('pages of another site can do nothing', async () => {
  const { context, page } = await signedIn();
  await page.getByText('live', { exact: true }).waitFor();
  const stranger = await context.newPage();
  await stranger.route('http://127.0.0.1:9/', (route) => route.fulfill({ contentType: 'text/html', body: '<title>stranger</title>' }));
  await stranger.goto('http://127.0.0.1:9/');
  const tried = await stranger.evaluate(async (url) => {
    const post = (path, type) => fetch(url + path, { method: 'POST', mode: 'no-cors', credentials: 'include', headers: { 'content-type': type }, body: '{}' })
      .then((answer) => answer.type, (error) => String(error));
    const socket = await new Promise((resolve) => {
      const socket = new WebSocket(url.replace('http', 'ws') + '/api/ws?ticket=00');
      socket.onopen = () => resolve('open');
      socket.onerror = () => resolve('refused');
    });
    return { drain: await post('/api/drain', 'text/plain'), logout: await post('/auth/logout', 'text/plain'), socket };
  }, dashboard.url);
  assert.equal(tried.socket, 'refused');
  const form = stranger.waitForResponse((response) => response.url().endsWith('/api/drain') && response.request().isNavigationRequest());
  await stranger.evaluate((url) => { document.body.innerHTML = `<form method=post action="${url}/api/drain"></form>`; document.forms[0].submit(); }, dashboard.url);
  assert.equal((await form).status(), 403);
  assert.equal((await (await fetch(`${dashboard.url}/api/status`)).json()).drain.active, false);
  await page.reload();
  await page.getByText('Ada Lovelace').waitFor();
  await context.close();
});

test('a page on another port of the same host begins no drain', async (t) => {
  const { context, page } = await signedIn();
  const stranger = await serverBeside((_, response) => {
    response.setHeader('content-type', 'text/html');
    response.end(`<title>stranger</title><body onload="document.forms[0].submit()"><form method=post action="${dashboard.url}/api/drain"></form>`);
  }, t);
  const victim = await context.newPage();
  const answered = victim.waitForResponse((response) => response.url() === `${dashboard.url}/api/drain`);
  await victim.goto(stranger.url).catch(() => {});            // the form may be sent before the page is loaded
  const answer = await answered;
  assert.equal(answer.status(), 403);
  const sent = await answer.request().allHeaders();
  assert.match(sent.cookie ?? '', /hermes_session/, 'ports share cookies, so the session was sent');
  assert.equal((await (await fetch(`${dashboard.url}/api/status`)).json()).drain.active, false);
  await page.reload();
  await page.getByText('Ada Lovelace').waitFor();
  await context.close();
});

test('a dashboard below a path: sign-in, the live page, a drain and the sign-out', async (t) => {
  let below;
  const url = await prefixProxy('/agent', () => below.port, t);
  below = await new Home(gated([await basic()], { public_url: url })).dashboard();
  const context = await watched(browser);
  const page = await context.newPage();
  await page.goto(`${url}/?tab=turns`);
  assert.equal(page.url(), `${url}/login?next=%2F%3Ftab%3Dturns`);
  await passwordForm(page, 'lovelace');
  await page.waitForURL(`${url}/?tab=turns`);
  await page.getByText('live', { exact: true }).waitFor();
  const paths = (await context.cookies(url)).filter(({ name }) => name.startsWith('hermes_')).map(({ path }) => path);
  assert.deepEqual([...new Set(paths)], ['/agent'], 'no cookie is for the rest of the host');
  await beginDrain(page);
  await endDrain(page);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL(new RegExp(`^${url}/login`));
  await page.goto(`${url}/`);
  await page.waitForURL(`${url}/login?next=%2F`);
  assert.deepEqual(unexpected(context, 401), []);
  await context.close();
  await below.stop();
});

test('the live page follows turns and a drain, and begins and cancels one', async () => {
  const { context, page } = await signedIn();
  await page.getByText('live', { exact: true }).waitFor();
  assert.equal(await page.locator('#state').textContent(), 'running');
  const turn = fetch(`${gateway.url}/v1/turns`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"session":"a-long-turn","text":"x"}' }).catch(() => {});
  await page.getByRole('cell', { name: 'a-long-turn' }).waitFor();
  const bearer = { authorization: `Bearer ${DRAIN_SECRET}`, 'content-type': 'application/json' };
  await fetch(`${dashboard.url}/api/gateway/drain`, { method: 'POST', headers: bearer, body: '{"action":"drain"}' });
  await page.locator('#drain-notice').waitFor();
  assert.equal(await page.locator('#holders b').textContent(), 'drain-control');
  await eventually('the page shows the gateway', async () => (await page.locator('#state').textContent()) === 'draining');
  for (const [name, options] of [['light', { colorScheme: 'light' }], ['dark', { colorScheme: 'dark' }]]) {
    await page.emulateMedia(options);
    await page.screenshot({ path: join(SHOTS, `live-${name}.png`), fullPage: true });
    assert.deepEqual((await axe(page)).violations, [], name);
  }
  await endDrain(page);
  await eventually('the drain is over', async () => (await page.locator('#state').textContent()) === 'running');
  await beginDrain(page, 'the kernel is updated');
  await eventually('the page shows who drains', async () => (await page.locator('#holders b').textContent()) === 'ada');
  await eventually('it is audited', () => home.audit().some(({ event, principal, reason }) =>
    event === 'drain_begin' && principal === 'ada' && reason === 'the kernel is updated'));
  await endDrain(page);
  await page.getByLabel('Filter').fill('drain_cancel');
  await eventually('the filter holds', async () => {
    const events = await page.locator('#audit [data-is=event]').allTextContents();
    return events.length > 0 && events.every((event) => event === 'drain_cancel');
  });
  assert.deepEqual(unexpected(context), []);
  await context.close();
  await gateway.stop();
  await turn;
});

test('the sign-in page and the live page fit a phone, and are accessible', async () => {
  for (const colorScheme of ['light', 'dark']) {
    const phone = { ...devices['iPhone 13'], defaultBrowserType: undefined, colorScheme };
    const context = await watched(browser, phone);
    const page = await context.newPage();
    await page.goto(`${dashboard.url}/login`);
    assert.deepEqual((await axe(page)).violations, []);
    await page.screenshot({ path: join(SHOTS, `phone-login-${colorScheme}.png`) });
    await passwordForm(page, 'lovelace');
    await page.getByText('live', { exact: true }).waitFor();
    assert.deepEqual((await axe(page)).violations, []);
    await page.screenshot({ path: join(SHOTS, `phone-live-${colorScheme}.png`), fullPage: true });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(overflow, 0, 'nothing sticks out');
    await context.close();
  }
});

test('keyboard alone is enough to sign in', async () => {
  const context = await watched(browser);
  const page = await context.newPage();
  await page.goto(`${dashboard.url}/login`);
  await page.locator('#basic-username:focus').waitFor();
  await page.keyboard.type('ada');
  await page.keyboard.press('Tab');
  await page.keyboard.type('lovelace');
  await page.keyboard.press('Enter');
  await page.waitForURL(`${dashboard.url}/`);
  await context.close();
});
