// What a provider needs of Portcullis. Nothing here needs to be edited.
// First what provider.ts uses, then how strings, options, results and records lie in memory (the canonical ABI).
//
// Every call runs in a fresh instance, so nothing is ever freed, and a string is handed to the host where it lies:
// AssemblyScript's are UTF-16, and the component says that its strings are.

/** The caller that a token belongs to. The host keeps only those scopes that the operator granted. */
export class Principal {
  constructor(public name: string, public scopes: string[] = []) {}
}

/** A person who has signed in. "" where unknown; times are seconds since 1970. */
export class Session {
  email: string = "";
  displayName: string = "";
  orgId: string = "";
  refreshToken: string = "";
  constructor(public userId: string, public accessToken: string, public expiresAt: u64) {}
}

export class LoginRequest {
  constructor(public redirectUri: string, public state: string, public nonce: string, public codeChallenge: string) {}
}
export class LoginResponse {
  constructor(
    public redirectUri: string, public code: string, public nonce: string, public codeVerifier: string,
    public issuer: string | null,
  ) {}
}

/** A value, or none (not mine, not there, refused), or a failure: something that is needed is out of reach. */
export class Result<T> {
  constructor(public value: T | null, public failed: bool = false, public error: string = "") {}
}
export function some<T>(value: T): Result<T> { return new Result<T>(value); }
/** `why` goes to the host from `completeLogin` alone. */
export function none<T>(why: string = ""): Result<T> { return new Result<T>(null, false, why); }
export function unavailable<T>(why: string): Result<T> { return new Result<T>(null, true, why); }

/** A setting of this provider; null if it is not set. */
export function setting(key: string): string | null {
  const out = room(16);
  configGet(key, key.length, out);
  if (load<u8>(out)) throw new Error("the settings cannot be read");
  return load<u8>(out, 4) ? stringAt(out + 8) : null;
}

/** The time as seconds since 1970. */
export function now(): u64 {
  const out = room(16);
  clockNow(out);
  return load<u64>(out);
}

/** Says something in the log of the dashboard, and in the output of the tests. */
export function log(message: string): void {
  hostLog(2, "", 0, message, message.length);
}

/** Whether two secrets are the same, in a time that depends on their length alone. */
export function sameSecret(a: string, b: string): bool {
  if (a.length != b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference == 0;
}

/** This provider's own store, the only thing that outlives a call. The operator must have granted `keyvalue`. */
export namespace bucket {
  /** What is kept under a key, or none; a failure if the bucket is out of reach. */
  export function get(key: string): Result<string> {
    const out = room(16);
    keyvalueOpen("", 0, out);
    if (!load<u8>(out)) bucketGet(load<i32>(out, 4), key, key.length, out);
    if (load<u8>(out)) return unavailable<string>(keyvalueError(out + 4));
    return load<u8>(out, 4) ? some(utf8(load<usize>(out, 8), load<usize>(out, 12))) : none<string>();
  }

  /** Keeps a value under a key, and gives it back; a failure if the bucket is out of reach. */
  export function set(key: string, value: string): Result<string> {
    const out = room(16);
    keyvalueOpen("", 0, out);
    const bytes = String.UTF8.encode(value);
    if (!load<u8>(out)) bucketSet(load<i32>(out, 4), key, key.length, changetype<usize>(bytes), bytes.byteLength, out);
    return load<u8>(out) ? unavailable<string>(keyvalueError(out + 4)) : some(value);
  }
}

/** What came back of a request: a status and the body as text. */
export class Reply {
  constructor(public status: i32, public body: string) {}
}

/** Asks for `http://...` or `https://...`; the operator must have granted the origin. A failure if nothing answers. */
export function httpGet(url: string): Result<Reply> {
  const host = url.startsWith("https://") ? 8 : url.startsWith("http://") ? 7 : 0;
  let slash = url.indexOf("/", host);
  if (slash < 0) slash = url.length;
  const authority = url.substring(host, slash);
  const path = slash < url.length ? url.substring(slash) : "/";

  const request = newRequest(newFields());
  if (host == 0
    || setScheme(request, 1, host == 8 ? 1 : 0, "", 0)
    || setAuthority(request, 1, authority, authority.length)
    || setPath(request, 1, path, path.length)
  ) return unavailable<Reply>("not a URL that can be asked for");

  const out = room(56);
  handle(request, 0, 0, out);
  if (load<u8>(out)) return unavailable<Reply>(httpError(out + 8));
  const future = load<i32>(out, 8);
  block(subscribe(future));
  futureGet(future, out); // option<result<result<response, error>>>: always there after `block`, and not taken before
  if (load<u8>(out, 16)) return unavailable<Reply>(httpError(out + 24));
  const response = load<i32>(out, 24);

  responseConsume(response, out);
  bodyStream(load<i32>(out, 4), out);
  const stream = load<i32>(out, 4);
  let body = heap.alloc(0);
  let size: usize = 0;
  for (streamRead(stream, 65536, out); !load<u8>(out); streamRead(stream, 65536, out)) {
    const chunk = load<usize>(out, 8);
    body = heap.realloc(body, size + chunk);
    memory.copy(body + size, load<usize>(out, 4), chunk);
    size += chunk;
  }
  if (load<u8>(out, 4) == 0) return unavailable<Reply>("the response breaks off"); // and 1 is its end
  return some(new Reply(responseStatus(response), utf8(body, size)));
}

/** What `throw new Error(message)` and a failed check of the language's own become: a line in the log, and a trap. */
function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  log(`${message ? message : "stopped"} (${file ? file : "?"}:${line}:${column})`);
  unreachable();
}

