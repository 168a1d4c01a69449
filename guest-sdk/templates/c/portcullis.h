// What a provider is asked, what it may answer, and what it may ask of its host. Texts are C strings.
// Nothing has to be freed: every call has memory of its own, which goes when the call ends.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- What it may ask.

/// One of its settings (`config:` in portcullis.yaml), or NULL.
char *setting(const char *key);

/// Seconds since 1970.
uint64_t now(void);

typedef struct { char *value; const char *error; } found;

/// A text of its bucket. Neither a value nor an error: there is no such key.
found bucket_get(const char *key);

/// NULL, or what went wrong.
const char *bucket_set(const char *key, const char *value);

typedef struct { int status; char *body; size_t length; const char *error; } reply;

/// GETs a URL. With an error, which says why, there was no answer; the status may be any.
reply http_get(const char *url);

/// Are the two equal? For secrets: how long it takes tells no more than their lengths. NULL is equal to nothing.
bool same_secret(const char *a, const char *b);

/// What printf would print.
char *format(const char *format, ...) __attribute__((format(printf, 1, 2)));

// ---- What it may answer. An answer in which nothing is filled in, `(verdict){0}`, says no.

typedef struct {
    const char *principal, *scopes;  // scopes: "metrics.read metrics.write"
    const char *unavailable;         // "I can neither confirm nor deny", and why
} verdict;

typedef struct {
    const char *user_id, *email, *display_name, *org_id;
    uint64_t expires_at;             // seconds since 1970
    const char *access_token, *refresh_token;
    const char *refused;             // only complete_login is asked why
    const char *unavailable;
} session;

typedef struct { const char *url, *unavailable; } destination;

// ---- What it is asked: provider.c has these functions...

/// Asked when the provider is loaded. NULL, or a sentence for the operator.
const char *check_settings(void);
/// Asked when the provider is loaded. False: it never gets to see a token.
bool supports_token(void);
verdict verify_token(const char *token);
session verify_session(const char *access_token);

// ... and those of the interfaces that wit/world.wit exports besides. `password`:
session check_password(const char *username, const char *password);

// `redirect`:
typedef struct { const char *redirect_uri, *state, *nonce, *code_challenge; } login_request;
typedef struct { const char *redirect_uri, *code, *nonce, *code_verifier, *issuer; } login_response;  // issuer: or NULL
destination start_login(login_request request);
session complete_login(login_response response);

// `refresh`:
session refresh_session(const char *refresh_token);
void revoke_session(const char *refresh_token);
