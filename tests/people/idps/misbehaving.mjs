// An issuer that misbehaves on demand. Plain node. PORT=0 node evil-idp.mjs -> "IDP_READY port=N"
//   POST /test/mode   body: mode name (below); stays until the next POST. 400 on an unknown one.
//   GET  /test/counts, GET /test/seen, POST /test/reset, POST /test/rotate-keys, POST /test/user (JSON merged into claims; null deletes)
import http from 'node:http';
import { generateKeyPairSync, createHash, createHmac, sign, randomBytes } from 'node:crypto';

const CLIENT = process.env.CLIENT_ID || 'portcullis', SECRET = process.env.CLIENT_SECRET || 's3cret-of-the-client';
const TTL = Number(process.env.TTL || 300), SLOW_MS = Number(process.env.SLOW_MS || 10000);
const MODES = ['ok', 'wrong_nonce', 'wrong_iss_in_token', 'wrong_iss_param', 'wrong_audience', 'alg_none', 'hs256_with_public_key', 'expired',
  'unknown_kid', 'bad_signature', 'no_id_token', 'token_500', 'token_slow', 'token_garbage', 'discovery_500',
  // beyond the list asked for
  'no_nonce', 'no_iss_param', 'no_exp', 'no_sub', 'future_iat', 'not_yet_valid', 'aud_array', 'aud_array_wrong_azp', 'no_kid', 'unknown_kid_same_key', 'jwk_in_header',
  'wrong_state', 'no_state', 'access_denied', 'jwks_500', 'jwks_empty', 'discovery_wrong_issuer', 'discovery_slow', 'token_redirect', 'token_huge',
  'token_401', 'token_empty', 'no_refresh_token', 'refresh_other_sub', 'refresh_invalid_grant', 'refresh_no_rotation', 'userinfo_other_sub', 'revoke_500', 'email_unverified', 'hostile_claims', 'next_second',
  'sub_only', 'token_moved', 'long_refresh_token', 'hostile_sub', 'refresh_invalid_request'];
let mode = 'ok', issuer;
const b64 = (x) => Buffer.from(typeof x === 'string' || Buffer.isBuffer(x) ? x : JSON.stringify(x)).toString('base64url');
const rnd = () => randomBytes(24).toString('base64url'), now = () => Math.floor(Date.now() / 1000), sleep = (ms) => new Promise((r) => setTimeout(r, ms));
const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
let kidNo = 1, key = rsa();
const stranger = rsa();                                     // never published
const kid = () => `k${kidNo}`, jwk = () => ({ ...key.publicKey.export({ format: 'jwk' }), kid: kid(), alg: 'RS256', use: 'sig' });
const user0 = { sub: 'ada', email: 'ada@example.test', email_verified: true, name: 'Ada Lovelace', preferred_username: 'ada' };
let user = { ...user0 };
const zero = () => ({ authorization: 0, token_authorization_code: 0, token_refresh_token: 0, token_other: 0, revocation: 0, jwks: 0, discovery: 0, userinfo: 0, token_errors: 0 });
let counts = zero(), seen = {};
const codes = new Map(), refresh = new Map(), access = new Map();   // refresh: token -> {family, used, ...}
const dead = new Set();                                      // families killed

