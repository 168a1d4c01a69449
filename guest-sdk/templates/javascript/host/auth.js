/** Throw it in `settings.check`: the operator is shown the message, and the provider is refused. */
export class BadSetting extends Error {
  payload = this.message;
}

/** Throw it elsewhere to say why not: `new Failure("unavailable", "the database is away")`. */
export class Failure extends Error {
  constructor(tag, detail) {
    super(detail ?? tag);
    this.payload = { tag, val: detail };
  }
}

/** Are two secrets the same? It takes as long for any two of the same length. */
export function same(a, b) {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}

/** Seconds since 1970, as sessions count them. */
export const now = () => BigInt(Math.floor(Date.now() / 1000));
