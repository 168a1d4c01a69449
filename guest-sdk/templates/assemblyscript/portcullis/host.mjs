// A pretend Portcullis for tests: `load(wasm)` makes a component ready for Node. What it gives back starts it with these
// settings, this bucket and this `http`, from a URL to `{ status, body }`; then every call runs in a fresh instance.
import { readFileSync, writeFileSync } from "node:fs";
import { transpileBytes } from "@bytecodealliance/jco-transpile";

export async function load(wasm) {
  const options = { name: "component", instantiation: "sync", wasiShim: false, noComponentErrorWrapping: true };
  const { files } = await transpileBytes(readFileSync(wasm), options);
  const modules = Object.entries(files).filter(([name]) => name.endsWith(".wasm"));
  const cores = new Map(modules.map(([name, bytes]) => [name, new WebAssembly.Module(bytes)]));
  const script = new URL("../build/component.js", import.meta.url);
  writeFileSync(script, files["component.js"]);
  const { instantiate } = await import(script);

  return ({ settings = {}, bucket = new Map(), http = () => { throw { tag: "connection-refused" }; } } = {}) => {
    const fresh = () => instantiate(name => cores.get(name), imports(settings, bucket, http));
    const calls = face => new Proxy({}, { get: (_, call) => (...args) => fresh()[face][call](...args) });
    return new Proxy({}, { get: (_, face) => calls(face) });
  };
}

function imports(settings, bucket, http) {
  class Unused {}
  class Bucket {
    get(key) { return bucket.get(key); }
    set(key, value) { bucket.set(key, value); }
  }
  class OutgoingRequest {
    setScheme(scheme) { this.scheme = scheme.tag.toLowerCase(); }
    setAuthority(authority) { this.authority = authority; }
    setPathWithQuery(path) { this.path = path; }
  }
  class Pollable { block() {} }
  class FutureIncomingResponse {
    constructor({ scheme, authority, path }) { this.url = `${scheme}://${authority}${path}`; }
    subscribe() { return new Pollable(); }
    get() {
      try { return { tag: "ok", val: { tag: "ok", val: new IncomingResponse(http(this.url)) } }; }
      catch (val) { return { tag: "ok", val: { tag: "err", val } }; }
    }
  }
  class IncomingResponse {
    constructor(answer) { this.answer = answer; }
    status() { return this.answer.status; }
    consume() { return new IncomingBody(this.answer.body); }
  }
  class IncomingBody {
    constructor(text) { this.text = text; }
    stream() { return new InputStream(this.text); }
  }
  class InputStream {
    constructor(text) { this.bytes = new TextEncoder().encode(text); }
    blockingRead() {
      if (this.bytes == null) throw { tag: "closed" };
      const bytes = this.bytes;
      this.bytes = null;
      return bytes;
    }
  }
  return {
    "wasi:config/store": { get: key => settings[key] },
    "wasi:clocks/wall-clock": { now: () => ({ seconds: BigInt(Math.floor(Date.now() / 1000)), nanoseconds: 0 }) },
    "wasi:logging/logging": { log: (level, context, message) => console.error(message) },
    "wasi:keyvalue/store": { Bucket, open: () => new Bucket() },
    "wasi:io/poll": { Pollable },
    "wasi:io/error": { Error: Unused },
    "wasi:io/streams": { InputStream, OutputStream: Unused },
    "wasi:http/types": {
      Fields: class {}, OutgoingRequest, RequestOptions: Unused, FutureIncomingResponse, IncomingResponse, IncomingBody,
    },
    "wasi:http/outgoing-handler": { handle: request => new FutureIncomingResponse(request) },
  };
}
