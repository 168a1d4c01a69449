// A real Chromium: what a person sees and does.
import assert from 'node:assert/strict';
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

/** A context that is signed in by password. */
async function signedIn(options = {}) {
  const context = await watched(browser, options);
  const page = await context.newPage();
  await page.goto(`${dashboard.url}/`);
  await passwordForm(page, 'lovelace');
  await page.waitForURL(`${dashboard.url}/`);
  return { context, page };
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
  await page.getByRole('button', { name: 'Begin a drain' }).click();
  await page.getByRole('button', { name: 'Cancel the drain' }).click();
  await page.getByRole('button', { name: 'Begin a drain' }).waitFor();
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

test('the live page follows turns and a drain, and begins and cancels one', async () => {
  const { context, page } = await signedIn();
  await page.getByText('live', { exact: true }).waitFor();
  assert.equal(await page.locator('#state').textContent(), 'running');
  const turn = fetch(`${gateway.url}/v1/turns`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"session":"a-long-turn","text":"x"}' }).catch(() => {});
  await page.getByRole('cell', { name: 'a-long-turn' }).waitFor();
  const bearer = { authorization: `Bearer ${DRAIN_SECRET}`, 'content-type': 'application/json' };
  await fetch(`${dashboard.url}/api/gateway/drain`, { method: 'POST', headers: bearer, body: '{"action":"drain"}' });
  await eventually('the page shows the drain', async () => (await page.locator('#drain').textContent()) === 'on');
  assert.equal(await page.locator('#drain-by').textContent(), 'drain-control');
  await eventually('the page shows the gateway', async () => (await page.locator('#state').textContent()) === 'draining');
  for (const [name, options] of [['light', { colorScheme: 'light' }], ['dark', { colorScheme: 'dark' }]]) {
    await page.emulateMedia(options);
    await page.screenshot({ path: join(SHOTS, `live-${name}.png`), fullPage: true });
    assert.deepEqual((await axe(page)).violations, [], name);
  }
  await page.getByRole('button', { name: 'Cancel the drain' }).click();
  await eventually('the drain is over', async () => (await page.locator('#state').textContent()) === 'running');
  await page.getByRole('button', { name: 'Begin a drain' }).click();
  await eventually('the page shows who drains', async () => (await page.locator('#drain-by').textContent()) === 'ada');
  const begun = (await home.audited('drain_begin')).at(-1);
  assert.equal(begun.principal, 'ada');
  await page.getByRole('button', { name: 'Cancel the drain' }).click();
  await page.getByLabel('Filter').fill('drain_cancel');
  await eventually('the filter holds', async () => {
    const events = await page.locator('#audit tr td:nth-child(2)').allTextContents();
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
  await page.keyboard.press('Tab');
  await page.keyboard.type('ada');
  await page.keyboard.press('Tab');
  await page.keyboard.type('lovelace');
  await page.keyboard.press('Enter');
  await page.waitForURL(`${dashboard.url}/`);
  await context.close();
});
