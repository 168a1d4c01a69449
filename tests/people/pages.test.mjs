// What people see: every state at three widths, and in light and dark, each checked by axe. The pictures are in target/people.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { axe, csp, launch, watched } from './browser.mjs';
import { Client, DRAIN_SECRET, Home, basic, eventually, gated, me } from './harness.mjs';

const SHOTS = join(dirname(fileURLToPath(import.meta.url)), '../../target/people');
/** Dark differs in colours alone, and a file of tests has four minutes. */
const LOOKS = [[360, 'light'], [768, 'light'], [1280, 'light'], [1280, 'dark']];
const LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 48"><rect width="120" height="48" rx="8" fill="#0a7d4f"/></svg>';
const BEARER = { authorization: `Bearer ${DRAIN_SECRET}`, 'content-type': 'application/json' };
let browser, home, dashboard;
before(async () => {
  mkdirSync(SHOTS, { recursive: true });
  home = new Home({
    ...gated([await basic(), { name: 'ldap', component: 'none.wasm', display_name: 'Directory' }], {
      branding: { title: 'Acme Agents', logo: 'logo.svg', accent: '#0a7d4f' },
    }),
    gateway: { command: ['sleep', '300'], shutdown_grace_seconds: 0 },
  });
  writeFileSync(join(home.path, 'logo.svg'), LOGO);
  dashboard = await home.dashboard();
  browser = await launch();
});
after(() => browser?.close());

/** A picture and a check of the page at each width and in both schemes. */
async function pictures(page, name) {
  for (const [width, colorScheme] of LOOKS) {
    const what = `${name}-${width}-${colorScheme}`;
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: join(SHOTS, `${what}.png`), fullPage: true });
    assert.deepEqual((await axe(page)).violations, [], what);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(overflow, 0, `${what}: nothing sticks out`);
  }
}

async function signedIn(url = dashboard.url) {
  const context = await watched(browser);
  const page = await context.newPage();
  await page.goto(`${url}/`);
  await page.getByLabel('User name').fill('ada');
  await page.getByLabel('Password').fill('lovelace');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(`${url}/`);
  await isLive(page);
  return { context, page };
}

const isLive = (page) => page.getByText('live', { exact: true }).waitFor();
const hasState = (page, state) => eventually(state, async () => (await page.locator('#state').textContent()) === state);
const shapeOf = (page, selector) => page.locator(`${selector} use`).first().getAttribute('href');
const drain = (body) => fetch(`${dashboard.url}/api/gateway/drain`, { method: 'POST', headers: BEARER, body: JSON.stringify(body) });
const state = async () => (await fetch(`${dashboard.url}/api/status`)).json();

test('sign-in page: its name, its logo and its colour, before and after a failure', async () => {
  const context = await watched(browser);
  const page = await context.newPage();
  await page.goto(`${dashboard.url}/login`);
  await page.getByRole('heading', { name: 'Sign in to Acme Agents', level: 1 }).waitFor();
  assert.equal(await page.title(), 'Sign in · Acme Agents');
  assert.ok(await page.locator('main').getByText(`127.0.0.2:${dashboard.port}`).isVisible(), 'it says where one signs in');
  await eventually('the logo is shown', () => page.locator('img').evaluate((image) => image.naturalWidth > 0));
  const button = page.getByRole('button', { name: 'Sign in' });
  assert.equal(await button.evaluate((button) => getComputedStyle(button).backgroundColor), 'rgb(10, 125, 79)');
  await page.locator('#basic-username:focus').waitFor();
  await pictures(page, 'sign-in');
  await page.getByLabel('User name').fill('ada');
  await page.getByLabel('Password').fill('wrong');
  await button.click();
  await page.getByRole('alert').waitFor();
  assert.equal(await page.getByLabel('User name').inputValue(), 'ada', 'the name is not typed again');
  await page.locator('#basic-password:focus').waitFor();
  await pictures(page, 'sign-in-failed');
  assert.deepEqual(csp(context), []);
  await context.close();
});

