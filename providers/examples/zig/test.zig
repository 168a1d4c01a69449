//! The provider's logic on this machine, with a host that is made up (fake.zig): `make test`.

const std = @import("std");
const host = @import("portcullis.zig");
const fake = @import("fake.zig");
const provider = @import("provider.zig");
const expect = std.testing.expect;
const expectEqualStrings = std.testing.expectEqualStrings;

const table = "# a comment\n\ngood-1 alice metrics.read logs.read\n  good-2   bob  \n";

fn expectUnavailable(why: []const u8) !void {
    try std.testing.expectError(error.Unavailable, provider.verifyToken("good-2"));
    try expectEqualStrings(why, host.reason);
}

test "settings that will not do" {
    fake.settings = .{};
    try expectEqualStrings("`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`", provider.checkSettings().?);
    fake.settings.put("tokens", "# a comment\n\nx");
    try expectEqualStrings("`tokens`, line 3: it needs a token and a principal", provider.checkSettings().?);
    fake.settings.put("tokens", table);
    try expect(provider.checkSettings() == null);
}

test "the table" {
    fake.settings.put("tokens", table);
    const alice = (try provider.verifyToken("good-1")).?;
    try expectEqualStrings("alice", alice.principal);
    try expect(alice.scopes.len == 2);
    try expectEqualStrings("logs.read", alice.scopes[1]);
    try expect((try provider.verifyToken("good-2")).?.scopes.len == 0);
    for ([_][]const u8{ "good-3", "good-", "", "#" }) |token| try expect(try provider.verifyToken(token) == null);
}

test "the look-up" {
    fake.settings.put("tokens", table);
    fake.settings.put("lookup", "http://127.0.0.1:9000/principals/");
    fake.answer = .{ .status = 200 };
    try expect(try provider.verifyToken("good-2") != null);
    try expectEqualStrings("http://127.0.0.1:9000/principals/bob", fake.asked);
    fake.answer = .{ .status = 500 };
    try expectUnavailable("the look-up answered 500");
    fake.answer = null;
    try expectUnavailable("the look-up: connection refused");
    fake.answer = .{ .status = 410 };
    try expect(try provider.verifyToken("good-2") == null);
    try expectEqualStrings("1", fake.bucket.get("revoked:bob").?);
    fake.answer = .{ .status = 200 };
    try expect(try provider.verifyToken("good-2") == null);
    fake.bucket_is_broken = true;
    try expectUnavailable("the bucket: access denied");
}
