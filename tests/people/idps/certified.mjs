// A real, certified provider (npm oidc-provider) for black-box tests. 127.0.0.1 only, all in memory.
//   PORT=0 ALG=RS256|PS256|ES256|ES384|EdDSA TTL=300 REDIRECT_URIS=http://127.0.0.1:8080/auth/callback/x node idp.mjs
//   CLAIMS=userinfo: the ID token has `sub` alone. TLS=1: https, with a certificate of tests/certificates/authority.pem.
// stdout: one line "IDP_READY port=N". Everything else goes to stderr.
import http from 'node:http';
import https from 'node:https';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
console.info = console.warn = console.log = () => {};      // oidc-provider's notices would go to stdout
const { default: Provider } = await import('oidc-provider');

const env = process.env;
const ALG = env.ALG || 'RS256', TTL = Number(env.TTL || 300);
const CLIENT = env.CLIENT_ID || 'portcullis', SECRET = env.CLIENT_SECRET || 's3cret-of-the-client';
const SCOPES = ['openid', 'email', 'profile', 'groups', 'offline_access'];
let redirectUris = (env.REDIRECT_URIS || 'http://127.0.0.1:8080/callback').split(',').map((s) => s.trim()).filter(Boolean);

// login -> password; EXTRA_USERS=grace:hopper,alan:turing adds more
const users = new Map([['ada', 'lovelace'], ...(env.EXTRA_USERS || '').split(',').filter(Boolean).map((p) => p.split(':'))]);
const claimsOf = (sub) => ({
  sub, preferred_username: sub, name: sub === 'ada' ? 'Ada Lovelace' : `User ${sub}`,
  email: `${sub}@example.test`, email_verified: true, ...extraClaims[sub],
});
const extraClaims = {};                                     // PUT /test/users/<login>/claims

// ---- keys
let keyNo = 0;
function newKey() {
  const kinds = {
    RS256: ['rsa', { modulusLength: 2048 }], PS256: ['rsa', { modulusLength: 2048 }],
    ES256: ['ec', { namedCurve: 'P-256' }], ES384: ['ec', { namedCurve: 'P-384' }], EdDSA: ['ed25519', {}],
  };
  if (!kinds[ALG]) throw new Error(`ALG ${ALG} not supported`);
  const { privateKey } = generateKeyPairSync(...kinds[ALG]);
  return { ...privateKey.export({ format: 'jwk' }), kid: `${ALG.toLowerCase()}-k${++keyNo}`, alg: ALG, use: 'sig' };
}
let keys = [newKey()];