// ---- How values lie in memory -------------------------------------------------------------------------------------

/** Zeroed: case 0 of every variant, none of every option, ok of every result. */
export function room(size: usize): usize {
  const at = heap.alloc(size);
  memory.fill(at, 0, size);
  return at;
}

export function text(at: usize, length: i32): string { return String.UTF16.decodeUnsafe(at, <usize>length << 1); }
function stringAt(at: usize): string { return text(load<usize>(at), load<i32>(at, 4)); }
function utf8(at: usize, size: usize): string { return String.UTF8.decodeUnsafe(at, size); }

export function putString(at: usize, value: string): void {
  store<usize>(at, changetype<usize>(value));
  store<i32>(at, value.length, 4);
}

export function putList(at: usize, values: string[]): void {
  const items = room(<usize>values.length << 3);
  for (let i = 0; i < values.length; i++) putString(items + (<usize>i << 3), values[i]);
  store<usize>(at, items);
  store<i32>(at, values.length, 4);
}

export function putSession(at: usize, session: Session): void {
  putString(at, session.userId);
  putString(at + 8, session.email);
  putString(at + 16, session.displayName);
  putString(at + 24, session.orgId);
  store<u64>(at, session.expiresAt, 32);
  putString(at + 40, session.accessToken);
  putString(at + 48, session.refreshToken);
}

function keyvalueError(at: usize): string {
  const kind = load<u8>(at);
  return kind == 0 ? "no such store" : kind == 1 ? "access denied" : stringAt(at + 4);
}

function httpError(at: usize): string {
  const kind = load<u8>(at);
  if (kind == 38 && load<u8>(at, 8)) return stringAt(at + 12);
  return ("DNS timeout,DNS error,destination not found,destination unavailable,destination IP prohibited," +
    "destination IP unroutable,connection refused,connection terminated,connection timeout,connection read timeout," +
    "connection write timeout,connection limit reached,TLS protocol error,TLS certificate error,TLS alert received," +
    "request denied,request length required,request body size,request method invalid,request URI invalid," +
    "request URI too long,request header section size,request header size,request trailer section size," +
    "request trailer size,response incomplete,response header section size,response header size,response body size," +
    "response trailer section size,response trailer size,response transfer coding,response content coding," +
    "response timeout,upgrade failed,protocol error,loop detected,configuration error,internal error").split(",")[kind];
}

// ---- What the host offers: those never called are not in the component --------------------------------------------

@external("wasi:config/store@0.2.0-rc.1", "get")
declare function configGet(key: string, length: i32, out: usize): void;
@external("wasi:clocks/wall-clock@0.2.12", "now")
declare function clockNow(out: usize): void;
@external("wasi:logging/logging@0.1.0-draft", "log")
declare function hostLog(level: i32, context: string, contextLength: i32, message: string, length: i32): void;

@external("wasi:keyvalue/store@0.2.0-draft", "open")
declare function keyvalueOpen(name: string, length: i32, out: usize): void;
@external("wasi:keyvalue/store@0.2.0-draft", "[method]bucket.get")
declare function bucketGet(self: i32, key: string, length: i32, out: usize): void;
@external("wasi:keyvalue/store@0.2.0-draft", "[method]bucket.set")
declare function bucketSet(self: i32, key: string, length: i32, value: usize, valueLength: i32, out: usize): void;

@external("wasi:http/types@0.2.12", "[constructor]fields")
declare function newFields(): i32;
@external("wasi:http/types@0.2.12", "[constructor]outgoing-request")
declare function newRequest(fields: i32): i32;
@external("wasi:http/types@0.2.12", "[method]outgoing-request.set-scheme")
declare function setScheme(self: i32, some: i32, kind: i32, other: string, length: i32): i32;
@external("wasi:http/types@0.2.12", "[method]outgoing-request.set-authority")
declare function setAuthority(self: i32, some: i32, authority: string, length: i32): i32;
@external("wasi:http/types@0.2.12", "[method]outgoing-request.set-path-with-query")
declare function setPath(self: i32, some: i32, path: string, length: i32): i32;
@external("wasi:http/outgoing-handler@0.2.12", "handle")
declare function handle(request: i32, some: i32, options: i32, out: usize): void;
@external("wasi:http/types@0.2.12", "[method]future-incoming-response.subscribe")
declare function subscribe(self: i32): i32;
@external("wasi:io/poll@0.2.12", "[method]pollable.block")
declare function block(self: i32): void;
@external("wasi:http/types@0.2.12", "[method]future-incoming-response.get")
declare function futureGet(self: i32, out: usize): void;
@external("wasi:http/types@0.2.12", "[method]incoming-response.status")
declare function responseStatus(self: i32): i32;
@external("wasi:http/types@0.2.12", "[method]incoming-response.consume")
declare function responseConsume(self: i32, out: usize): void;
@external("wasi:http/types@0.2.12", "[method]incoming-body.stream")
declare function bodyStream(self: i32, out: usize): void;
@external("wasi:io/streams@0.2.12", "[method]input-stream.blocking-read")
declare function streamRead(self: i32, length: i64, out: usize): void;
