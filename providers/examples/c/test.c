// The provider's logic on this machine, with a host that is made up: `make test`.
#include "portcullis.h"
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <string.h>

// ---- The host.

static const char *tokens, *lookup, *bucket_failure;
static char *revoked;  // the one key of the bucket
static reply answer;   // of the look-up
static char *asked;    // the look-up's URL

char *setting(const char *key) {
    const char *value = !strcmp(key, "tokens") ? tokens : !strcmp(key, "lookup") ? lookup : NULL;
    return value ? format("%s", value) : NULL;
}

found bucket_get(const char *key) {
    return (found){.value = revoked && !strcmp(key, revoked) ? "1" : NULL, .error = bucket_failure};
}

const char *bucket_set(const char *key, const char *) {
    revoked = format("%s", key);
    return bucket_failure;
}

reply http_get(const char *url) {
    asked = format("%s", url);
    return answer;
}

// ---- The tests.

static bool same(const char *a, const char *b) { return a && b ? !strcmp(a, b) : a == b; }

static bool answers(const char *token, const char *principal, const char *scopes, const char *unavailable) {
    verdict verdict = verify_token(token);
    return same(verdict.principal, principal) && same(verdict.scopes, scopes) && same(verdict.unavailable, unavailable);
}

static void settings_that_will_not_do(void) {
    assert(same(check_settings(), "`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`"));
    tokens = "# a comment\n\nx";
    assert(same(check_settings(), "`tokens`, line 3: it needs a token and a principal"));
    tokens = "# a comment\n\ngood-1 alice metrics.read logs.read\n  good-2   bob\n";
    assert(!check_settings());
}

static void the_table(void) {
    assert(answers("good-1", "alice", "metrics.read logs.read", NULL));
    assert(answers("good-2", "bob", NULL, NULL));
    const char *const unknown[] = {"good-3", "good-", "", "#"};
    for (int i = 0; i < 4; i++) assert(answers(unknown[i], NULL, NULL, NULL));
}

static void the_lookup(void) {
    lookup = "http://127.0.0.1:9000/principals/";
    answer = (reply){.status = 200};
    assert(answers("good-1", "alice", "metrics.read logs.read", NULL));
    assert(same(asked, "http://127.0.0.1:9000/principals/alice"));
    answer = (reply){.status = 500};
    assert(answers("good-1", NULL, NULL, "the look-up answered 500"));
    answer = (reply){.error = "connection refused"};
    assert(answers("good-1", NULL, NULL, "the look-up: connection refused"));
    answer = (reply){.status = 410};
    assert(answers("good-1", NULL, NULL, NULL));
    assert(same(revoked, "revoked:alice"));
    answer = (reply){.status = 200};
    assert(answers("good-1", NULL, NULL, NULL));
    bucket_failure = "access denied";
    assert(answers("good-1", NULL, NULL, "the bucket: access denied"));
}

int main(void) {
    settings_that_will_not_do();
    the_table();
    the_lookup();
    puts("all passed");
}
