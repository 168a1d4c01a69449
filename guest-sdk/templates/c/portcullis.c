// Between provider.c and the component (bindings/component.h): nothing to edit here.
#include "portcullis.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool same_secret(const char *a, const char *b) {
    if (!a || !b || strlen(a) != strlen(b)) return false;
    volatile unsigned char difference = 0;
    for (size_t i = 0, length = strlen(a); i < length; i++) difference |= a[i] ^ b[i];
    return !difference;
}

static void *take(void *memory, size_t size) {
    memory = realloc(memory, size);
    if (!memory) abort();
    return memory;
}

char *format(const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    char *text = take(NULL, length + 1);
    vsnprintf(text, length + 1, format, again);
    va_end(again);
    va_end(arguments);
    return text;
}

#ifdef __wasm__  // The rest needs the host. A test on this machine has a host of its own.
#include "bindings/component.h"

// WORLD_...: an interface that wit/world.wit names (the Makefile sees to it). Other interfaces need no functions.
#ifndef WORLD_password
#pragma weak check_password
#endif
#ifndef WORLD_redirect
#pragma weak start_login
#pragma weak complete_login
#endif
#ifndef WORLD_refresh
#pragma weak refresh_session
#pragma weak revoke_session
#endif

// stdio in a component, which has no files: what is printed goes to the log, or nowhere if the world has no log.
int __imported_wasi_snapshot_preview1_fd_write(int, int parts, int count, int written) {
    component_string_t all = {0}, *part = (component_string_t *)parts;
    for (; count--; part++) {
        all.ptr = take(all.ptr, all.len + part->len + 1);
        memcpy(all.ptr + all.len, part->ptr, part->len);
        all.len += part->len;
    }
    *(size_t *)written = all.len;
#ifdef WORLD_logging
    if (all.len && all.ptr[all.len - 1] == '\n') all.len--;
    wasi_logging_logging_log(WASI_LOGGING_LOGGING_LEVEL_INFO, &(component_string_t){0}, &all);
#endif
    return 0;
}
int __imported_wasi_snapshot_preview1_fd_fdstat_get(int, int answer) {
    memcpy((void *)answer, (char[24]){2}, 24);  // a terminal: a line is written when it is complete
    return 0;
}
int __imported_wasi_snapshot_preview1_fd_seek(int, int64_t, int, int) { return 8; }
int close(int) { return -1; }

// ---- Texts. In a component they have a length.

/// A text of the host's becomes a C string. A NUL in it is no end: "good\0..." must not pass for "good".
static char *text(const uint8_t *from, size_t length) {
    char *to = take(NULL, length + 1);
    for (size_t i = 0; i < length; i++) to[i] = from[i] ? from[i] : 1;
    to[length] = 0;
    return to;
}
#define OURS(string) text((string).ptr, (string).len)

/// A copy for the host, which frees it.
static component_string_t theirs(const char *text) {
    component_string_t copy;
    component_string_dup(&copy, text ? text : "");
    return copy;
}

/// For the host to look at.
static component_string_t lent(const char *text) {
    return (component_string_t){(uint8_t *)text, strlen(text)};
}

// ---- What a provider may ask. Handles of the host's are not dropped: they go when the call ends.

char *setting(const char *key) {
    component_string_t name = lent(key);
    component_option_string_t value;
    wasi_config_store_error_t error;
    if (!wasi_config_store_get(&name, &value, &error)) abort();  // no check is to be skipped for want of a setting
    return value.is_some ? OURS(value.val) : NULL;
}

uint64_t now(void) {
    wasi_clocks_wall_clock_datetime_t time;
    wasi_clocks_wall_clock_now(&time);
    return time.seconds;
}

static wasi_keyvalue_store_own_bucket_t bucket;  // opened once

static bool open_bucket(wasi_keyvalue_store_error_t *error) {
    component_string_t name = lent("");
    return bucket.__handle || wasi_keyvalue_store_open(&name, &bucket, error);
}

static const char *bucket_error(wasi_keyvalue_store_error_t error) {
    switch (error.tag) {
        case WASI_KEYVALUE_STORE_ERROR_NO_SUCH_STORE: return "no such store";
        case WASI_KEYVALUE_STORE_ERROR_ACCESS_DENIED: return "access denied";
        default: return OURS(error.val.other);
    }
}

