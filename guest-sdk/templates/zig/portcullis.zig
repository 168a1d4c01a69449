//! What a provider may ask of its host, and what it may answer. Below that, the component: nothing to edit there.
//! Nothing has to be freed: every call has memory of its own, which goes when the call ends.

const std = @import("std");
const builtin = @import("builtin");
const provider = @import("provider.zig");

// ---- What it may ask. An error.Unavailable says in `reason` what went wrong. For the log of the dashboard there is
//      `std.log.info("...", .{})`; a component has nothing else to print to, and std.debug.print does not compile.

const host = if (builtin.is_test) @import("fake.zig") else imports;

/// fn (key: []const u8) ?[]const u8: one of its settings (`config:` in portcullis.yaml), if it is set.
pub const setting = host.setting;

/// fn () u64: seconds since 1970.
pub const now = host.now;

/// fn (key: []const u8) Error!?[]const u8: a value of its bucket, if there is one.
pub const bucketGet = host.bucketGet;

/// fn (key: []const u8, value: []const u8) Error!void
pub const bucketSet = host.bucketSet;

/// fn (url: []const u8) Error!Response: the answer may have any status; an error: there was none.
pub const httpGet = host.httpGet;

pub const Response = struct { status: u16, body: []const u8 = "" };

/// Are the two equal? For secrets: how long it takes tells no more than their lengths.
pub fn sameSecret(a: []const u8, b: []const u8) bool {
    if (a.len != b.len) return false;
    var difference: u8 = 0;
    for (a, b) |x, y| {
        difference |= x ^ y;
        std.mem.doNotOptimizeAway(difference);
    }
    return difference == 0;
}

/// A text, as std.fmt makes it.
pub fn print(comptime format: []const u8, arguments: anytype) []const u8 {
    return std.fmt.allocPrint(memory, format, arguments) catch @panic("out of memory");
}

pub const memory = if (builtin.is_test) std.heap.page_allocator else std.heap.wasm_allocator;

// ---- What it may answer: somebody, null ("no", "not mine"), or an error with a reason, as in
//      `return host.unavailable("the database: {s}", .{why})`.

pub const Error = error{ Unavailable, Refused };

/// Why the last error.
pub var reason: []const u8 = "";

/// "I can neither confirm nor deny."
pub fn unavailable(comptime format: []const u8, arguments: anytype) error{Unavailable} {
    reason = print(format, arguments);
    return error.Unavailable;
}

/// "No", of completeLogin, which alone is asked why.
pub fn refused(comptime format: []const u8, arguments: anytype) error{Refused} {
    reason = print(format, arguments);
    return error.Refused;
}

pub const TokenPrincipal = struct { principal: []const u8, scopes: []const []const u8 = &.{} };

pub const Session = struct {
    user_id: []const u8,
    email: []const u8 = "",
    display_name: []const u8 = "",
    org_id: []const u8 = "",
    /// Seconds since 1970.
    expires_at: u64,
    access_token: []const u8,
    refresh_token: []const u8 = "",
};

pub const LoginRequest = struct { redirect_uri: []const u8, state: []const u8, nonce: []const u8, code_challenge: []const u8 };
pub const LoginResponse = struct { redirect_uri: []const u8, code: []const u8, nonce: []const u8, code_verifier: []const u8, issuer: ?[]const u8 = null };

// ---- The component's types, which are laid out as C's would be.

const Text = extern struct {
    pointer: [*]const u8,
    length: usize,

    fn of(text: []const u8) Text {
        return .{ .pointer = if (text.len == 0) "" else text.ptr, .length = text.len };
    }

    fn slice(text: Text) []const u8 {
        return text.pointer[0..text.length];
    }
};

fn Option(T: type) type {
    return extern struct { some: bool, value: T };
}

fn Result(Ok: type, Err: type) type {
    return extern struct { failed: bool, is: extern union { ok: Ok, err: Err } };
}

