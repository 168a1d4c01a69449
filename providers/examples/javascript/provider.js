// A table of tokens, a look-up by HTTP, and a memory of who was revoked: see providers/examples/README.md.
import { BadSetting, Failure, same } from "#host/auth";
import * as bucket from "#host/bucket";
import { setting } from "#host/config";

export const settings = {
  check() {
    readTable();
  },
};

export const provider = {
  supportsToken: () => true,

  async verifyToken(token) {
    let found = null;
    for (const row of readTable()) {
      if (same(row.token, token)) found = row; // and on to the end: the time tells nothing
    }
    if (found === null || (await isRevoked(found.principal))) return null;
    return { principal: found.principal, scopes: found.scopes };
  },

  verifySession: async () => null,
};

/** The setting `tokens`: one token a line, with its principal and its scopes. */
function readTable() {
  const text = setting("tokens");
  if (text === undefined) throw new BadSetting("`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`");

  const rows = [];
  for (const [index, line] of text.split("\n").entries()) {
    const [token, principal, ...scopes] = line.split(" ").filter(Boolean);
    if (token === undefined || line.startsWith("#")) continue;
    // Not the line itself, which holds a secret.
    if (principal === undefined) throw new BadSetting(`\`tokens\`, line ${index + 1}: it needs a token and a principal`);
    rows.push({ token, principal, scopes });
  }
  return rows;
}

/** The bucket keeps who is revoked; whoever is not in it is looked up, if there is a `lookup`. */
async function isRevoked(principal) {
  const key = `revoked:${principal}`;
  if (bucket.get(key) !== undefined) return true;
  const lookup = setting("lookup");
  if (lookup === undefined) return false;

  const { status } = await fetch(lookup + principal).catch(({ message }) => {
    throw new Failure("unavailable", `the look-up: ${message}`);
  });
  if (status === 410) bucket.set(key, "1");
  else if (status !== 200) throw new Failure("unavailable", `the look-up answered ${status}`);
  return status === 410;
}