found bucket_get(const char *key) {
    component_string_t name = lent(key);
    component_option_list_u8_t value;
    wasi_keyvalue_store_error_t error;
    if (!open_bucket(&error) ||
        !wasi_keyvalue_store_method_bucket_get(wasi_keyvalue_store_borrow_bucket(bucket), &name, &value, &error))
        return (found){.error = bucket_error(error)};
    return (found){.value = value.is_some ? OURS(value.val) : NULL};
}

const char *bucket_set(const char *key, const char *value) {
    component_string_t name = lent(key);
    component_list_u8_t bytes = {(uint8_t *)value, strlen(value)};
    wasi_keyvalue_store_error_t error;
    bool ok = open_bucket(&error) &&
        wasi_keyvalue_store_method_bucket_set(wasi_keyvalue_store_borrow_bucket(bucket), &name, &bytes, &error);
    return ok ? NULL : bucket_error(error);
}

static const char *http_error(wasi_http_types_error_code_t error) {
    switch (error.tag) {
        case WASI_HTTP_TYPES_ERROR_CODE_DNS_ERROR: return "DNS error";
        case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_REFUSED: return "connection refused";
        case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_TERMINATED: return "connection terminated";
        case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_TIMEOUT: return "connection timeout";
        case WASI_HTTP_TYPES_ERROR_CODE_CONNECTION_LIMIT_REACHED: return "too many requests of one call";
        case WASI_HTTP_TYPES_ERROR_CODE_TLS_PROTOCOL_ERROR: return "TLS protocol error";
        case WASI_HTTP_TYPES_ERROR_CODE_TLS_CERTIFICATE_ERROR: return "TLS certificate error";
        case WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_DENIED: return "the operator does not grant this origin";
        default: return format("error code %d of wasi:http", error.tag);
    }
}

reply http_get(const char *url) {
    bool tls = !strncmp(url, "https://", 8);
    if (!tls && strncmp(url, "http://", 7)) return (reply){.error = "the URL begins with neither http:// nor https://"};
    const char *host = url + (tls ? 8 : 7), *path = host + strcspn(host, "/?");
    component_string_t authority = {(uint8_t *)host, path - host}, target = lent(*path == '/' ? path : format("/%s", path));
    wasi_http_types_scheme_t scheme = {.tag = tls ? WASI_HTTP_TYPES_SCHEME_HTTPS : WASI_HTTP_TYPES_SCHEME_HTTP};

    wasi_http_types_own_outgoing_request_t request = wasi_http_types_constructor_outgoing_request(wasi_http_types_constructor_fields());
    wasi_http_types_borrow_outgoing_request_t draft = wasi_http_types_borrow_outgoing_request(request);
    if (!wasi_http_types_method_outgoing_request_set_scheme(draft, &scheme) ||
        !wasi_http_types_method_outgoing_request_set_authority(draft, &authority) ||
        !wasi_http_types_method_outgoing_request_set_path_with_query(draft, &target))
        return (reply){.error = "the URL is malformed"};

    wasi_http_types_own_future_incoming_response_t future;
    wasi_http_types_error_code_t error;
    if (!wasi_http_outgoing_handler_handle(request, NULL, &future, &error)) return (reply){.error = http_error(error)};
    wasi_http_types_borrow_future_incoming_response_t promise = wasi_http_types_borrow_future_incoming_response(future);
    wasi_io_poll_method_pollable_block(wasi_io_poll_borrow_pollable(wasi_http_types_method_future_incoming_response_subscribe(promise)));
    wasi_http_types_result_result_own_incoming_response_error_code_void_t answer;
    if (!wasi_http_types_method_future_incoming_response_get(promise, &answer) || answer.is_err) abort();  // it is ready, and taken once
    if (answer.val.ok.is_err) return (reply){.error = http_error(answer.val.ok.val.err)};

    wasi_http_types_borrow_incoming_response_t response = wasi_http_types_borrow_incoming_response(answer.val.ok.val.ok);
    wasi_http_types_own_incoming_body_t body;
    wasi_http_types_own_input_stream_t stream;
    if (!wasi_http_types_method_incoming_response_consume(response, &body) ||
        !wasi_http_types_method_incoming_body_stream(wasi_http_types_borrow_incoming_body(body), &stream)) abort();  // taken once
    reply reply = {.status = wasi_http_types_method_incoming_response_status(response), .body = take(NULL, 1)};
    component_list_u8_t part;
    wasi_io_streams_stream_error_t end;
    while (wasi_io_streams_method_input_stream_blocking_read(wasi_io_streams_borrow_input_stream(stream), 65536, &part, &end)) {
        reply.body = take(reply.body, reply.length + part.len + 1);
        memcpy(reply.body + reply.length, part.ptr, part.len);
        reply.length += part.len;
        component_list_u8_free(&part);
    }
    reply.body[reply.length] = 0;
    if (end.tag != WASI_IO_STREAMS_STREAM_ERROR_CLOSED) reply.error = "the answer broke off";
    return reply;
}