test('stopped: no gateway runs, and there is none to restart', async () => {
  const { context, page } = await signedIn();
  await hasState(page, 'stopped');
  assert.equal(await shapeOf(page, '.state.large'), '#shape-square');
  assert.ok(await page.locator('#restart').isDisabled());
  assert.equal(await page.title(), 'stopped · Acme Agents');
  await pictures(page, 'stopped');
  await context.close();
});

test('running, then draining with a turn in flight, then drained', async () => {
  const gateway = await home.gateway();
  const { context, page } = await signedIn();
  await hasState(page, 'running');
  assert.equal(await shapeOf(page, '.state.large'), '#shape-disc');
  const refused = page.locator('#providers li', { hasText: 'ldap' });
  assert.equal(await refused.locator('.state').textContent(), 'refused');
  assert.match(await refused.locator('[data-is=fault]').textContent(), /none\.wasm/);
  const asked = page.locator('#providers li', { hasText: 'Local account' });
  await eventually('the calls of a sign-in are drawn', async () => /v-/.test(await asked.locator('[data-is=chart] path').getAttribute('d')));
  const body = JSON.stringify({ session: 'a-long-turn', text: 'x' });
  const turn = fetch(`${gateway.url}/v1/turns`, { method: 'POST', headers: { 'content-type': 'application/json' }, body }).catch(() => {});
  await page.getByRole('cell', { name: 'a-long-turn' }).waitFor();
  await pictures(page, 'running');

  assert.equal((await drain({ action: 'drain', owner: 'deploy-bot', reason: 'Upgrade to 2.14' })).status, 200);
  await hasState(page, 'draining');
  assert.equal(await shapeOf(page, '.state.large'), '#shape-hourglass');
  const notice = page.locator('#drain-notice');
  await eventually('the banner says what is in flight', async () =>
    /^Draining: 1 turn is still in flight, the oldest for \d/.test(await notice.getByRole('heading').textContent()));
  const said = await page.locator('#holders').textContent();
  assert.ok(/deploy-bot.*Upgrade to 2\.14/.test(said) && /begun .*ends in/.test(said), said);
  assert.match(await page.locator('#holders time').first().getAttribute('title'), /\d{4}.*\d\d:\d\d:\d\d/, 'the exact time is there');
  await pictures(page, 'draining');

  const [{ id }] = (await (await fetch(`${gateway.url}/v1/turns`)).json()).turns;
  assert.equal((await fetch(`${gateway.url}/v1/turns/${id}`, { method: 'DELETE' })).status, 202);
  await turn;
  await hasState(page, 'drained');
  assert.equal(await shapeOf(page, '.state.large'), '#shape-pause');
  assert.equal(await notice.getByRole('heading').textContent().then((text) => text.startsWith('Drained: no turn is in flight')), true);
  await pictures(page, 'drained');
  await drain({ action: 'cancel', owner: 'deploy-bot' });
  await hasState(page, 'running');
  await notice.waitFor({ state: 'hidden' });
  assert.deepEqual(csp(context), []);
  await context.close();
  await gateway.stop();
});