function idToken(nonce, isRefresh) {
  const t = now();
  const h = { alg: 'RS256', typ: 'JWT', kid: kid() };
  const c = { iss: issuer, aud: CLIENT, iat: t, exp: t + TTL, auth_time: t, ...(nonce ? { nonce } : {}), ...user };
  let k = key.privateKey;
  switch (mode) {
    case 'wrong_nonce': c.nonce = 'not-the-nonce-you-sent'; break;
    case 'no_nonce': delete c.nonce; break;
    case 'wrong_iss_in_token': c.iss = 'http://127.0.0.1:1/someone-else'; break;
    case 'wrong_audience': c.aud = 'another-client'; break;
    case 'aud_array': c.aud = [CLIENT, 'another-client']; c.azp = CLIENT; break;
    case 'aud_array_wrong_azp': c.aud = [CLIENT, 'another-client']; c.azp = 'another-client'; break;
    case 'expired': c.iat = t - 7200; c.exp = t - 3600; c.auth_time = c.iat; break;
    case 'no_exp': delete c.exp; break;
    case 'no_sub': delete c.sub; break;
    case 'future_iat': c.iat = t + 86400; c.exp = c.iat + TTL; break;
    case 'not_yet_valid': c.nbf = t + 86400; break;
    case 'refresh_other_sub': if (isRefresh) c.sub = 'mallory'; break;
    case 'sub_only': case 'userinfo_other_sub': for (const name in user) if (name !== 'sub') delete c[name]; break;
    case 'hostile_sub': c.sub = 'x'.repeat(300); break;
    case 'email_unverified': c.email_verified = false; break;
    case 'hostile_claims': c.name = '<script>alert(1)</script>"\'&\u202e'; c.email = 'a\r\nX-Injected: 1@example.test'; break;
    case 'unknown_kid': h.kid = 'no-such-kid'; k = stranger.privateKey; break;
    case 'unknown_kid_same_key': h.kid = 'no-such-kid'; break;
    case 'no_kid': delete h.kid; break;
    case 'jwk_in_header': k = stranger.privateKey; h.jwk = stranger.publicKey.export({ format: 'jwk' }); break;
    case 'alg_none': return `${b64({ alg: 'none', typ: 'JWT' })}.${b64(c)}.`;
    case 'hs256_with_public_key': {
      h.alg = 'HS256';
      const s = `${b64(h)}.${b64(c)}`;
      return `${s}.${createHmac('sha256', key.publicKey.export({ type: 'spki', format: 'pem' })).update(s).digest('base64url')}`;
    }
    default:
  }
  const s = `${b64(h)}.${b64(c)}`, sig = sign('sha256', Buffer.from(s), k);
  if (mode === 'bad_signature') sig[10] ^= 1;
  return `${s}.${sig.toString('base64url')}`;
}
function issue(g, isRefresh, keepRefresh) {
  const at = rnd(), rt = keepRefresh || rnd() + (mode === 'long_refresh_token' ? 'x'.repeat(5000) : '');
  access.set(at, { family: g.family, exp: now() + TTL });
  if (mode !== 'no_refresh_token') refresh.set(rt, { ...g, used: false });
  return { access_token: at, token_type: 'Bearer', expires_in: TTL, scope: g.scope,
    ...(mode === 'no_refresh_token' ? {} : { refresh_token: rt }), ...(mode === 'no_id_token' ? {} : { id_token: idToken(g.nonce, isRefresh) }) };
}
const json = (res, s, v, h = {}) => { res.writeHead(s, { 'content-type': 'application/json', 'cache-control': 'no-store', ...h }); res.end(JSON.stringify(v)); };
const raw = (res, s, t, h = {}) => { res.writeHead(s, { 'content-type': 'text/html', ...h }); res.end(t); };
const body = async (req) => { let s = ''; for await (const c of req) s += c; return s; };
function clientOk(req) {
  const m = /^Basic (.+)$/i.exec(req.headers.authorization || ''); if (!m) return false;
  const s = Buffer.from(m[1], 'base64').toString(), i = s.indexOf(':'), d = (x) => decodeURIComponent(x.replace(/\+/g, ' '));
  try { return d(s.slice(0, i)) === CLIENT && d(s.slice(i + 1)) === SECRET; } catch { return false; }
}

