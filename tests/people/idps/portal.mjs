// The Nous Portal as far as a dashboard sees it. Plain node. PORT=0 node portal.mjs -> "IDP_READY port=N"
//   POST /test/change  JSON: {claims: {..}, alg, answer: {..}, refresh: status}; stays until the next POST. "(absent)" removes.
//   GET  /test/seen    what came last to /oauth/authorize and /api/oauth/token, and how many refreshes succeeded
import http from 'node:http';
import { createHash, createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

const CLIENT = process.env.CLIENT_ID ?? 'agent:7';
const TTL = Number(process.env.TTL ?? 300);
const now = () => Math.floor(Date.now() / 1000);
const random = () => randomBytes(24).toString('base64url');
const b64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const keys = { RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }), ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }) };
const jwks = { keys: Object.entries(keys).map(([alg, { publicKey }]) => ({ ...publicKey.export({ format: 'jwk' }), kid: alg, alg, use: 'sig' })) };

let portal;
let change = {};
const codes = new Map();
const refreshTokens = new Set();
const seen = { refreshed: 0 };

const present = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== '(absent)'));

function accessToken() {
  const claims = present({
    iss: portal, aud: CLIENT, sub: 'user-1', org_id: 'org-1', iat: now(), exp: now() + TTL,
    agent_instance_id: CLIENT.slice('agent:'.length), oauth_contract_version: 1, scope: 'agent_dashboard:access', ...change.claims,
  });
  const alg = change.alg ?? 'RS256';
  const text = `${b64({ alg, typ: 'JWT', kid: keys[alg] ? alg : 'RS256' })}.${b64(claims)}`;
  if (alg === 'none') return `${text}.`;
  if (alg === 'HS256') return `${text}.${createHmac('sha256', keys.RS256.publicKey.export({ type: 'spki', format: 'pem' })).update(text).digest('base64url')}`;
  return `${text}.${sign('sha256', Buffer.from(text), { key: keys[alg].privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

function tokens() {
  const refresh_token = random();
  refreshTokens.add(refresh_token);
  return present({ access_token: accessToken(), token_type: 'Bearer', expires_in: TTL, refresh_token, ...change.answer });
}

const json = (response, status, value) => { response.writeHead(status, { 'content-type': 'application/json' }); response.end(JSON.stringify(value)); };
const body = async (request) => { let text = ''; for await (const chunk of request) text += chunk; return text; };

function authorize(query, response) {
  seen.authorize = query;
  const known = query.client_id === CLIENT && query.scope === 'agent_dashboard:access' && query.code_challenge_method === 'S256' && query.code_challenge;
  if (!known) return json(response, 400, { error: 'invalid_request' });
  const code = random();
  codes.set(code, { challenge: query.code_challenge, redirect_uri: query.redirect_uri });
  const to = new URL(query.redirect_uri);
  to.searchParams.set('code', code);
  to.searchParams.set('state', query.state);
  response.writeHead(302, { location: to.href });
  return response.end();
}

function redeem(form, response) {
  const code = codes.get(form.code);
  codes.delete(form.code);
  const challenge = createHash('sha256').update(form.code_verifier ?? '').digest('base64url');
  const fits = code && form.client_id === CLIENT && form.redirect_uri === code.redirect_uri && challenge === code.challenge;
  return fits ? json(response, 200, tokens()) : json(response, 400, { error: 'invalid_code' });
}

function refresh(form, header, response) {
  if (change.refresh) return json(response, change.refresh, { error: 'invalid_request' });
  // In both places, and the same; each token once.
  if (!form.refresh_token || form.refresh_token !== header || form.client_id !== CLIENT) return json(response, 400, { error: 'invalid_request' });
  if (!refreshTokens.delete(form.refresh_token)) return json(response, 400, { error: 'invalid_grant' });
  seen.refreshed += 1;
  return json(response, 200, tokens());
}

async function handle(request, response) {
  const url = new URL(request.url, portal);
  switch (`${request.method} ${url.pathname}`) {
    case 'GET /oauth/authorize': return authorize(Object.fromEntries(url.searchParams), response);
    case 'GET /.well-known/jwks.json': return json(response, 200, jwks);
    case 'POST /api/oauth/token': {
      const form = Object.fromEntries(new URLSearchParams(await body(request)));
      seen.token = form;
      return form.grant_type === 'refresh_token' ? refresh(form, request.headers['x-nous-refresh-token'], response) : redeem(form, response);
    }
    case 'POST /test/change': change = JSON.parse(await body(request)); return json(response, 200, {});
    case 'GET /test/seen': return json(response, 200, seen);
    default: return json(response, 404, { error: 'not_found' });
  }
}

const server = http.createServer((request, response) => handle(request, response).catch((error) => { console.error(error); response.destroy(); }));
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  portal = `http://127.0.0.1:${server.address().port}`;
  console.log(`IDP_READY port=${server.address().port}`);
});
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
