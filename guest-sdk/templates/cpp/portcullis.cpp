// Between provider.cpp and the component (bindings/component.h): nothing to edit here.
#include "portcullis.hpp"
#include "bindings/component.h"
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

using std::expected, std::nullopt, std::optional, std::string, std::string_view, std::unexpected;

// stdio in a component, which has no files: what is printed goes to the log, or nowhere if the world has no log.
extern "C" {
int __imported_wasi_snapshot_preview1_fd_write(int, int parts, int count, int written) {
    string all;
    for (auto part = reinterpret_cast<component_string_t *>(parts); count--; part++) all.append(reinterpret_cast<char *>(part->ptr), part->len);
    *reinterpret_cast<std::size_t *>(written) = all.size();
#ifdef WORLD_logging
    if (all.ends_with('\n')) all.pop_back();
    component_string_t context{}, message{reinterpret_cast<std::uint8_t *>(all.data()), all.size()};
    wasi_logging_logging_log(WASI_LOGGING_LOGGING_LEVEL_INFO, &context, &message);
#endif
    return 0;
}
int __imported_wasi_snapshot_preview1_fd_fdstat_get(int, int answer) {
    std::memcpy(reinterpret_cast<void *>(answer), std::array<char, 24>{2}.data(), 24);  // a terminal: a line is written when it is complete
    return 0;
}
// printf needs these two, std::cout and std::cerr all of them.
int __imported_wasi_snapshot_preview1_fd_seek(int, std::int64_t, int, int) { return 8; }
int close(int) { return -1; }
int __imported_wasi_snapshot_preview1_fd_read(int, int, int, int) { return 8; }
int __imported_wasi_snapshot_preview1_environ_get(int, int) { return 8; }
int __imported_wasi_snapshot_preview1_environ_sizes_get(int, int) { return 8; }
[[noreturn]] void __imported_wasi_snapshot_preview1_proc_exit(int) { std::abort(); }
}

