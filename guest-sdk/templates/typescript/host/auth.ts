// The contract, in TypeScript: an exported object for each interface that wit/world.wit exports.

export interface Settings {
  /** Throw a `BadSetting` for what an operator must mend. */
  check(): void;
}

export interface Provider {
  supportsToken(): boolean;
  /** `null`: not one of ours, and the next provider is asked. */
  verifyToken(token: string): Promise<TokenPrincipal | null>;
  verifySession(accessToken: string): Promise<Session | null>;
}

export interface Password {
  completePasswordLogin(username: string, password: string): Promise<Session>;
}

export interface Redirect {
  startLogin(request: LoginRequest): Promise<string>;
  completeLogin(response: LoginResponse): Promise<Session>;
}

export interface TokenPrincipal {
  principal: string;
  scopes: string[];
}

/** Empty where unknown. */
export interface Session {
  userId: string;
  email: string;
  displayName: string;
  orgId: string;
  /** Seconds since 1970. */
  expiresAt: bigint;
  accessToken: string;
  refreshToken: string;
}

export interface LoginRequest {
  redirectUri: string;
  state: string;
  nonce: string;
  codeChallenge: string;
}

export interface LoginResponse {
  redirectUri: string;
  code: string;
  nonce: string;
  codeVerifier: string;
  issuer?: string;
}

/** Throw it in `settings.check`: the operator is shown the message, and the provider is refused. */
export class BadSetting extends Error {
  payload = this.message;
}

/** Throw it elsewhere to say why not: `new Failure("unavailable", "the database is away")`. */
export class Failure extends Error {
  payload: { tag: string; val?: string };

  constructor(tag: "unavailable" | "invalid-credentials" | "invalid-code" | "expired", detail?: string) {
    super(detail ?? tag);
    this.payload = { tag, val: detail };
  }
}

/** Are two secrets the same? It takes as long for any two of the same length. */
export function same(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}

/** Seconds since 1970, as sessions count them. */
export const now = () => BigInt(Math.floor(Date.now() / 1000));
