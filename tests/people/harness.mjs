// What the suites share: the real binary over a home of its own, identity providers, and a client that keeps cookies.
import { spawn } from 'node:child_process';
import net from 'node:net';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after } from 'node:test';

const HERE = dirname(fileURLToPath(import.meta.url));
export const BINARY = process.env.PORTCULLIS_BINARY ?? join(HERE, '../../target/debug/portcullis');
export const DRAIN_SECRET = 'q7Jm2cV9xR4tN8wB1zL6yH3kD5fG0sPaQeUiOoTnXrY';
export const CLIENT_SECRET = 's3cret-of-the-client';
const SOON = 30_000;

/** Polls until `look` gives something. */
export async function eventually(what, look, timeout = SOON) {
  const end = Date.now() + timeout;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${timeout} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// At the end of the file, whoever asked for what: a hook inside a test would end with that test.
const leftovers = [];
after(async () => { for (const end of leftovers.reverse()) await end(); });

/** A port of loopback that was free a moment ago. */
export const freePort = () => new Promise((resolve) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)); });
});

/** A folder that is gone when the test file ends. */
export function folder(name) {
  const path = mkdtempSync(join(tmpdir(), `portcullis-${name}-`));
  leftovers.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The processes that were started with this variable in their environment. */
const processesWith = (variable) => readdirSync('/proc').filter((name) => /^\d+$/.test(name)).filter((pid) => {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(variable);
  } catch {
    return false; // It ended meanwhile.
  }
}).map(Number);

/**
 * At the end of the test file, ends what a program with this variable has left behind. A child in a session of its own, such
 * as a terminal, outlives the program, writes to its home and holds its stdout open.
 */
export function endLeftBehind(variable) {
  leftovers.push(async () => {
    const end = Date.now() + 5_000;
    await eventually(`the processes with ${variable} have ended`, () => {
      const left = processesWith(variable);
      for (const pid of left) {
        try { process.kill(pid, Date.now() < end ? 'SIGTERM' : 'SIGKILL'); } catch {}
      }
      return left.length === 0;
    });
  });
}

/** Starts a program and waits for the line on its stdout that matches; ended with the test file, by its own pid. */
export async function start(command, args, { env = {}, ready, stream = 'stdout' } = {}) {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) child[name].on('data', (text) => { said[name] += text; });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    // Some wait for connections that a failed test has left open.
    const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(late);
  };
  leftovers.push(stop);
  const match = await eventually(`${[command, ...args].join(' ')} is ready`, () => {
    const end = child.exitCode ?? child.signalCode;
    if (end !== null) throw new Error(`${command} ended with ${end}: ${said.stderr}`);
    return !ready || ready.exec(said[stream]);
  });
  return { child, said, stop, ended, match, port: Number(match[1]) };
}

