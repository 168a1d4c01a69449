// A provider that knows the tokens of a table, which its settings hold:
//   tokens  one a line, `TOKEN PRINCIPAL [SCOPE ...]`; blank lines and those that begin with # do not count
//   lookup  if set: the URL, less the principal, of a service that says whether a principal is still welcome
#include "portcullis.hpp"

using std::nullopt, std::optional, std::string, std::string_view, std::vector;

namespace portcullis {

static vector<string> split(string_view text, char separator) {
    vector<string> parts;
    for (size_t end; (end = text.find(separator)) != text.npos; text.remove_prefix(end + 1)) parts.emplace_back(text.substr(0, end));
    parts.emplace_back(text);
    return parts;
}

struct Row { int line; vector<string> fields; };  // token, principal, scopes...

static vector<Row> rows(string_view table) {
    vector<Row> rows;
    int number = 0;
    for (const auto &line : split(table, '\n')) {
        Row row{++number, split(line, ' ')};
        std::erase(row.fields, "");
        if (!row.fields.empty() && !row.fields[0].starts_with('#')) rows.push_back(row);
    }
    return rows;
}

optional<string> check_settings() {
    auto table = setting("tokens");
    if (!table) return "`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`";
    for (const auto &[line, fields] : rows(*table))
        if (fields.size() < 2) return "`tokens`, line " + std::to_string(line) + ": it needs a token and a principal";
    return nullopt;
}

bool supports_token() { return true; }

Verdict<TokenPrincipal> verify_token(string_view token) {
    optional<TokenPrincipal> match;
    for (const auto &[line, fields] : rows(setting("tokens").value_or("")))  // to the very end: the time it takes must tell nothing
        if (same_secret(fields[0], token)) match = {fields[1], {fields.begin() + 2, fields.end()}};
    if (!match) return nullopt;

    auto key = "revoked:" + match->principal;
    auto revoked = bucket_get(key);
    if (!revoked) return unavailable("the bucket: " + revoked.error());
    if (*revoked) return nullopt;

    if (auto lookup = setting("lookup")) {
        auto answer = http_get(*lookup + match->principal);
        if (!answer) return unavailable("the look-up: " + answer.error());
        if (answer->status == 410) {
            auto noted = bucket_set(key, "1");
            if (!noted) return unavailable("the bucket: " + noted.error());
            return nullopt;
        }
        if (answer->status != 200) return unavailable("the look-up answered " + std::to_string(answer->status));
    }
    return match;
}

Verdict<Session> verify_session(string_view) { return nullopt; }  // nobody signs in with this provider

}  // namespace portcullis
