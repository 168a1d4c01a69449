// example: an auth provider for Portcullis. A table of tokens in its settings, and a service that knows who has left.
// The exported functions are what Portcullis calls; what they can use of it is in portcullis/index.ts.

import { Principal, Result, Session, bucket, httpGet, none, sameSecret, setting, some, unavailable } from "./portcullis";

/** Asked once, when the provider is loaded: one sentence for the operator, if something must be mended; else "". */
export function check(): string {
  const tokens = setting("tokens");
  if (tokens == null) return "`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`";
  const lines = tokens.split("\n");
  for (let i = 0; i < lines.length; i++) {
    // The line itself is not shown: it holds a secret.
    if (fieldsOf(lines[i]).length == 1) return `\`tokens\`, line ${i + 1}: it needs a token and a principal`;
  }
  return "";
}

/** False: it is never handed a token. */
export function supportsToken(): bool {
  return true;
}

/** Whose token is this? `none`: not one of ours, and the next provider is asked. */
export function verifyToken(token: string): Result<Principal> {
  const caller = find(token);
  if (caller == null) return none<Principal>();

  const revoked = bucket.get("revoked:" + caller.name);
  if (revoked.failed) return unavailable<Principal>("the bucket: " + revoked.error);
  if (revoked.value != null) return none<Principal>();

  const lookup = setting("lookup");
  if (lookup == null) return some<Principal>(caller);

  const answer = httpGet(lookup + caller.name);
  const reply = answer.value;
  if (reply == null) return unavailable<Principal>("the look-up: " + answer.error);
  if (reply.status == 200) return some<Principal>(caller);
  if (reply.status != 410) return unavailable<Principal>(`the look-up answered ${reply.status}`);

  const kept = bucket.set("revoked:" + caller.name, "1");
  return kept.failed ? unavailable<Principal>("the bucket: " + kept.error) : none<Principal>();
}

/** Whose session is this? Nobody signs in here. */
export function verifySession(accessToken: string): Result<Session> {
  return none<Session>();
}

/** Looks at every line of the table, found or not: the time must not tell where. */
function find(token: string): Principal | null {
  const tokens = setting("tokens");
  if (tokens == null) return null;
  let found: Principal | null = null;
  const lines = tokens.split("\n");
  for (let i = 0; i < lines.length; i++) {
    const fields = fieldsOf(lines[i]);
    if (fields.length >= 2 && sameSecret(fields[0], token)) found = new Principal(fields[1], fields.slice(2));
  }
  return found;
}

/** `TOKEN PRINCIPAL [SCOPE ...]`; nothing for a blank line and for a comment. */
function fieldsOf(line: string): string[] {
  if (line.startsWith("#")) return [];
  return line.split(" ").filter(field => field.length > 0);
}
