//! The host of the tests: what portcullis.zig asks when it is not in a component.

const std = @import("std");
const host = @import("portcullis.zig");

pub var settings: Map = .{};
pub var bucket: Map = .{};
pub var bucket_is_broken = false;
/// What httpGet answers, if anything, and the URL that it was asked for.
pub var answer: ?host.Response = null;
pub var asked: []const u8 = "";

pub const Map = struct {
    entries: std.StringHashMapUnmanaged([]const u8) = .empty,

    pub fn put(map: *Map, key: []const u8, value: []const u8) void {
        map.entries.put(host.memory, key, value) catch @panic("out of memory");
    }

    pub fn get(map: Map, key: []const u8) ?[]const u8 {
        return map.entries.get(key);
    }
};

pub fn setting(key: []const u8) ?[]const u8 {
    return settings.get(key);
}

pub fn now() u64 {
    return 1000;
}

pub fn bucketGet(key: []const u8) host.Error!?[]const u8 {
    return if (bucket_is_broken) host.unavailable("the bucket: access denied", .{}) else bucket.get(key);
}

pub fn bucketSet(key: []const u8, value: []const u8) host.Error!void {
    if (bucket_is_broken) return host.unavailable("the bucket: access denied", .{});
    bucket.put(key, value);
}

pub fn httpGet(url: []const u8) host.Error!host.Response {
    asked = url;
    return answer orelse host.unavailable("connection refused", .{});
}
