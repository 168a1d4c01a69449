// What the tests run against in place of the host (see "imports" in package.json): one file for all of host/.
export * from "./auth.ts";

const fresh = () => ({
  settings: {} as Record<string, string>,
  bucket: new Map<string, string>(),
  answer: async (url: string) => new Response(url, { status: 404 }),
});

let host = fresh();

/** A host as at first, but for what the test is about. */
export function fakeHost(changes: Partial<ReturnType<typeof fresh>>) {
  host = { ...fresh(), ...changes };
}

// host/config.ts
export const setting = (key: string): string | undefined => host.settings[key];

// host/bucket.ts
export const get = (key: string): string | undefined => host.bucket.get(key);
export const set = (key: string, text: string): void => void host.bucket.set(key, text);

globalThis.fetch = async (url) => host.answer(String(url));
