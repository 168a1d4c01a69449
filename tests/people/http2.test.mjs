// HTTP/2 in front: clients of other projects, and a browser whose web sockets are streams of its connection (RFC 8441).
import assert from 'node:assert/strict';
import http from 'node:http';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { WebSocketServer } from 'ws';
import { launch } from './browser.mjs';
import { Home, basic, eventually, folder, gated } from './harness.mjs';

const CERTIFICATES = join(dirname(fileURLToPath(import.meta.url)), '../certificates');
const run = promisify(execFile);

/** Says back what reached it, and sends back what arrives on its web sockets. */
async function application() {
  const server = http.createServer(async (request, response) => {
    let bytes = 0;
    for await (const chunk of request) bytes += chunk.length;
    response.setHeader('content-type', request.url === '/app/' ? 'text/html' : 'application/json');
    response.end(request.url === '/app/' ? '<p>An application</p>' : JSON.stringify({ version: request.httpVersion, bytes }));
  });
  const sockets = new WebSocketServer({ server, path: '/app/ws' });
  sockets.on('connection', (socket, request) => {
    socket.send(request.headers['x-auth-user']);
    socket.on('message', (data) => socket.send(String(data)));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

let app, browser, url;
before(async () => {
  app = await application();
  const upstream = `http://127.0.0.1:${app.address().port}`;
  const apps = [{ name: 'app', path: '/app', upstream, public_paths: ['/app/upload'] }];
  const tls = { certificate: join(CERTIFICATES, 'good.pem'), key: join(CERTIFICATES, 'server.key') };
  const home = new Home(gated([await basic()], { tls, apps }));
  const dashboard = await home.dashboard();
  url = `https://127.0.0.2:${dashboard.port}`;
  browser = await launch();
});
after(async () => {
  await browser?.close();
  app.closeAllConnections();
  app.close();
});

test('curl sends a body over HTTP/2, and the application gets it over HTTP/1.1', async () => {
  const file = join(folder('upload'), 'body');
  writeFileSync(file, 'x'.repeat(300_000));
  const form = '\n%{http_version} %{http_code}';
  const args = ['--silent', '--insecure', '--http2', '--data-binary', `@${file}`, '--write-out', form, `${url}/app/upload`];
  const { stdout } = await run('curl', args);
  assert.equal(stdout, '{"version":"1.1","bytes":300000}\n2 200');
});

test('nghttp is answered', async () => {
  const { stdout } = await run('nghttp', ['--null-out', '--verbose', '--no-verify-peer', `${url}/healthz`]);
  assert.match(stdout, /:status: 200/);
});

test('h2load has every request answered', async () => {
  const { stdout } = await run('h2load', ['-n', '2000', '-c', '4', '-m', '32', `${url}/healthz`]);
  assert.match(stdout, /2000 succeeded, 0 failed, 0 errored, 0 timeout/);
  assert.match(stdout, /status codes: 2000 2xx/);
});

test('a browser has its web sockets on its connection of HTTP/2, and they end with the session', async () => {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const protocol = await context.newCDPSession(page);
  await protocol.send('Network.enable');
  // Over HTTP/1.1 a socket is opened by a 101.
  const opened = [];
  protocol.on('Network.webSocketHandshakeResponseReceived', ({ response }) => opened.push(response.status));

  await page.goto(`${url}/`);
  await page.getByLabel('User name').fill('ada');
  await page.getByLabel('Password').fill('lovelace');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL(`${url}/`);
  await eventually("the live page's socket is open", () => opened.length === 1);

  await page.goto(`${url}/app/`);
  assert.equal(await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol), 'h2');
  const said = await page.evaluate(() => new Promise((resolve, reject) => {
    const said = [];
    const socket = new WebSocket(`wss://${location.host}/app/ws`);
    window.ended = new Promise((over) => { socket.onclose = () => over('closed'); });
    socket.onerror = () => reject(new Error('the socket was not opened'));
    socket.onmessage = ({ data }) => {
      said.push(data);
      if (said.length === 1) socket.send('hello');
      else resolve(said);
    };
  }));
  assert.deepEqual(said, ['ada', 'hello']);
  assert.deepEqual(opened, [200, 200]);

  await page.evaluate(() => fetch('/auth/logout', { method: 'POST' }).then(() => null));
  assert.equal(await page.evaluate(() => window.ended), 'closed');
  await context.close();
});