async function token(req, res) {
  const f = Object.fromEntries(new URLSearchParams(await body(req))), gt = f.grant_type;
  const n = counts[`token_${gt}`] !== undefined ? `token_${gt}` : 'token_other'; counts[n]++;
  const no = (s, error, why) => { counts.token_errors++; seen.token._refused = `${error}: ${why}`; json(res, s, { error, error_description: why }, s === 401 ? { 'www-authenticate': 'Basic' } : {}); };
  seen.token = { ...f, _auth: (req.headers.authorization || '').split(' ')[0], _content_type: req.headers['content-type'], _client_ok: clientOk(req), _mode: mode };
  if (mode === 'token_500') { counts.token_errors++; return raw(res, 500, '<h1>Internal Server Error</h1>'); }
  if (mode === 'token_garbage') return raw(res, 200, '\u0000not json {{{', { 'content-type': 'application/json' });
  if (mode === 'token_empty') return json(res, 200, {});
  if (mode === 'token_huge') return raw(res, 200, `{"access_token":"${'x'.repeat(32 * 1024 * 1024)}"}`, { 'content-type': 'application/json' });
  if (mode === 'token_redirect') return raw(res, 307, '', { location: `${issuer}/test/trap` });
  if (mode === 'token_slow') await sleep(SLOW_MS);
  if (mode === 'next_second') await sleep(1005 - Date.now() % 1000);  // issued in a later second than it was asked for
  if (mode === 'token_401' || !clientOk(req)) return no(401, 'invalid_client', 'bad client credentials');
  if (gt === 'authorization_code') {
    const c = codes.get(f.code);
    if (!c) return no(400, 'invalid_grant', 'unknown code');
    if (c.used) { dead.add(c.family); return no(400, 'invalid_grant', 'code already used'); }
    if (c.exp < now()) return no(400, 'invalid_grant', 'code expired');
    if (f.redirect_uri !== c.redirect_uri) return no(400, 'invalid_grant', 'redirect_uri differs');
    if (!f.code_verifier || createHash('sha256').update(f.code_verifier).digest('base64url') !== c.challenge) return no(400, 'invalid_grant', 'code_verifier does not match');
    c.used = true;
    return json(res, 200, issue(c, false));
  }
  if (gt === 'refresh_token') {
    const r = refresh.get(f.refresh_token);
    if (mode === 'refresh_invalid_request') return no(400, 'invalid_request', 'no');
    if (mode === 'refresh_invalid_grant' || !r || dead.has(r.family)) return no(400, 'invalid_grant', 'unknown or revoked refresh token');
    if (mode === 'refresh_no_rotation') return json(res, 200, issue(r, true, f.refresh_token));
    if (r.used) { dead.add(r.family); return no(400, 'invalid_grant', 'refresh token already used: family revoked'); }
    r.used = true;
    return json(res, 200, issue(r, true));
  }
  return no(400, 'unsupported_grant_type', String(gt));
}

