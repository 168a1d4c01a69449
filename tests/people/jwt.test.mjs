// Service tokens: `builtin:jwt` on a route for machines.
import assert from 'node:assert/strict';
import http from 'node:http';
import { constants, createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { Home, eventually } from './harness.mjs';

const ISSUER = 'https://issuer.example/realms/a';
const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = (namedCurve) => generateKeyPairSync('ec', { namedCurve });
const keys = {
  RS256: rsa(), RS384: rsa(), RS512: rsa(), PS256: rsa(), PS384: rsa(), PS512: rsa(),
  ES256: ec('P-256'), ES384: ec('P-384'), ES512: ec('P-521'), EdDSA: generateKeyPairSync('ed25519'),
};
const jwks = { keys: Object.entries(keys).map(([alg, { publicKey }]) => ({ ...publicKey.export({ format: 'jwk' }), kid: alg, alg, use: 'sig' })) };
const now = () => Math.floor(Date.now() / 1000);

// As Keycloak writes an access token: issued to one client (azp), for another (aud).
const claims = () => ({ iss: ISSUER, aud: ['api', 'account'], azp: 'a-client', sub: 'service-7', exp: now() + 300, iat: now(), scope: 'metrics.read admin' });
function token(alg, change = {}, header = {}) {
  const text = `${b64({ alg, typ: 'JWT', kid: alg, ...header })}.${b64({ ...claims(), ...change })}`;
  const pss = alg.startsWith('PS') && { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
  const signature = sign(alg === 'EdDSA' ? null : `sha${alg.slice(2)}`, Buffer.from(text), { key: keys[alg].privateKey, dsaEncoding: 'ieee-p1363', ...pss });
  return `${text}.${signature.toString('base64url')}`;
}

const config = (more) => ({
  dashboard: {
    token_routes: [{ path: '/metrics', scope: 'metrics.read' }],
    providers: [{ name: 'jwt', component: 'builtin:jwt', config: { issuer: ISSUER, audience: 'api', ...more.config }, grants: { scopes: ['metrics.read'], keyvalue: true, http: more.http ?? ['https://issuer.example'] } }],
  },
});
const ask = (dashboard, path, bearer) => fetch(`http://127.0.0.1:${dashboard.port}${path}`, { headers: { authorization: `Bearer ${bearer}` } });

test('tokens of the issuer, and of nobody else', async () => {
  const dashboard = await new Home(config({ config: { jwks } })).dashboard();
  for (const alg of Object.keys(keys)) {
    assert.deepEqual(await (await ask(dashboard, '/api/auth/whoami', token(alg))).json(), { principal: 'service-7', provider: 'jwt', scopes: ['metrics.read'], groups: [] });
    assert.equal((await ask(dashboard, '/metrics', token(alg))).status, 200);
  }
  const text = `${b64({ alg: 'HS256', kid: 'RS256' })}.${b64(claims())}`;
  const confused = `${text}.${createHmac('sha256', keys.RS256.publicKey.export({ type: 'spki', format: 'pem' })).update(text).digest('base64url')}`;
  for (const bad of [
    token('RS256', { iss: `${ISSUER}/` }), token('RS256', { aud: 'account' }), token('RS256', { exp: now() - 61 }), token('RS256', { exp: undefined }),
    token('RS256', { nbf: now() + 3600 }), token('RS256', { sub: '' }), token('RS256', {}, { kid: 'ES256' }), token('RS256', {}, { kid: 'unknown' }),
    token('ES256').slice(0, -4) + 'AAAA', `${b64({ alg: 'none' })}.${b64(claims())}.`, confused, 'a.b.c', 'plain',
  ]) assert.equal((await ask(dashboard, '/api/auth/whoami', bad)).status, 401, bad);
  assert.equal((await ask(dashboard, '/metrics', token('RS256', { scope: ['admin'] }))).status, 403);
});

test('every key that may have signed is tried, and names that the host would refuse are no fault', async () => {
  const plain = (alg, kid) => ({ ...keys[alg].publicKey.export({ format: 'jwk' }), ...(kid === undefined ? {} : { kid }) });
  const set = { keys: [plain('RS384'), plain('RS256'), plain('ES256', 'a'), plain('ES384', 7), { kty: 'oct', k: 'AAAA' }, null] };
  const home = new Home(config({ config: { jwks: set } }));
  const dashboard = await home.dashboard();
  const whoami = async (bearer) => (await ask(dashboard, '/api/auth/whoami', bearer)).status;
  for (const good of [
    token('RS256', {}, { kid: 'x' }), token('RS256', {}, { kid: undefined }), token('ES256', {}, { kid: undefined }), token('ES384', {}, { kid: '7' }),
    token('ES384', {}, { kid: 7, typ: 'at+jwt' }), token('RS256', { sub: 7 }), token('RS256', { scope: ['metrics.read', 'é', 1] }),
  ]) assert.equal(await whoami(good), 200, good);
  for (const bad of [
    token('ES256', {}, { kid: 'b' }), token('RS256', {}, { typ: 'logout+jwt' }), token('RS256', { sub: 'x'.repeat(300) }), token('RS256', { sub: 'a\tb' }),
    token('RS256', { sub: ['a', 'b'] }), token('RS256', { nbf: 'soon' }), token('RS256', {}, { crit: ['exp'] }),
  ]) assert.equal(await whoami(bad), 401, bad);
  assert.deepEqual(home.audit().filter(({ event }) => event === 'provider_fault'), []);
});

test('keys that are fetched are kept, asked for again with measure, and outlive their issuer', async (t) => {
  let fetched = 0;
  const server = http.createServer((_, response) => { fetched += 1; response.end(JSON.stringify(jwks)); });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const origin = `http://127.0.0.1:${server.address().port}`;
  const home = new Home(config({ config: { jwks_url: `${origin}/keys` }, http: [{ origin, networks: ['127.0.0.0/8'] }] }));
  const dashboard = await home.dashboard();
  for (let round = 0; round < 20; round += 1) {
    assert.equal((await ask(dashboard, '/api/auth/whoami', token('ES256'))).status, 200);
    assert.equal((await ask(dashboard, '/api/auth/whoami', token('ES256', {}, { kid: `made-up-${round}` }))).status, 401);
  }
  assert.equal(fetched, 1, 'made-up keys make nobody fetch again at once');
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await eventually('a try that fails', async () => {
    const answer = await ask(dashboard, '/api/auth/whoami', token('ES256', {}, { kid: 'made-up' }));
    return answer.status === 503;
  });
  assert.equal((await ask(dashboard, '/api/auth/whoami', token('ES256'))).status, 200);
});
