// What a provider is asked, what it may answer, and what it may ask of its host.
#pragma once
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace portcullis {

// ---- What it may ask. An error says what went wrong.

/// One of its settings (`config:` in portcullis.yaml), if it is set.
std::optional<std::string> setting(std::string_view key);

/// Seconds since 1970.
std::uint64_t now();

/// A value of its bucket, if there is one.
std::expected<std::optional<std::string>, std::string> bucket_get(std::string_view key);
std::expected<void, std::string> bucket_set(std::string_view key, std::string_view value);

struct Response { int status; std::string body; };

/// GETs a URL. An answer may have any status; an error: there was none.
std::expected<Response, std::string> http_get(std::string_view url);

/// Are the two equal? For secrets: how long it takes tells no more than their lengths.
inline bool same_secret(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    volatile unsigned char difference = 0;
    for (std::size_t i = 0; i < a.size(); i++) difference = difference | (a[i] ^ b[i]);
    return !difference;
}

// ---- What it may answer: somebody, std::nullopt ("no", "not mine"), unavailable("why": "I can neither confirm nor
// deny") or, as only complete_login is asked for a reason, refused("why").

struct Failure { bool unavailable; std::string why; };
template <class T> using Verdict = std::expected<std::optional<T>, Failure>;
inline auto unavailable(std::string why) { return std::unexpected(Failure{true, why}); }
inline auto refused(std::string why) { return std::unexpected(Failure{false, why}); }

struct TokenPrincipal { std::string principal; std::vector<std::string> scopes; };

struct Session {
    std::string user_id, email = {}, display_name = {}, org_id = {};
    std::uint64_t expires_at;  // seconds since 1970
    std::string access_token, refresh_token = {};
};

struct LoginRequest { std::string redirect_uri, state, nonce, code_challenge; };
struct LoginResponse { std::string redirect_uri, code, nonce, code_verifier; std::optional<std::string> issuer; };

// ---- What it is asked: provider.cpp has these functions...

/// Asked when the provider is loaded: a sentence for the operator, if something must be mended.
std::optional<std::string> check_settings();
/// Asked when the provider is loaded. False: it never gets to see a token.
bool supports_token();
Verdict<TokenPrincipal> verify_token(std::string_view token);
Verdict<Session> verify_session(std::string_view access_token);

// ... and those of the interfaces that wit/world.wit exports besides. `password`:
Verdict<Session> check_password(std::string_view username, std::string_view password);

// `redirect`:
std::expected<std::string, Failure> start_login(const LoginRequest &request);
Verdict<Session> complete_login(const LoginResponse &response);

// `refresh`:
Verdict<Session> refresh_session(std::string_view refresh_token);
void revoke_session(std::string_view refresh_token);

}  // namespace portcullis