/// variant { ..., ...(string) }
const Failure = extern struct { case: u8, why: Text };

const Datetime = extern struct { seconds: u64, nanoseconds: u32 };
const HttpError = extern struct { case: u8 align(8), payload: [24]u8 align(8) };
const StreamError = extern struct { case: u8, failure: i32 };

const wasi = struct {
    extern "wasi:config/store@0.2.0-rc.1" fn get([*]const u8, usize, *Result(Option(Text), Failure)) void;
    extern "wasi:clocks/wall-clock@0.2.12" fn now(*Datetime) void;
    extern "wasi:logging/logging@0.1.0-draft" fn log(i32, [*]const u8, usize, [*]const u8, usize) void;
    extern "wasi:keyvalue/store@0.2.0-draft" fn open([*]const u8, usize, *Result(i32, Failure)) void;
    extern "wasi:keyvalue/store@0.2.0-draft" fn @"[method]bucket.get"(i32, [*]const u8, usize, *Result(Option(Text), Failure)) void;
    extern "wasi:keyvalue/store@0.2.0-draft" fn @"[method]bucket.set"(i32, [*]const u8, usize, [*]const u8, usize, *Result(void, Failure)) void;
    extern "wasi:http/types@0.2.12" fn @"[constructor]fields"() i32;
    extern "wasi:http/types@0.2.12" fn @"[constructor]outgoing-request"(i32) i32;
    extern "wasi:http/types@0.2.12" fn @"[method]outgoing-request.set-scheme"(i32, some: i32, case: i32, [*]const u8, usize) i32;
    extern "wasi:http/types@0.2.12" fn @"[method]outgoing-request.set-authority"(i32, some: i32, [*]const u8, usize) i32;
    extern "wasi:http/types@0.2.12" fn @"[method]outgoing-request.set-path-with-query"(i32, some: i32, [*]const u8, usize) i32;
    extern "wasi:http/outgoing-handler@0.2.12" fn handle(i32, some: i32, i32, *Result(i32, HttpError)) void;
    extern "wasi:http/types@0.2.12" fn @"[method]future-incoming-response.subscribe"(i32) i32;
    extern "wasi:io/poll@0.2.12" fn @"[method]pollable.block"(i32) void;
    extern "wasi:http/types@0.2.12" fn @"[method]future-incoming-response.get"(i32, *Option(Result(Result(i32, HttpError), void))) void;
    extern "wasi:http/types@0.2.12" fn @"[method]incoming-response.status"(i32) i32;
    extern "wasi:http/types@0.2.12" fn @"[method]incoming-response.consume"(i32, *Result(i32, void)) void;
    extern "wasi:http/types@0.2.12" fn @"[method]incoming-body.stream"(i32, *Result(i32, void)) void;
    extern "wasi:io/streams@0.2.12" fn @"[method]input-stream.blocking-read"(i32, u64, *Result(Text, StreamError)) void;
};

// ---- What a provider may ask. Handles of the host's are not dropped: they go when the call ends.