test('dialogs ask before a drain begins, ends or is forced to end, and before a restart', async () => {
  const gateway = await home.gateway();
  const { context, page } = await signedIn();
  await hasState(page, 'running');
  await page.getByRole('button', { name: 'Begin a drain' }).click();
  await page.getByRole('dialog', { name: 'Begin a drain' }).waitFor();
  await pictures(page, 'dialog-begin');
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  assert.equal((await state()).drain.active, false, 'to open the dialog begins nothing');

  await page.getByRole('button', { name: 'Begin a drain' }).click();
  await page.getByLabel('Reason').and(page.locator('#drain-reason')).fill('Swap a disk');
  await page.getByLabel('Ends by itself after').selectOption('15 minutes');
  await page.getByRole('button', { name: 'Begin the drain' }).click();
  await page.locator('#holders').getByText('Swap a disk').waitFor();
  const { drain: begun } = await state();
  const seconds = (new Date(begun.expires_at) - new Date(begun.requested_at)) / 1000;
  assert.ok(Math.abs(seconds - 900) < 2, `${seconds}`);

  await drain({ action: 'drain', owner: 'deploy-bot', reason: 'Upgrade' });
  await page.locator('#holders').getByText('deploy-bot').waitFor();
  await page.getByRole('button', { name: 'End the drain…' }).click();
  const dialog = page.getByRole('dialog', { name: 'End the drain?' });
  await dialog.getByText('deploy-bot').waitFor();
  await pictures(page, 'dialog-end');
  await dialog.getByRole('button', { name: 'Keep draining' }).click();
  await dialog.waitFor({ state: 'hidden' });
  assert.equal((await state()).drain.active, true);
  await page.getByRole('button', { name: 'End the drain…' }).click();
  await dialog.getByRole('button', { name: 'End mine' }).click();
  await eventually('the other drain is left', async () => (await page.locator('#holders b').allTextContents()).join() === 'deploy-bot');
  assert.equal((await state()).drain.active, true);
  await page.getByRole('button', { name: 'End the drain…' }).click();
  assert.equal(await dialog.getByRole('button', { name: 'End mine' }).isVisible(), false, 'there is none of the own');
  await dialog.getByRole('button', { name: 'End the drain' }).click();
  await page.locator('#drain-notice').waitFor({ state: 'hidden' });
  const overridden = (await home.audited('drain_cancel', 3)).at(-1);
  assert.deepEqual([overridden.force, overridden.overridden], [true, ['deploy-bot']]);

  await page.getByRole('button', { name: 'Restart…' }).click();
  const restart = page.getByRole('dialog', { name: 'Restart the gateway?' });
  await restart.waitFor();
  await pictures(page, 'dialog-restart');
  await restart.getByLabel('Grace in seconds').fill('0');
  await restart.getByRole('button', { name: 'Restart now' }).click();
  await restart.waitFor({ state: 'hidden' });
  assert.equal(await gateway.ended, 75);
  await hasState(page, 'stopped');
  assert.deepEqual(csp(context), []);
  await context.close();
});

test('an action that is refused says why, and the dialog stays open', async () => {
  const { context, page } = await signedIn();
  await page.route('**/api/drain', (route) => route.fulfill({ status: 409, json: { detail: 'Not begun: too many owners' } }));
  await page.getByRole('button', { name: 'Begin a drain' }).click();
  await page.getByRole('button', { name: 'Begin the drain' }).click();
  const dialog = page.getByRole('dialog', { name: 'Begin a drain' });
  await dialog.getByText('Not begun: too many owners').waitFor();
  assert.deepEqual((await axe(page)).violations, []);
  await page.unroute('**/api/drain');
  await context.close();
});

test('a session is ended from the page, after a question', async () => {
  const { context, page } = await signedIn();
  const other = new Client();
  const credentials = { provider: 'basic', username: 'ada', password: 'lovelace' };
  assert.equal((await other.json(`${dashboard.url}/auth/password-login`, credentials, { 'user-agent': 'curl/8.5.0' })).status, 200);
  assert.equal((await other.fetch(`${dashboard.url}/api/auth/me`, { headers: { 'user-agent': 'curl/8.5.0' } })).status, 200);
  await page.reload();
  await isLive(page);
  const row = page.locator('#sessions tr', { hasText: 'curl' });
  await row.waitFor();
  await row.getByRole('button', { name: 'End the session of ada' }).click();
  const dialog = page.getByRole('dialog', { name: 'End the session?' });
  await dialog.waitFor();
  assert.equal((await me(other, dashboard)).status, 200, 'to open the dialog ends nothing');
  await pictures(page, 'dialog-session');
  await dialog.getByRole('button', { name: 'End the session' }).click();
  await row.waitFor({ state: 'detached' });
  assert.equal((await me(other, dashboard)).status, 401);
  await page.getByText('Ada Lovelace').waitFor();
  await context.close();
});

test('unknown: the reason stands beside the state', async () => {
  const file = join(home.path, 'gateway_state.json');
  writeFileSync(file, 'damaged');
  const { context, page } = await signedIn();
  await hasState(page, 'unknown');
  assert.equal(await shapeOf(page, '.state.large'), '#shape-diamond');
  assert.match(await page.locator('#says').textContent(), /^Not known: ./);
  assert.equal(await page.locator('#active').textContent(), 'unknown');
  await pictures(page, 'unknown');
  rmSync(file);
  await hasState(page, 'stopped');
  await context.close();
});

