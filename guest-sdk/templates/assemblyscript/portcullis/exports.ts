// What the host calls. Nothing here needs to be edited.
// A function comes into the component only if provider.ts exports its namesake: transform.mjs leaves the others out.

import * as provider from "../provider";
import { LoginRequest, LoginResponse, Result, Session, putList, putSession, putString, room, text } from "./index";

@wit("portcullis:auth/settings@0.1.0#check")
export function check(): usize {
  const error = provider.check();
  const out = room(12);
  if (error.length) {
    store<u8>(out, 1);
    putString(out + 4, error);
  }
  return out;
}

@wit("portcullis:auth/provider@0.1.0#supports-token")
export function supportsToken(): bool { return provider.supportsToken(); }

@wit("portcullis:auth/provider@0.1.0#verify-token")
export function verifyToken(token: usize, length: i32): usize {
  const result = provider.verifyToken(text(token, length));
  const principal = result.value;
  const out = room(24);
  if (result.failed) {
    store<u8>(out, 1);
    putString(out + 8, result.error);
  } else if (principal != null) {
    store<u8>(out, 1, 4);
    putString(out + 8, principal.name);
    putList(out + 16, principal.scopes);
  }
  return out;
}

@wit("portcullis:auth/provider@0.1.0#verify-session")
export function verifySession(token: usize, length: i32): usize {
  const result = provider.verifySession(text(token, length));
  const session = result.value;
  const out = room(72);
  if (result.failed) {
    store<u8>(out, 1);
    putString(out + 12, result.error);
  } else if (session != null) {
    store<u8>(out, 1, 8);
    putSession(out + 16, session);
  }
  return out;
}

@wit("portcullis:auth/password@0.1.0#complete-password-login")
export function completePasswordLogin(user: usize, userLength: i32, password: usize, passwordLength: i32): usize {
  return sessionOrWhy(provider.completePasswordLogin(text(user, userLength), text(password, passwordLength)));
}

@wit("portcullis:auth/redirect@0.1.0#start-login")
export function startLogin(
  uri: usize, uriLength: i32, state: usize, stateLength: i32,
  nonce: usize, nonceLength: i32, challenge: usize, challengeLength: i32,
): usize {
  const result = provider.startLogin(new LoginRequest(
    text(uri, uriLength), text(state, stateLength), text(nonce, nonceLength), text(challenge, challengeLength)));
  const url = result.value;
  const out = room(16);
  if (url != null) {
    putString(out + 4, url);
  } else {
    store<u8>(out, 1);
    putString(out + 8, result.error);
  }
  return out;
}

@wit("portcullis:auth/redirect@0.1.0#complete-login")
export function completeLogin(
  uri: usize, uriLength: i32, code: usize, codeLength: i32, nonce: usize, nonceLength: i32,
  verifier: usize, verifierLength: i32, hasIssuer: i32, issuer: usize, issuerLength: i32,
): usize {
  return sessionOrWhy(provider.completeLogin(new LoginResponse(
    text(uri, uriLength), text(code, codeLength), text(nonce, nonceLength), text(verifier, verifierLength),
    hasIssuer ? text(issuer, issuerLength) : null)));
}

@wit("portcullis:auth/refresh@0.1.0#refresh-session")
export function refreshSession(token: usize, length: i32): usize {
  return sessionOrWhy(provider.refreshSession(text(token, length)));
}

@wit("portcullis:auth/refresh@0.1.0#revoke-session")
export function revokeSession(token: usize, length: i32): void { provider.revokeSession(text(token, length)); }

/** Where the host puts the strings and lists that it hands over. */
@wit("cabi_realloc")
export function realloc(old: usize, oldSize: usize, align: usize, size: usize): usize {
  return old ? heap.realloc(old, size) : heap.alloc(size);
}

/** result<session, variant { no, or no(string); unavailable(string) }> */
function sessionOrWhy(result: Result<Session>): usize {
  const session = result.value;
  const out = room(64);
  if (session != null) {
    putSession(out + 8, session);
  } else {
    store<u8>(out, 1);
    store<u8>(out, result.failed ? 1 : 0, 8);
    putString(out + 12, result.error);
  }
  return out;
}