const imports = struct {
    pub fn setting(key: []const u8) ?[]const u8 {
        var value: Result(Option(Text), Failure) = undefined;
        wasi.get(key.ptr, key.len, &value);
        if (value.failed) @panic("no settings"); // no check is to be skipped for want of a setting
        return if (value.is.ok.some) value.is.ok.value.slice() else null;
    }

    pub fn now() u64 {
        var time: Datetime = undefined;
        wasi.now(&time);
        return time.seconds;
    }

    var bucket: ?i32 = null; // opened once

    fn openBucket() Error!i32 {
        if (bucket) |handle| return handle;
        var opened: Result(i32, Failure) = undefined;
        wasi.open("", 0, &opened);
        if (opened.failed) return bucketFailed(opened.is.err);
        bucket = opened.is.ok;
        return opened.is.ok;
    }

    fn bucketFailed(failure: Failure) Error {
        return unavailable("the bucket: {s}", .{switch (failure.case) {
            0 => "no such store",
            1 => "access denied",
            else => failure.why.slice(),
        }});
    }

    pub fn bucketGet(key: []const u8) Error!?[]const u8 {
        var value: Result(Option(Text), Failure) = undefined;
        wasi.@"[method]bucket.get"(try openBucket(), key.ptr, key.len, &value);
        if (value.failed) return bucketFailed(value.is.err);
        return if (value.is.ok.some) value.is.ok.value.slice() else null;
    }

    pub fn bucketSet(key: []const u8, value: []const u8) Error!void {
        var done: Result(void, Failure) = undefined;
        wasi.@"[method]bucket.set"(try openBucket(), key.ptr, key.len, value.ptr, value.len, &done);
        if (done.failed) return bucketFailed(done.is.err);
    }

    fn httpFailed(failure: HttpError) Error {
        return switch (failure.case) { // of wasi:http/types.error-code
            1 => unavailable("DNS error", .{}),
            6 => unavailable("connection refused", .{}),
            7 => unavailable("connection terminated", .{}),
            8 => unavailable("connection timeout", .{}),
            11 => unavailable("too many requests of one call", .{}),
            12 => unavailable("TLS protocol error", .{}),
            13 => unavailable("TLS certificate error", .{}),
            15 => unavailable("the operator does not grant this origin", .{}),
            else => |case| unavailable("error code {d} of wasi:http", .{case}),
        };
    }

    pub fn httpGet(url: []const u8) Error!Response {
        const tls = std.mem.startsWith(u8, url, "https://");
        if (!tls and !std.mem.startsWith(u8, url, "http://"))
            return unavailable("the URL begins with neither http:// nor https://", .{});
        const rest = url[if (tls) 8 else 7..];
        const authority = rest[0 .. std.mem.findAny(u8, rest, "/?") orelse rest.len];
        const path = rest[authority.len..];
        const target = if (std.mem.startsWith(u8, path, "/")) path else print("/{s}", .{path});

        const request = wasi.@"[constructor]outgoing-request"(wasi.@"[constructor]fields"());
        if (wasi.@"[method]outgoing-request.set-scheme"(request, 1, @intFromBool(tls), "", 0) != 0 or
            wasi.@"[method]outgoing-request.set-authority"(request, 1, authority.ptr, authority.len) != 0 or
            wasi.@"[method]outgoing-request.set-path-with-query"(request, 1, target.ptr, target.len) != 0)
            return unavailable("the URL is malformed", .{});

        var sent: Result(i32, HttpError) = undefined;
        wasi.handle(request, 0, 0, &sent);
        if (sent.failed) return httpFailed(sent.is.err);
        const future = sent.is.ok;
        wasi.@"[method]pollable.block"(wasi.@"[method]future-incoming-response.subscribe"(future));
        var answer: Option(Result(Result(i32, HttpError), void)) = undefined;
        wasi.@"[method]future-incoming-response.get"(future, &answer);
        if (!answer.some or answer.value.failed) unreachable; // it is ready, and taken once
        if (answer.value.is.ok.failed) return httpFailed(answer.value.is.ok.is.err);

        const response = answer.value.is.ok.is.ok;
        var body: Result(i32, void) = undefined;
        wasi.@"[method]incoming-response.consume"(response, &body);
        if (body.failed) unreachable;
        var stream: Result(i32, void) = undefined;
        wasi.@"[method]incoming-body.stream"(body.is.ok, &stream);
        if (stream.failed) unreachable;
        var all: std.ArrayList(u8) = .empty;
        while (true) {
            var part: Result(Text, StreamError) = undefined;
            wasi.@"[method]input-stream.blocking-read"(stream.is.ok, 65536, &part);
            if (part.failed and part.is.err.case == 0) return unavailable("the answer broke off", .{});
            if (part.failed) break; // it is complete
            all.appendSlice(memory, part.is.ok.slice()) catch @panic("out of memory");
        }
        return .{ .status = @intCast(wasi.@"[method]incoming-response.status"(response)), .body = all.items };
    }
};

