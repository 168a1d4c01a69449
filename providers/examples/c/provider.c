// A provider that knows the tokens of a table, which its settings hold:
//   tokens  one a line, `TOKEN PRINCIPAL [SCOPE ...]`; blank lines and those that begin with # do not count
//   lookup  if set: the URL, less the principal, of a service that says whether a principal is still welcome
#include "portcullis.h"
#include <string.h>

struct row { int line; char *token, *principal, *scopes; };

/// Takes the next row off `table`; false: there is none left.
static bool next_row(char **table, struct row *row) {
    while (**table) {
        char *line = *table, *rest;
        while (**table && **table != '\n') ++*table;
        if (**table) *(*table)++ = 0;
        row->line++;
        row->token = strtok_r(line, " ", &rest);
        if (!row->token || row->token[0] == '#') continue;
        row->principal = strtok_r(NULL, " ", &rest);
        row->scopes = strtok_r(NULL, "", &rest);
        return true;
    }
    return false;
}

const char *check_settings(void) {
    char *table = setting("tokens");
    if (!table) return "`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`";
    for (struct row row = {0}; next_row(&table, &row);)
        if (!row.principal) return format("`tokens`, line %d: it needs a token and a principal", row.line);
    return NULL;
}

bool supports_token(void) { return true; }

verdict verify_token(const char *token) {
    char *table = setting("tokens");
    struct row row = {0}, match = {0};
    while (next_row(&table, &row))  // to the very end: the time it takes must tell nothing
        if (same_secret(row.token, token)) match = row;
    if (!match.principal) return (verdict){0};

    char *key = format("revoked:%s", match.principal);
    found revoked = bucket_get(key);
    if (revoked.error) return (verdict){.unavailable = format("the bucket: %s", revoked.error)};
    if (revoked.value) return (verdict){0};

    char *lookup = setting("lookup");
    if (lookup) {
        reply answer = http_get(format("%s%s", lookup, match.principal));
        if (answer.error) return (verdict){.unavailable = format("the look-up: %s", answer.error)};
        if (answer.status == 410) {
            const char *error = bucket_set(key, "1");
            if (error) return (verdict){.unavailable = format("the bucket: %s", error)};
            return (verdict){0};
        }
        if (answer.status != 200) return (verdict){.unavailable = format("the look-up answered %d", answer.status)};
    }
    return (verdict){.principal = match.principal, .scopes = match.scopes};
}

session verify_session(const char *) { return (session){0}; }  // nobody signs in with this provider