// ---- storage shared by all provider instances (survives a key rotation)
const store = new Map(), grantMembers = new Map(), uidIndex = new Map();
class Adapter {
  constructor(model) { this.model = model; }
  k(id) { return `${this.model}:${id}`; }
  async upsert(id, payload, ttl) {
    if (payload.uid && this.model === 'Session') uidIndex.set(payload.uid, id);
    if (payload.grantId && this.model !== 'Session' && this.model !== 'Interaction') {
      if (!grantMembers.has(payload.grantId)) grantMembers.set(payload.grantId, new Set());
      grantMembers.get(payload.grantId).add(this.k(id));
    }
    store.set(this.k(id), { payload, until: ttl ? Date.now() + ttl * 1000 : Infinity });
  }
  async find(id) { const e = store.get(this.k(id)); return e && e.until > Date.now() ? e.payload : undefined; }
  async findByUid(uid) { return this.find(uidIndex.get(uid)); }
  async findByUserCode() { return undefined; }
  async consume(id) { const e = store.get(this.k(id)); if (e) e.payload.consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { store.delete(this.k(id)); }
  async revokeByGrantId(g) { for (const k of grantMembers.get(g) || []) store.delete(k); grantMembers.delete(g); }
}

// ---- test state
const zero = () => ({ authorization: 0, token_authorization_code: 0, token_refresh_token: 0, token_other: 0, revocation: 0,
  jwks: 0, discovery: 0, userinfo: 0, end_session: 0, token_errors: 0, login_refused: 0, login_ok: 0 });
let counts = zero(), slowMs = 0, seen = {};
let tokenPath = '/token', signOut = {};                     // POST /test/move-token, POST /test/sign-out
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
const esc = (s) => String(s).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const cookieKeys = [randomBytes(24).toString('hex')];

function build(issuer) {
  const p = new Provider(issuer, {
    adapter: Adapter,
    jwks: { keys },
    cookies: { keys: cookieKeys },
    clients: [{
      client_id: CLIENT, client_secret: SECRET, redirect_uris: redirectUris,
      grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic', id_token_signed_response_alg: ALG, ...signOut,
    }],
    enabledJWA: { idTokenSigningAlgValues: [ALG] },
    routes: { token: tokenPath },
    // Without the dispatcher, which refuses every address of this machine: back-channel sign-outs go to the dashboard.
    fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
    responseTypes: ['code'],
    scopes: SCOPES,
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username'], groups: ['groups'],
      ...(env.EXTRA_CLAIMS ? { openid: ['sub', ...env.EXTRA_CLAIMS.split(',')] } : {}) },
    conformIdTokenClaims: env.CLAIMS === 'userinfo',        // false: email and name go into the ID token itself
    pkce: { required: () => true },                         // v9 knows S256 only
    features: { devInteractions: { enabled: false }, revocation: { enabled: true, allowedPolicy: () => true },
      userinfo: { enabled: true }, rpInitiatedLogout: { enabled: true }, backchannelLogout: { enabled: true } },
    issueRefreshToken: () => true,                          // also without offline_access
    expiresWithSession: () => false,
    rotateRefreshToken: true,
    ttl: { AccessToken: TTL, IdToken: TTL, AuthorizationCode: 60, RefreshToken: Number(env.REFRESH_TTL || 86400),
      Interaction: 3600, Session: 86400, Grant: 86400 },
    clockTolerance: 0,
    findAccount: (_ctx, sub) => users.has(sub) ? { accountId: sub, claims: async () => claimsOf(sub) } : undefined,
    async loadExistingGrant(ctx) {                          // consent without asking
      const { oidc } = ctx;
      const id = oidc.result?.consent?.grantId || oidc.session.grantIdFor(oidc.client.clientId);
      // by default (as in oidc-provider) all sign-ins of one IdP browser session share one grant, so a revocation
      // or a reuse kills all of them; GRANT=new gives every sign-in a grant of its own
      const old = id && (env.GRANT !== 'new' || oidc.result?.consent) && await oidc.provider.Grant.find(id);
      const g = old && old.accountId === oidc.session.accountId ? old
        : new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      g.addOIDCScope(SCOPES.join(' '));
      await g.save();
      return g;
    },
    renderError(ctx, out) { ctx.type = 'text/plain'; ctx.body = `idp error: ${out.error}: ${out.error_description || ''}\n`; },
  });
  p.on('server_error', (ctx, err) => console.error('IDP server_error', ctx.method, ctx.path, err));
  p.use(async (ctx, next) => {
    await next();
    const o = ctx.oidc, route = o?.route;
    if (!route) return;
    if (route === 'token') {
      const gt = o.body?.grant_type || '';
      counts[`token_${gt}`] !== undefined ? counts[`token_${gt}`]++ : counts.token_other++;
      if (ctx.status >= 400) counts.token_errors++;
      seen.token = { ...o.body, _auth: (ctx.get('authorization') || '').split(' ')[0], _status: ctx.status };
      if (slowMs) await sleep(slowMs);                      // the work is done, only the answer is late
    } else if (counts[route] !== undefined) {
      counts[route]++;
      if (route === 'authorization') seen.authorization = { ...ctx.query };
      if (route === 'revocation') seen.revocation = { ...o.body, _status: ctx.status };
    }
  });
  return p;
}