// ---- What a provider is asked: the functions of provider.zig. Those of interfaces that wit/world.wit does not export may be missing.

comptime {
    if (!builtin.is_test) {
        @export(&reallocate, .{ .name = "cabi_realloc" });
        give("provider", "supports-token", &exports.supportsToken);
        give("provider", "verify-token", &exports.verifyToken);
        give("provider", "verify-session", &exports.verifySession);
        if (inWorld("export portcullis:auth/settings@")) give("settings", "check", &exports.checkSettings);
        if (inWorld("export portcullis:auth/password@")) give("password", "complete-password-login", &exports.completePasswordLogin);
        if (inWorld("export portcullis:auth/redirect@")) give("redirect", "start-login", &exports.startLogin);
        if (inWorld("export portcullis:auth/redirect@")) give("redirect", "complete-login", &exports.completeLogin);
        if (inWorld("export portcullis:auth/refresh@")) give("refresh", "refresh-session", &exports.refreshSession);
        if (inWorld("export portcullis:auth/refresh@")) give("refresh", "revoke-session", &exports.revokeSession);
    }
}

fn give(comptime interface: []const u8, comptime name: []const u8, comptime function: anytype) void {
    @export(function, .{ .name = "portcullis:auth/" ++ interface ++ "@0.1.0#" ++ name });
}

fn inWorld(comptime beginning: []const u8) bool {
    @setEvalBranchQuota(100_000);
    var lines = std.mem.splitScalar(u8, @embedFile("wit/world.wit"), '\n');
    while (lines.next()) |line| {
        if (std.mem.startsWith(u8, std.mem.trimStart(u8, line, " "), beginning)) return true;
    }
    return false;
}

/// std.log and the messages of panics go to the log, or nowhere if the world has no log.
pub const std_options: std.Options = .{ .logFn = log };
pub const panic = std.debug.FullPanic(logAndTrap);
const has_log = inWorld("import wasi:logging/logging@");

fn log(comptime level: std.log.Level, comptime _: @EnumLiteral(), comptime format: []const u8, arguments: anytype) void {
    const text = print(format, arguments);
    if (comptime has_log) wasi.log(4 - @as(i32, @intFromEnum(level)), "", 0, text.ptr, text.len);
}

fn logAndTrap(message: []const u8, _: ?usize) noreturn {
    if (comptime has_log) wasi.log(4, "", 0, message.ptr, message.len);
    @trap();
}

/// The host takes memory here for what it hands over.
fn reallocate(old: ?[*]u8, old_size: usize, _: usize, size: usize) callconv(.c) [*]u8 {
    const new = memory.alignedAlloc(u8, .@"8", @max(size, 1)) catch @panic("out of memory");
    if (old) |bytes| @memcpy(new[0..old_size], bytes[0..old_size]);
    return new.ptr;
}

const PrincipalOut = extern struct {
    principal: Text,
    scopes: [*]const Text,
    scope_count: usize,

    fn of(from: TokenPrincipal) PrincipalOut {
        const scopes = memory.alloc(Text, from.scopes.len + 1) catch @panic("out of memory");
        for (from.scopes, scopes[0..from.scopes.len]) |scope, *to| to.* = .of(scope);
        return .{ .principal = .of(from.principal), .scopes = scopes.ptr, .scope_count = from.scopes.len };
    }
};

const SessionOut = extern struct {
    user_id: Text,
    email: Text,
    display_name: Text,
    org_id: Text,
    expires_at: u64,
    access_token: Text,
    refresh_token: Text,

    fn of(from: Session) SessionOut {
        return .{
            .user_id = .of(from.user_id),
            .email = .of(from.email),
            .display_name = .of(from.display_name),
            .org_id = .of(from.org_id),
            .expires_at = from.expires_at,
            .access_token = .of(from.access_token),
            .refresh_token = .of(from.refresh_token),
        };
    }
};