export const hashPassword = async (password) => {
  const child = spawn(BINARY, ['provider', 'hash-password'], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(password + '\n');
  let hash = '';
  for await (const text of child.stdout) hash += text;
  return hash.trim();
};

/** JSON is YAML. */
export class Home {
  constructor(config) {
    this.path = folder('home');
    this.write(config);
  }
  write(config) { writeFileSync(join(this.path, 'portcullis.yaml'), JSON.stringify(config, null, 2)); }
  audit() {
    let text = '';
    try { text = readFileSync(join(this.path, 'logs/dashboard-auth.log'), 'utf8'); } catch {}
    // The last line may still be being written.
    return text.split('\n').slice(0, -1).map((line) => JSON.parse(line));
  }
  /** Lines of this event, once there are as many. */
  async audited(event, count = 1) {
    return eventually(`${count} ${event}`, () => {
      const lines = this.audit().filter((line) => line.event === event);
      return lines.length >= count && lines;
    });
  }
  /** On a port of its own, or again on that of an earlier one. */
  async dashboard(env = {}, port = 0) {
    const args = ['serve', '--home', this.path, '--port', String(port)];
    const secret = { HERMES_DASHBOARD_DRAIN_SECRET: DRAIN_SECRET };
    const process = await start(BINARY, args, { env: { ...secret, ...env }, ready: /PORTCULLIS_READY dashboard port=(\d+)/ });
    return Object.assign(process, { url: `http://127.0.0.2:${process.port}` });
  }
  async gateway() {
    const args = ['gateway', '--home', this.path, '--listen', '127.0.0.1:0'];
    const process = await start(BINARY, args, { ready: /PORTCULLIS_READY gateway port=(\d+)/ });
    return Object.assign(process, { url: `http://127.0.0.1:${process.port}` });
  }
}

/** 127.0.0.2 is public to the gate, and another site than the identity providers at 127.0.0.1. */
export const gated = (providers, more = {}) => ({
  dashboard: { host: '127.0.0.2', trusted_proxies: ['127.0.0.0/8'], providers, ...more },
});

let lovelace;
export const basic = async (more = {}) => ({
  name: 'basic', component: 'builtin:basic', display_name: 'Local account',
  config: {
    secret: '9f3c1b7e2d8a4650c1e7b93f60d2a548',
    users: [{ username: 'ada', password_hash: lovelace ??= await hashPassword('lovelace'), display_name: 'Ada Lovelace', email: 'ada@example.test' }],
    ...more,
  },
  grants: { keyvalue: true }, limits: { deadline_ms: 10_000 },
});

export const oidc = (issuer, { name = 'idp', grants = {}, ...more } = {}) => ({
  name, component: 'builtin:oidc', display_name: 'Test IdP',
  config: { issuer, client_id: 'portcullis', leeway_seconds: 0, scopes: 'openid email profile offline_access', ...more },
  grants: {
    http: [{ origin: issuer, networks: ['127.0.0.0/8'], headers: { authorization: { basic: { username: 'portcullis', password: CLIENT_SECRET } } } }],
    keyvalue: true, ...grants,
  },
  limits: { deadline_ms: 3_000 },
});

/** One of `idps/`, with its admin endpoints. */
export async function identityProvider(file, env = {}) {
  const launch = () => start('node', [join(HERE, 'idps', file)], { env: { PORT: '0', ...env }, ready: /IDP_READY port=(\d+)/ });
  // Once in some thousand starts Node says nothing for half a minute; what is tested here is not Node.
  const process = await launch().catch((error) => { console.error(`started again: ${error.message}`); return launch(); });
  const url = `${env.TLS ? 'https' : 'http'}://127.0.0.1:${process.port}`;
  const admin = async (method, path, body) => (await fetch(url + path, { method, body })).json();
  return Object.assign(process, {
    url,
    counts: () => admin('GET', '/test/counts'),
    seen: () => admin('GET', '/test/seen'),
    mode: (mode) => admin('POST', '/test/mode', mode),
    post: (path, body) => admin('POST', path, body),
    put: (path, body) => admin('PUT', path, JSON.stringify(body)),
  });
}

/** One host's cookies as a browser keeps them: by name and path. */
export class Jar {
  constructor(cookies = []) { this.cookies = new Map(cookies); }
  copy() { return new Jar(this.cookies); }
  get size() { return this.cookies.size; }
  names() { return [...this.cookies.values()].map(({ name }) => name); }
  get(name) { return [...this.cookies.values()].find((cookie) => cookie.name === name)?.value; }
  set(name, value, path = '/') { this.cookies.set(`${name};${path}`, { name, value, path }); }
  /** Takes a `Set-Cookie` line. */
  take(line) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    const path = /; *path=([^;]*)/i.exec(line)?.[1] ?? '/';
    if (/max-age=0|expires=thu, 01 jan 1970/i.test(line)) this.cookies.delete(`${name};${path}`);
    else this.set(name, value, path);
  }
  /** The `Cookie` header for a path, the longest paths first (RFC 6265, section 5.4). */
  line(path) {
    const isBelow = (parent) => path === parent || (path.startsWith(parent) && (parent.endsWith('/') || path[parent.length] === '/'));
    const sent = [...this.cookies.values()].filter((cookie) => isBelow(cookie.path));
    sent.sort((a, b) => b.path.length - a.path.length);
    return sent.map(({ name, value }) => `${name}=${value}`).join('; ');
  }
}

/** A browser's cookies without the browser: one jar per host, whatever the port; redirects followed by hand. */
export class Client {
  constructor() {
    this.jars = new Map();
    // Everybody has an address of their own, so that the throttle tells them apart.
    this.address = `10.${[0, 0, 0].map(() => Math.floor(Math.random() * 256)).join('.')}`;
  }
  jar(url) {
    const { hostname } = new URL(url);
    if (!this.jars.has(hostname)) this.jars.set(hostname, new Jar());
    return this.jars.get(hostname);
  }
  /** Takes another client's cookies. */
  use(url, jar) { this.jars.set(new URL(url).hostname, jar); }
  cookie(url, name) { return this.jar(url).get(name); }
  async fetch(url, { headers = {}, ...options } = {}) {
    const jar = this.jar(url);
    const cookie = jar.line(new URL(url).pathname);
    const answer = await fetch(url, { redirect: 'manual', ...options, headers: { 'x-forwarded-for': this.address, ...(cookie ? { cookie } : {}), ...headers } });
    for (const line of answer.headers.getSetCookie()) jar.take(line);
    return answer;
  }
  json(url, body, headers = {}) {
    return this.fetch(url, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } });
  }
  form(url, fields, headers = {}) { return this.fetch(url, { method: 'POST', body: new URLSearchParams(fields), headers }); }
  /** Follows redirects until an answer is none, or until the address matches. */
  async follow(answer, from, until) {
    for (let hops = 0; hops < 12 && answer.status >= 300 && answer.status < 400; hops += 1) {
      from = new URL(answer.headers.get('location'), from).href;
      if (until?.test(from)) return { answer, url: from };
      answer = await this.fetch(from);
    }
    return { answer, url: from };
  }
}

/** Signs in at `idps/certified.mjs`, up to where the browser goes back to the dashboard. */
export async function toCallback(client, dashboard, { provider = 'idp', next = '/', login = 'ada', password = 'lovelace' } = {}) {
  const begin = `${dashboard.url}/auth/login?provider=${provider}&next=${encodeURIComponent(next)}`;
  let { answer, url } = await client.follow(await client.fetch(begin), begin, /\/auth\/callback/);
  if (!/\/auth\/callback/.test(url) && answer.status === 200) {
    const form = await client.form(url, { login, password });
    ({ answer, url } = await client.follow(form, url, /\/auth\/callback/));
  }
  return { url, answer };
}

/** The whole way. */
export async function signIn(client, dashboard, options) {
  const { url } = await toCallback(client, dashboard, options);
  return client.fetch(url);
}

export const me = (client, dashboard) => client.fetch(`${dashboard.url}/api/auth/me`);