namespace portcullis {

// WORLD_...: an interface that wit/world.wit names (the Makefile sees to it). Other interfaces need no functions.
#ifndef WORLD_password
[[gnu::weak]] Verdict<Session> check_password(string_view, string_view);
#endif
#ifndef WORLD_redirect
[[gnu::weak]] expected<string, Failure> start_login(const LoginRequest &);
[[gnu::weak]] Verdict<Session> complete_login(const LoginResponse &);
#endif
#ifndef WORLD_refresh
[[gnu::weak]] Verdict<Session> refresh_session(string_view);
[[gnu::weak]] void revoke_session(string_view);
#endif

// ---- Texts: one of the host's, a copy for the host (which frees it), and one for the host to look at.

template <class Text> static string ours(const Text &text) { return {reinterpret_cast<char *>(text.ptr), text.len}; }

static component_string_t theirs(string_view text) {
    component_string_t copy;
    component_string_dup_n(&copy, text.data(), text.size());
    return copy;
}

static component_string_t lent(string_view text) {
    return {reinterpret_cast<std::uint8_t *>(const_cast<char *>(text.data())), text.size()};
}

// ---- What a provider may ask. What the host hands over is neither freed nor dropped: it goes when the call ends.

optional<string> setting(string_view key) {
    auto name = lent(key);
    component_option_string_t value;
    wasi_config_store_error_t error;
    if (!wasi_config_store_get(&name, &value, &error)) std::abort();  // no check is to be skipped for want of a setting
    return value.is_some ? optional(ours(value.val)) : nullopt;
}

std::uint64_t now() {
    wasi_clocks_wall_clock_datetime_t time;
    wasi_clocks_wall_clock_now(&time);
    return time.seconds;
}

static wasi_keyvalue_store_own_bucket_t bucket;  // opened once

static bool open_bucket(wasi_keyvalue_store_error_t *error) {
    auto name = lent("");
    return bucket.__handle || wasi_keyvalue_store_open(&name, &bucket, error);
}

static string reason(const wasi_keyvalue_store_error_t &error) {
    switch (error.tag) {
        case WASI_KEYVALUE_STORE_ERROR_NO_SUCH_STORE: return "no such store";
        case WASI_KEYVALUE_STORE_ERROR_ACCESS_DENIED: return "access denied";
        default: return ours(error.val.other);
    }
}

expected<optional<string>, string> bucket_get(string_view key) {
    auto name = lent(key);
    component_option_list_u8_t value;
    wasi_keyvalue_store_error_t error;
    if (!open_bucket(&error) ||
        !wasi_keyvalue_store_method_bucket_get(wasi_keyvalue_store_borrow_bucket(bucket), &name, &value, &error)) return unexpected(reason(error));
    return value.is_some ? optional(ours(value.val)) : nullopt;
}

expected<void, string> bucket_set(string_view key, string_view value) {
    auto name = lent(key), text = lent(value);
    component_list_u8_t bytes{text.ptr, text.len};
    wasi_keyvalue_store_error_t error;
    if (!open_bucket(&error) ||
        !wasi_keyvalue_store_method_bucket_set(wasi_keyvalue_store_borrow_bucket(bucket), &name, &bytes, &error)) return unexpected(reason(error));
    return {};
}

static string reason(const wasi_http_types_error_code_t &error) {
    switch (error.tag) {
        case WASI_HTTP_TYPES_ERROR_CODE_DNS_ERROR: return "DNS error";
        case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_REFUSED: return "connection refused";
        case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_TERMINATED: return "connection terminated";
        case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_TIMEOUT: return "connection timeout";
        case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_LIMIT_REACHED: return "too many requests of one call";
        case WASI_HTTP_TYPES_ERROR_CODE_TLS_PROTOCOL_ERROR: return "TLS protocol error";
        case WASI_HTTP_TYPES_ERROR_CODE_TLS_CERTIFICATE_ERROR: return "TLS certificate error";
        case WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_DENIED: return "the operator does not grant this origin";
        default: return "error code " + std::to_string(error.tag) + " of wasi:http";
    }
}

expected<Response, string> http_get(string_view url) {
    bool tls = url.starts_with("https://");
    if (!tls && !url.starts_with("http://")) return unexpected("the URL begins with neither http:// nor https://");
    url.remove_prefix(tls ? 8 : 7);
    auto slash = std::min(url.find_first_of("/?"), url.size());
    auto path = string(url.substr(slash));
    if (!path.starts_with('/')) path = "/" + path;
    auto authority = lent(url.substr(0, slash)), target = lent(path);
    wasi_http_types_scheme_t scheme{};
    scheme.tag = tls ? WASI_HTTP_TYPES_SCHEME_HTTPS : WASI_HTTP_TYPES_SCHEME_HTTP;

    auto request = wasi_http_types_constructor_outgoing_request(wasi_http_types_constructor_fields());
    auto draft = wasi_http_types_borrow_outgoing_request(request);
    if (!wasi_http_types_method_outgoing_request_set_scheme(draft, &scheme) ||
        !wasi_http_types_method_outgoing_request_set_authority(draft, &authority) ||
        !wasi_http_types_method_outgoing_request_set_path_with_query(draft, &target)) return unexpected("the URL is malformed");

    wasi_http_types_own_future_incoming_response_t future;
    wasi_http_types_error_code_t error;
    if (!wasi_http_outgoing_handler_handle(request, nullptr, &future, &error)) return unexpected(reason(error));
    auto promise = wasi_http_types_borrow_future_incoming_response(future);
    wasi_io_poll_method_pollable_block(wasi_io_poll_borrow_pollable(wasi_http_types_method_future_incoming_response_subscribe(promise)));
    wasi_http_types_result_result_own_incoming_response_error_code_void_t answer;
    if (!wasi_http_types_method_future_incoming_response_get(promise, &answer) || answer.is_err) std::abort();  // it is ready, and taken once
    if (answer.val.ok.is_err) return unexpected(reason(answer.val.ok.val.err));

    auto response = wasi_http_types_borrow_incoming_response(answer.val.ok.val.ok);
    wasi_http_types_own_incoming_body_t body;
    wasi_http_types_own_input_stream_t stream;
    if (!wasi_http_types_method_incoming_response_consume(response, &body) ||
        !wasi_http_types_method_incoming_body_stream(wasi_http_types_borrow_incoming_body(body), &stream)) std::abort();  // taken once
    Response result{wasi_http_types_method_incoming_response_status(response), {}};
    component_list_u8_t part;
    wasi_io_streams_stream_error_t end;
    while (wasi_io_streams_method_input_stream_blocking_read(wasi_io_streams_borrow_input_stream(stream), 65536, &part, &end)) {
        result.body += ours(part);
        component_list_u8_free(&part);
    }
    if (end.tag != WASI_IO_STREAMS_STREAM_ERROR_CLOSED) return unexpected("the answer broke off");
    return result;
}

// ---- What a provider is asked.

static portcullis_auth_types_token_principal_t given(const TokenPrincipal &from) {
    auto scopes = static_cast<component_string_t *>(std::malloc(from.scopes.size() * sizeof(component_string_t) + 1));
    if (!scopes) std::abort();
    std::ranges::transform(from.scopes, scopes, theirs);
    return {theirs(from.principal), {scopes, from.scopes.size()}};
}

static portcullis_auth_types_session_t given(const Session &from) {
    return {theirs(from.user_id), theirs(from.email), theirs(from.display_name), theirs(from.org_id),
        from.expires_at, theirs(from.access_token), theirs(from.refresh_token)};
}

// result<option<T>, provider-error>
template <class T> static bool give(const Verdict<T> &from, auto *answer, portcullis_auth_types_provider_error_t *error) {
    answer->is_some = from && *from;
    if (answer->is_some) answer->val = given(**from);
    if (from || !from.error().unavailable) return true;
    *error = {PORTCULLIS_AUTH_TYPES_PROVIDER_ERROR_UNAVAILABLE, {theirs(from.error().why)}};
    return false;
}

// result<session, variant { no, unavailable(string) }>, where "no" may have a reason as well
static bool sign_in(const Verdict<Session> &from, portcullis_auth_types_session_t *answer, auto *error) {
    error->tag = !from && from.error().unavailable;
    error->val.unavailable = theirs(from ? "" : from.error().why);
    if (!from || !*from) return false;
    *answer = given(**from);
    return true;
}

extern "C" {

bool exports_portcullis_auth_settings_check(component_string_t *error) {
    auto sentence = check_settings();
    if (sentence) *error = theirs(*sentence);
    return !sentence;
}

bool exports_portcullis_auth_provider_supports_token() { return supports_token(); }

bool exports_portcullis_auth_provider_verify_token(component_string_t *token, exports_portcullis_auth_provider_option_token_principal_t *answer,
        portcullis_auth_types_provider_error_t *error) {
    return give(verify_token(ours(*token)), answer, error);
}

bool exports_portcullis_auth_provider_verify_session(component_string_t *access_token, exports_portcullis_auth_provider_option_session_t *answer,
        portcullis_auth_types_provider_error_t *error) {
    return give(verify_session(ours(*access_token)), answer, error);
}

bool exports_portcullis_auth_password_complete_password_login(component_string_t *username, component_string_t *password,
        portcullis_auth_types_session_t *answer, exports_portcullis_auth_password_password_error_t *error) {
    return sign_in(check_password(ours(*username), ours(*password)), answer, error);
}

bool exports_portcullis_auth_redirect_start_login(exports_portcullis_auth_redirect_login_request_t *from, component_string_t *answer,
        portcullis_auth_types_provider_error_t *error) {
    auto url = start_login({ours(from->redirect_uri), ours(from->state), ours(from->nonce), ours(from->code_challenge)});
    if (url) *answer = theirs(*url);
    else *error = {PORTCULLIS_AUTH_TYPES_PROVIDER_ERROR_UNAVAILABLE, {theirs(url.error().why)}};
    return url.has_value();
}

bool exports_portcullis_auth_redirect_complete_login(exports_portcullis_auth_redirect_login_response_t *from,
        portcullis_auth_types_session_t *answer, exports_portcullis_auth_redirect_code_error_t *error) {
    LoginResponse response{ours(from->redirect_uri), ours(from->code), ours(from->nonce), ours(from->code_verifier), nullopt};
    if (from->issuer.is_some) response.issuer = ours(from->issuer.val);
    return sign_in(complete_login(response), answer, error);
}

bool exports_portcullis_auth_refresh_refresh_session(component_string_t *token, portcullis_auth_types_session_t *answer,
        exports_portcullis_auth_refresh_refresh_error_t *error) {
    return sign_in(refresh_session(ours(*token)), answer, error);
}

void exports_portcullis_auth_refresh_revoke_session(component_string_t *token) { revoke_session(ours(*token)); }

}
}  // namespace portcullis
