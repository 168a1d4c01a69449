// The provider's logic on this machine, with a host that is made up: `make test`.
#include "portcullis.hpp"
#undef NDEBUG
#include <cassert>
#include <iostream>
#include <map>

using std::optional, std::string, std::string_view, std::unexpected;

namespace portcullis {

// ---- The host.

static std::map<string_view, string> settings;
static std::map<string, string> bucket;
static bool bucket_is_broken;
static std::expected<Response, string> answer;  // of the look-up
static string asked;                            // the look-up's URL

optional<string> setting(string_view key) {
    return settings.contains(key) ? optional(settings[key]) : std::nullopt;
}

std::expected<optional<string>, string> bucket_get(string_view key) {
    if (bucket_is_broken) return unexpected("access denied");
    return bucket.contains(string(key)) ? optional(bucket[string(key)]) : std::nullopt;
}

std::expected<void, string> bucket_set(string_view key, string_view value) {
    bucket[string(key)] = value;
    return {};
}

std::expected<Response, string> http_get(string_view url) {
    asked = url;
    return answer;
}

// ---- The tests.

/// The principal and its scopes, "no", or why it is unavailable.
static string verified(string_view token) {
    auto verdict = verify_token(token);
    if (!verdict) return "unavailable: " + verdict.error().why;
    if (!*verdict) return "no";
    string text = (**verdict).principal;
    for (auto &scope : (**verdict).scopes) text += " " + scope;
    return text;
}

static void settings_that_will_not_do() {
    assert(check_settings() == "`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`");
    settings["tokens"] = "# a comment\n\nx";
    assert(check_settings() == "`tokens`, line 3: it needs a token and a principal");
    settings["tokens"] = "# a comment\n\ngood-1 alice metrics.read logs.read\n  good-2   bob  \n";
    assert(!check_settings());
}

static void the_table() {
    assert(verified("good-1") == "alice metrics.read logs.read");
    assert(verified("good-2") == "bob");
    for (auto token : {"good-3", "good-", "", "#"}) assert(verified(token) == "no");
}

static void the_lookup() {
    settings["lookup"] = "http://127.0.0.1:9000/principals/";
    answer = Response{200, ""};
    assert(verified("good-2") == "bob");
    assert(asked == "http://127.0.0.1:9000/principals/bob");
    answer = Response{500, ""};
    assert(verified("good-2") == "unavailable: the look-up answered 500");
    answer = unexpected("connection refused");
    assert(verified("good-2") == "unavailable: the look-up: connection refused");
    answer = Response{410, ""};
    assert(verified("good-2") == "no");
    assert(bucket["revoked:bob"] == "1");
    answer = Response{200, ""};
    assert(verified("good-2") == "no");
    bucket_is_broken = true;
    assert(verified("good-2") == "unavailable: the bucket: access denied");
}

}  // namespace portcullis

int main() {
    portcullis::settings_that_will_not_do();
    portcullis::the_table();
    portcullis::the_lookup();
    std::cout << "all passed\n";
}
