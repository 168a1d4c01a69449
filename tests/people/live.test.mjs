// The web socket behind the live page, as a program reads it: every message fits the published schema.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { before, test } from 'node:test';
import Ajv from 'ajv';
import { WebSocket } from 'ws';
import { Client, DRAIN_SECRET, Home, basic, eventually, gated } from './harness.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const validate = new Ajv({ allowUnionTypes: true, strictTypes: false }).compile(JSON.parse(readFileSync(join(HERE, '../../docs/live.schema.json'))));
let home, dashboard, gateway;
before(async () => {
  home = new Home({ ...gated([await basic({ session_ttl_seconds: 6 })]), gateway: { command: ['sleep', '2'] } });
  dashboard = await home.dashboard();
  gateway = await home.gateway();
});

async function signedIn() {
  const client = new Client();
  assert.equal((await client.json(`${dashboard.url}/auth/password-login`, { provider: 'basic', username: 'ada', password: 'lovelace' })).status, 200);
  return client;
}

async function open(client) {
  const { ticket } = await (await client.fetch(`${dashboard.url}/api/auth/ws-ticket`, { method: 'POST' })).json();
  const socket = new WebSocket(`${dashboard.url.replace('http', 'ws')}/api/ws?ticket=${ticket}`);
  const seen = [];
  socket.on('message', (data) => {
    const message = JSON.parse(data);
    assert.ok(validate(message), JSON.stringify({ message, errors: validate.errors }));
    seen.push(message);
  });
  const closed = new Promise((resolve) => socket.on('close', (code, reason) => resolve({ code, reason: String(reason) })));
  socket.on('error', () => {});
  await eventually('the first messages', () => ['status', 'providers', 'audit'].every((type) => seen.some((message) => message.type === type)));
  const last = (type) => seen.filter((message) => message.type === type).at(-1);
  return { socket, seen, closed, last };
}

test('turns, a drain and audit lines arrive as they happen', async () => {
  const client = await signedIn();
  const { socket, seen, last } = await open(client);
  assert.deepEqual(last('providers').providers.map(({ name }) => name), ['drain-secret', 'basic']);
  const turn = fetch(`${gateway.url}/v1/turns`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"session":"s1","text":"x"}' });
  await eventually('the turn', () => last('status').turns[0]?.session === 's1');
  const headers = { authorization: `Bearer ${DRAIN_SECRET}`, 'content-type': 'application/json' };
  await fetch(`${dashboard.url}/api/gateway/drain`, { method: 'POST', headers, body: '{}' });
  await eventually('the drain', () => last('status').drain.principal === 'drain-control' && last('status').gateway_state === 'draining');
  await eventually('the record', () => seen.some(({ records }) => records?.some(({ event }) => event === 'drain_begin')));
  await turn;
  await eventually('drained', () => last('status').drained === true);
  await fetch(`${dashboard.url}/api/gateway/drain`, { method: 'POST', headers, body: '{"action":"cancel"}' });
  await eventually('running again', () => last('status').gateway_state === 'running');
  socket.close();
});

test('a socket ends with its session: signed out, or run out', async () => {
  const client = await signedIn();
  const one = await open(client);
  await client.fetch(`${dashboard.url}/auth/logout`, { method: 'POST' });
  assert.deepEqual(await one.closed, { code: 1008, reason: 'the session is over' });
  const other = await open(await signedIn());
  assert.deepEqual(await other.closed, { code: 1008, reason: 'the session is over' }, 'six seconds, and nobody renewed it');
});

test('a session that goes on opens the next socket', async () => {
  const client = await signedIn();
  const { closed } = await open(client);
  await closed;
  const { socket, seen } = await open(client);
  socket.close();
  assert.ok(seen.some(({ records }) => records?.some(({ event }) => event === 'refresh_success')));
});