// ---- What a provider is asked.

static component_list_string_t words(const char *text) {
    component_list_string_t list = {0};
    char *rest, *copy = format("%s", text ? text : "");
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        list.ptr = take(list.ptr, (list.len + 1) * sizeof *list.ptr);
        list.ptr[list.len++] = theirs(word);
    }
    return list;
}

/// result<session, variant { no, unavailable(string) }>, where "no" may have a reason as well.
static bool give(session from, portcullis_auth_types_session_t *to, uint8_t *error, component_string_t *why) {
    *to = (portcullis_auth_types_session_t){
        theirs(from.user_id), theirs(from.email), theirs(from.display_name), theirs(from.org_id),
        from.expires_at, theirs(from.access_token), theirs(from.refresh_token),
    };
    *error = from.unavailable ? 1 : 0;
    *why = theirs(from.unavailable ? from.unavailable : from.refused);
    return from.user_id && !from.refused && !from.unavailable;
}
#define GIVE(session) give(session, answer, &error->tag, &error->val.unavailable)

bool exports_portcullis_auth_settings_check(component_string_t *error) {
    const char *sentence = check_settings();
    *error = theirs(sentence);
    return !sentence;
}

bool exports_portcullis_auth_provider_supports_token(void) { return supports_token(); }

bool exports_portcullis_auth_provider_verify_token(component_string_t *token,
        exports_portcullis_auth_provider_option_token_principal_t *answer, portcullis_auth_types_provider_error_t *error) {
    verdict verdict = verify_token(OURS(*token));
    answer->is_some = verdict.principal;
    answer->val = (portcullis_auth_types_token_principal_t){theirs(verdict.principal), words(verdict.scopes)};
    *error = (portcullis_auth_types_provider_error_t){.val.unavailable = theirs(verdict.unavailable)};
    return !verdict.unavailable;
}

bool exports_portcullis_auth_provider_verify_session(component_string_t *access_token,
        exports_portcullis_auth_provider_option_session_t *answer, portcullis_auth_types_provider_error_t *error) {
    session session = verify_session(OURS(*access_token));
    answer->is_some = give(session, &answer->val, &error->tag, &error->val.unavailable);
    error->tag = PORTCULLIS_AUTH_TYPES_PROVIDER_ERROR_UNAVAILABLE;
    return !session.unavailable;
}

bool exports_portcullis_auth_password_complete_password_login(component_string_t *username, component_string_t *password,
        portcullis_auth_types_session_t *answer, exports_portcullis_auth_password_password_error_t *error) {
    return GIVE(check_password(OURS(*username), OURS(*password)));
}

bool exports_portcullis_auth_redirect_start_login(exports_portcullis_auth_redirect_login_request_t *from,
        component_string_t *answer, portcullis_auth_types_provider_error_t *error) {
    login_request request = {OURS(from->redirect_uri), OURS(from->state), OURS(from->nonce), OURS(from->code_challenge)};
    destination to = start_login(request);
    *answer = theirs(to.url);
    *error = (portcullis_auth_types_provider_error_t){.val.unavailable = theirs(to.unavailable)};
    return to.url && !to.unavailable;
}

bool exports_portcullis_auth_redirect_complete_login(exports_portcullis_auth_redirect_login_response_t *from,
        portcullis_auth_types_session_t *answer, exports_portcullis_auth_redirect_code_error_t *error) {
    login_response response = {OURS(from->redirect_uri), OURS(from->code), OURS(from->nonce), OURS(from->code_verifier),
        from->issuer.is_some ? OURS(from->issuer.val) : NULL};
    return GIVE(complete_login(response));
}

bool exports_portcullis_auth_refresh_refresh_session(component_string_t *token,
        portcullis_auth_types_session_t *answer, exports_portcullis_auth_refresh_refresh_error_t *error) {
    return GIVE(refresh_session(OURS(*token)));
}

void exports_portcullis_auth_refresh_revoke_session(component_string_t *token) { revoke_session(OURS(*token)); }
#endif