async function handle(req, res) {
  const u = new URL(req.url, issuer), q = Object.fromEntries(u.searchParams);
  switch (`${req.method} ${u.pathname}`) {
    case 'GET /.well-known/openid-configuration':
      counts.discovery++;
      if (mode === 'discovery_500') return raw(res, 500, 'no discovery today');
      if (mode === 'discovery_slow') await sleep(SLOW_MS);
      return json(res, 200, { issuer: mode === 'discovery_wrong_issuer' ? 'https://accounts.evil.example' : issuer, authorization_endpoint: `${issuer}/authorize`, token_endpoint: `${issuer}${mode === 'token_moved' ? '/v2' : ''}/token`,
        jwks_uri: `${issuer}/jwks`, userinfo_endpoint: `${issuer}/userinfo`, revocation_endpoint: `${issuer}/revoke`,
        response_types_supported: ['code'], response_modes_supported: ['query'], grant_types_supported: ['authorization_code', 'refresh_token'], subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['RS256'], token_endpoint_auth_methods_supported: ['client_secret_basic'], code_challenge_methods_supported: ['S256'],
        scopes_supported: ['openid', 'email', 'profile', 'offline_access'], authorization_response_iss_parameter_supported: true });
    case 'GET /jwks':
      counts.jwks++;
      if (mode === 'jwks_500') return raw(res, 500, 'no keys today');
      return json(res, 200, { keys: mode === 'jwks_empty' ? [] : [jwk()] });
    case 'GET /authorize': {
      counts.authorization++; seen.authorization = q;
      if (q.client_id !== CLIENT || q.response_type !== 'code' || !/^https?:/.test(q.redirect_uri || '')) return raw(res, 400, 'bad client_id, response_type or redirect_uri');
      const to = new URL(q.redirect_uri), p = to.searchParams;
      if (mode === 'access_denied') { p.set('error', 'access_denied'); p.set('error_description', 'you <b>said</b> no'); }
      else if (!q.code_challenge || q.code_challenge_method !== 'S256') { p.set('error', 'invalid_request'); p.set('error_description', 'PKCE S256 required'); }
      else {
        const code = rnd();
        codes.set(code, { family: rnd(), used: false, exp: now() + 60, redirect_uri: q.redirect_uri, challenge: q.code_challenge, nonce: q.nonce, scope: q.scope || 'openid' });
        p.set('code', code);
      }
      if (q.state !== undefined && mode !== 'no_state') p.set('state', mode === 'wrong_state' ? 'not-your-state' : q.state);
      if (mode !== 'no_iss_param') p.set('iss', mode === 'wrong_iss_param' ? 'https://accounts.evil.example' : issuer);
      return raw(res, 302, '', { location: to.href });
    }
    case 'POST /token': return mode === 'token_moved' ? raw(res, 404, 'not found') : token(req, res);
    case 'POST /v2/token': return token(req, res);
    case 'GET /userinfo': {
      counts.userinfo++;
      const a = access.get((req.headers.authorization || '').replace(/^Bearer /i, ''));
      if (!a || a.exp < now() || dead.has(a.family)) return json(res, 401, { error: 'invalid_token' }, { 'www-authenticate': 'Bearer error="invalid_token"' });
      return json(res, 200, { ...user, ...(mode === 'userinfo_other_sub' ? { sub: 'mallory' } : {}) });
    }
    case 'POST /revoke': {
      counts.revocation++;
      const f = Object.fromEntries(new URLSearchParams(await body(req))); seen.revocation = { ...f, _client_ok: clientOk(req) };
      if (mode === 'revoke_500') return raw(res, 500, 'no');
      if (!clientOk(req)) return json(res, 401, { error: 'invalid_client' });
      const r = refresh.get(f.token); if (r) dead.add(r.family); else access.delete(f.token);
      return json(res, 200, {});
    }
    case 'POST /test/mode': { const m = (await body(req)).trim(); if (!MODES.includes(m)) return json(res, 400, { error: 'unknown mode', modes: MODES }); mode = m; return json(res, 200, { mode }); }
    case 'GET /test/mode': return json(res, 200, { mode, modes: MODES });
    case 'GET /test/counts': return json(res, 200, counts);
    case 'GET /test/seen': return json(res, 200, seen);
    case 'POST /test/reset': mode = 'ok'; counts = zero(); seen = {}; user = { ...user0 }; return json(res, 200, {});
    case 'POST /test/rotate-keys': key = rsa(); kidNo++; return json(res, 200, { kid: kid() });
    case 'POST /test/user': Object.assign(user, JSON.parse(await body(req))); for (const k in user) if (user[k] === null) delete user[k]; return json(res, 200, user);
    case 'POST /test/trap': seen.trap = { ...Object.fromEntries(new URLSearchParams(await body(req))), _auth: req.headers.authorization || null }; return json(res, 200, {});
    default: return raw(res, 404, 'not found');
  }
}
const server = http.createServer((req, res) => handle(req, res).catch((e) => { console.error(e); if (!res.headersSent) raw(res, 500, String(e)); }));
server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => { issuer = `http://127.0.0.1:${server.address().port}`; console.log(`IDP_READY port=${server.address().port}`); });
for (const s of ['SIGTERM', 'SIGINT']) process.on(s, () => process.exit(0));