fn ok(T: type, answer: T) *const Result(T, Failure) {
    const kept = memory.create(Result(T, Failure)) catch @panic("out of memory");
    kept.* = .{ .failed = false, .is = .{ .ok = answer } };
    return kept;
}

fn failed(T: type, case: u8) *const Result(T, Failure) {
    const kept = memory.create(Result(T, Failure)) catch @panic("out of memory");
    kept.* = .{ .failed = true, .is = .{ .err = .{ .case = case, .why = .of(reason) } } };
    return kept;
}

/// result<option<T>, provider-error>
fn option(T: type, answer: anytype) *const Result(Option(T), Failure) {
    const somebody = answer catch return failed(Option(T), 0);
    return ok(Option(T), if (somebody) |it| .{ .some = true, .value = .of(it) } else .{ .some = false, .value = undefined });
}

/// result<session, variant { no, unavailable(string) }>, where "no" may have a reason as well
fn signIn(answer: Error!?Session) *const Result(SessionOut, Failure) {
    const session = answer catch |failure| return failed(SessionOut, @intFromBool(failure == error.Unavailable));
    return if (session) |it| ok(SessionOut, .of(it)) else failed(SessionOut, 0);
}

/// A text arrives as two arguments: where it is, and how long.
const exports = struct {
    fn supportsToken() callconv(.c) bool {
        return provider.supportsToken();
    }

    fn checkSettings() callconv(.c) *const Result(void, Text) {
        const answer = memory.create(Result(void, Text)) catch @panic("out of memory");
        const sentence = provider.checkSettings();
        answer.* = .{ .failed = sentence != null, .is = .{ .err = .of(sentence orelse "") } };
        return answer;
    }

    fn verifyToken(token: [*]const u8, a: usize) callconv(.c) *const Result(Option(PrincipalOut), Failure) {
        return option(PrincipalOut, provider.verifyToken(token[0..a]));
    }

    fn verifySession(access_token: [*]const u8, a: usize) callconv(.c) *const Result(Option(SessionOut), Failure) {
        return option(SessionOut, provider.verifySession(access_token[0..a]));
    }

    fn completePasswordLogin(username: [*]const u8, a: usize, password: [*]const u8, b: usize) callconv(.c) *const Result(SessionOut, Failure) {
        return signIn(provider.checkPassword(username[0..a], password[0..b]));
    }

    fn startLogin(uri: [*]const u8, a: usize, state: [*]const u8, b: usize, nonce: [*]const u8, c: usize, challenge: [*]const u8, d: usize) callconv(.c) *const Result(Text, Failure) {
        const request: LoginRequest = .{ .redirect_uri = uri[0..a], .state = state[0..b], .nonce = nonce[0..c], .code_challenge = challenge[0..d] };
        return ok(Text, .of(provider.startLogin(request) catch return failed(Text, 0)));
    }

    fn completeLogin(uri: [*]const u8, a: usize, code: [*]const u8, b: usize, nonce: [*]const u8, c: usize, verifier: [*]const u8, d: usize, has_issuer: bool, issuer: [*]const u8, e: usize) callconv(.c) *const Result(SessionOut, Failure) {
        var response: LoginResponse = .{ .redirect_uri = uri[0..a], .code = code[0..b], .nonce = nonce[0..c], .code_verifier = verifier[0..d] };
        if (has_issuer) response.issuer = issuer[0..e];
        return signIn(provider.completeLogin(response));
    }

    fn refreshSession(refresh_token: [*]const u8, a: usize) callconv(.c) *const Result(SessionOut, Failure) {
        return signIn(provider.refreshSession(refresh_token[0..a]));
    }

    fn revokeSession(refresh_token: [*]const u8, a: usize) callconv(.c) void {
        provider.revokeSession(refresh_token[0..a]);
    }
};
