// Keeps text from one call to the next. Needs `import wasi:keyvalue/store` in wit/world.wit, and the operator's
// `grants: {keyvalue: true}`.
import { open } from "wasi:keyvalue/store@0.2.0-draft";
import { Failure } from "./auth.js";

/** What was kept under a key, or `undefined`. */
export function get(key) {
  const bytes = use((bucket) => bucket.get(key));
  return bytes && new TextDecoder().decode(bytes);
}

export const set = (key, text) => use((bucket) => bucket.set(key, new TextEncoder().encode(text)));

function use(action) {
  try {
    return action(open(""));
  } catch ({ payload, message }) {
    throw new Failure("unavailable", `the bucket: ${payload?.val ?? payload?.tag ?? message}`);
  }
}
