// Keeps text from one call to the next. Needs `import wasi:keyvalue/store` in wit/world.wit, and the operator's
// `grants: {keyvalue: true}`.
import { open, type Bucket } from "wasi:keyvalue/store@0.2.0-draft";
import { Failure } from "./auth.ts";

/** What was kept under a key, or `undefined`. */
export function get(key: string): string | undefined {
  const bytes = use((bucket) => bucket.get(key));
  return bytes && new TextDecoder().decode(bytes);
}

export const set = (key: string, text: string) => use((bucket) => bucket.set(key, new TextEncoder().encode(text)));

function use<T>(action: (bucket: Bucket) => T): T {
  try {
    return action(open(""));
  } catch (error) {
    const { payload, message } = error as Error & { payload?: { tag: string; val?: string } };
    throw new Failure("unavailable", `the bucket: ${payload?.val ?? payload?.tag ?? message}`);
  }
}
