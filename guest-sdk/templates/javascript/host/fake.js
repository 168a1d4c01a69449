// What the tests run against in place of the host (see "imports" in package.json): one file for all of host/.
export * from "./auth.js";

const fresh = () => ({
  settings: {},
  bucket: new Map(),
  answer: async () => new Response("", { status: 404 }),
});

let host = fresh();

/** A host as at first, but for what the test is about. */
export function fakeHost(changes) {
  host = { ...fresh(), ...changes };
}

// host/config.js
export const setting = (key) => host.settings[key];

// host/bucket.js
export const get = (key) => host.bucket.get(key);
export const set = (key, text) => void host.bucket.set(key, text);

globalThis.fetch = async (url) => host.answer(url);