/** Changes what the dashboard sends to the page by its web socket. */
const changed = (page, change) => page.routeWebSocket(/\/api\/ws\?/, (socket) => {
  const server = socket.connectToServer();
  server.onMessage((message) => socket.send(JSON.stringify(change(JSON.parse(message)))));
});

test('quarantined and loading providers differ by shape', async () => {
  const { context, page } = await signedIn();
  await changed(page, (message) => {
    if (message.type !== 'providers') return message;
    const [native, asked, ...rest] = message.providers;
    const fault = { at: new Date().toISOString(), fault: 'trapped', reason: 'trapped: <b>unreachable</b>', used: { memory_bytes: 1, seconds: 1 } };
    const shut = { ...asked, state: 'quarantined', health: { ...asked.health, state: 'quarantined', faults: [fault] } };
    const loading = { ...native, name: 'later', display_name: 'Later', state: 'loading' };
    return { ...message, providers: [native, shut, loading, ...rest] };
  });
  await page.reload();
  await isLive(page);
  const shut = page.locator('#providers li', { hasText: 'Local account' });
  await shut.getByText('trapped: <b>unreachable</b>').waitFor();
  const shapes = await page.locator('#providers .state use').evaluateAll((uses) => uses.map((use) => use.getAttribute('href')));
  assert.deepEqual(shapes, ['#shape-disc', '#shape-triangle', '#shape-dashes', '#shape-cross']);
  await pictures(page, 'quarantined');
  await context.close();
});

test('an open page goes on by itself after a restart of the dashboard', async () => {
  const { context, page } = await signedIn();
  const { port } = dashboard;
  await dashboard.stop();
  await page.getByRole('heading', { name: 'This page is not up to date' }).waitFor();
  assert.equal(await page.locator('#connection').textContent(), 'not live');
  await pictures(page, 'not-live');
  dashboard = await home.dashboard({}, port);
  await isLive(page);
  await page.locator('#stale').waitFor({ state: 'hidden' });
  assert.equal(page.url(), `${dashboard.url}/`);
  const events = () => page.locator('#audit [data-is=event]').allTextContents();
  await eventually('lines from before the restart are there', async () => (await events()).includes('login_success'));
  assert.ok(!(await events()).includes('ws_ticket_minted'), 'the page does not fill its list with its own tickets');
  assert.deepEqual(csp(context), []);
  await context.close();
});

test('a page of another version loads itself anew, once', async () => {
  const { context, page } = await signedIn();
  await changed(page, (message) => message.type === 'status' ? { ...message, version: '99.0.0' } : message);
  let loads = 0;
  page.on('load', () => { loads += 1; });
  await page.reload();
  await eventually('it is loaded anew', () => loads >= 2);
  await isLive(page);
  await hasState(page, 'stopped');
  assert.equal(loads, 2);
  await context.close();
});

test('without sign-in, an open page takes over the token of the new process', async () => {
  const open = new Home({ dashboard: {} });
  const first = await open.dashboard();
  const url = `http://127.0.0.1:${first.port}/`;
  const context = await watched(browser);
  const page = await context.newPage();
  await page.goto(url);
  await isLive(page);
  assert.equal(await page.getByRole('button', { name: 'Begin a drain' }).isVisible(), true);
  assert.equal(await page.locator('#sessions').count(), 0, 'nobody is signed in');
  await pictures(page, 'without-sign-in');
  await first.stop();
  await page.getByRole('heading', { name: 'This page is not up to date' }).waitFor();
  const second = await open.dashboard({}, first.port);
  await page.locator('#stale').waitFor({ state: 'hidden' });
  await isLive(page);
  await page.getByRole('button', { name: 'Begin a drain' }).click();
  await page.getByRole('button', { name: 'Begin the drain' }).click();
  await page.locator('#holders').getByText('dashboard').waitFor();
  await context.close();
  await second.stop();
});
