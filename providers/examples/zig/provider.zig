//! A provider that knows the tokens of a table, which its settings hold:
//!   tokens  one a line, `TOKEN PRINCIPAL [SCOPE ...]`; blank lines and those that begin with # do not count
//!   lookup  if set: the URL, less the principal, of a service that says whether a principal is still welcome

const std = @import("std");
const host = @import("portcullis.zig");

pub fn checkSettings() ?[]const u8 {
    const table = host.setting("tokens") orelse
        return "`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`";
    var rows: Rows = .of(table);
    while (rows.next()) |row| {
        if (row.principal == null)
            return host.print("`tokens`, line {d}: it needs a token and a principal", .{rows.line});
    }
    return null;
}

pub fn supportsToken() bool {
    return true;
}

pub fn verifyToken(token: []const u8) host.Error!?host.TokenPrincipal {
    var match: ?Row = null;
    var rows: Rows = .of(host.setting("tokens") orelse "");
    while (rows.next()) |row| { // to the very end: the time it takes must tell nothing
        if (host.sameSecret(row.token, token)) match = row;
    }
    const row = match orelse return null;
    const principal = row.principal orelse return null;

    const revoked = host.print("revoked:{s}", .{principal});
    if (try host.bucketGet(revoked)) |_| return null;

    if (host.setting("lookup")) |lookup| {
        const answer = host.httpGet(host.print("{s}{s}", .{ lookup, principal })) catch
            return host.unavailable("the look-up: {s}", .{host.reason});
        switch (answer.status) {
            200 => {},
            410 => {
                try host.bucketSet(revoked, "1");
                return null;
            },
            else => |status| return host.unavailable("the look-up answered {d}", .{status}),
        }
    }
    return .{ .principal = principal, .scopes = words(row.scopes) };
}

pub fn verifySession(_: []const u8) host.Error!?host.Session {
    return null; // nobody signs in with this provider
}

fn words(text: []const u8) []const []const u8 {
    var list: std.ArrayList([]const u8) = .empty;
    var parts = std.mem.tokenizeScalar(u8, text, ' ');
    while (parts.next()) |part| list.append(host.memory, part) catch @panic("out of memory");
    return list.items;
}

const Row = struct { token: []const u8, principal: ?[]const u8, scopes: []const u8 };

const Rows = struct {
    lines: std.mem.SplitIterator(u8, .scalar),
    line: usize = 0,

    fn of(table: []const u8) Rows {
        return .{ .lines = std.mem.splitScalar(u8, table, '\n') };
    }

    fn next(rows: *Rows) ?Row {
        while (rows.lines.next()) |line| {
            rows.line += 1;
            var fields = std.mem.tokenizeScalar(u8, line, ' ');
            const token = fields.next() orelse continue;
            if (token[0] == '#') continue;
            return .{ .token = token, .principal = fields.next(), .scopes = fields.rest() };
        }
        return null;
    }
};