// ---- http
let provider, callback;
const body = async (req) => { let s = ''; for await (const c of req) s += c; return s; };
const json = (res, status, v) => { res.writeHead(status, { 'content-type': 'application/json' }); res.end(JSON.stringify(v)); };
const html = (res, status, s) => { res.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' }); res.end(s); };
const form = (uid, msg) => `<!doctype html><html lang=en><title>Test IdP sign-in</title><h1>Test IdP</h1>${msg ? `<p id=error role=alert>${esc(msg)}</p>` : ''}
<form method=post action="/interaction/${esc(uid)}"><label>Login <input name=login autofocus></label> <label>Password <input name=password type=password></label> <button type=submit>Sign in</button></form>`;

async function interaction(req, res, uid) {
  let d;
  try { d = await provider.interactionDetails(req, res); } catch (e) { return html(res, 400, `interaction: ${esc(e.message)} ${esc(e.error_description || '')}`); }
  if (d.prompt.name !== 'login') {                          // prompt=consent: grant and go on, no page
    const grant = (d.grantId && await provider.Grant.find(d.grantId)) || new provider.Grant({ accountId: d.session.accountId, clientId: d.params.client_id });
    grant.addOIDCScope(SCOPES.join(' '));
    return provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
  }
  if (req.method === 'GET') return html(res, 200, form(uid));
  const f = new URLSearchParams(await body(req)), login = f.get('login') || '';
  if (!users.has(login) || users.get(login) !== f.get('password')) { counts.login_refused++; return html(res, 401, form(uid, 'Wrong login or password.')); }
  counts.login_ok++;
  return provider.interactionFinished(req, res, { login: { accountId: login } });
}

async function admin(req, res, u) {
  const q = u.searchParams, route = `${req.method} ${u.pathname}`;
  if (route === 'GET /test/counts') return json(res, 200, counts);
  if (route === 'GET /test/seen') return json(res, 200, seen);
  if (route === 'POST /test/reset') { counts = zero(); seen = {}; slowMs = 0; return json(res, 200, {}); }
  if (route === 'POST /test/slow') { slowMs = Number(q.get('ms') || 0); return json(res, 200, { ms: slowMs }); }
  if (route === 'POST /test/rotate-keys') {                 // ?keep=1 keeps the old key in the JWKS
    keys = q.get('keep') ? [newKey(), ...keys] : [newKey()];
    provider = build(provider.issuer); callback = provider.callback();
    return json(res, 200, { kids: keys.map((k) => k.kid) });
  }
  if (route === 'POST /test/redirect-uris') {               // body: comma separated; replaces the list
    redirectUris = (await body(req)).split(',').map((s) => s.trim()).filter(Boolean);
    provider = build(provider.issuer); callback = provider.callback();
    return json(res, 200, { redirect_uris: redirectUris });
  }
  if (route === 'POST /test/move-token') {                  // the token endpoint; nothing is left at the old address
    tokenPath = `/moved/${Date.now()}/token`;
    provider = build(provider.issuer); callback = provider.callback();
    return json(res, 200, { token: tokenPath });
  }
  if (route === 'POST /test/sign-out') {                    // body: client metadata for sign-outs, as JSON
    signOut = JSON.parse(await body(req));
    provider = build(provider.issuer); callback = provider.callback();
    return json(res, 200, signOut);
  }
  if (route === 'POST /test/revoke-all') {                  // forget all sessions, grants and tokens
    const n = store.size; store.clear(); grantMembers.clear(); uidIndex.clear(); return json(res, 200, { forgotten: n });
  }
  const m = /^PUT \/test\/users\/([^/]+)\/claims$/.exec(route);
  if (m) { extraClaims[decodeURIComponent(m[1])] = JSON.parse(await body(req)); return json(res, 200, claimsOf(decodeURIComponent(m[1]))); }
  return json(res, 404, { error: 'no such test endpoint' });
}

const certificate = (name) => readFileSync(new URL(`../../certificates/${name}`, import.meta.url));
const listen = (serve) => env.TLS
  ? https.createServer({ cert: certificate('good.pem'), key: certificate('server.key') }, serve) : http.createServer(serve);
const server = listen((req, res) => {
  const u = new URL(req.url, 'http://x');
  const m = /^\/interaction\/([\w-]+)$/.exec(u.pathname);
  const job = u.pathname.startsWith('/test/') ? admin(req, res, u) : m ? interaction(req, res, m[1]) : callback(req, res);
  Promise.resolve(job).catch((e) => { console.error(e); if (!res.headersSent) json(res, 500, { error: String(e) }); });
});
server.listen(Number(env.PORT || 0), '127.0.0.1', () => {
  const { port } = server.address();
  provider = build(`${env.TLS ? 'https' : 'http'}://127.0.0.1:${port}`); callback = provider.callback();
  process.stdout.write(`IDP_READY port=${port}\n`);
});
for (const s of ['SIGTERM', 'SIGINT']) process.on(s, () => process.exit(0));
