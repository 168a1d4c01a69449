//! A table of tokens, a look-up by HTTP, and a memory of who was revoked: see
//! `providers/examples/README.md`.

use portcullis_guest::{Host, HttpRequest, Provider, TokenPrincipal, Unavailable, same_secret};

/// The provider.
pub struct Example;

/// A line of the table: `TOKEN PRINCIPAL [SCOPE ...]`.
struct Row<'a> {
    token: &'a str,
    principal: &'a str,
    scopes: Vec<&'a str>,
}

impl<'a> Row<'a> {
    /// Nothing for a blank line and for a comment.
    fn read(line: &'a str) -> Option<Result<Self, &'static str>> {
        let mut fields = line.split(' ').filter(|field| !field.is_empty());
        let token = fields.next().filter(|first| !first.starts_with('#'))?;
        let row = fields.next().map(|principal| Self { token, principal, scopes: fields.collect() });
        Some(row.ok_or("it needs a token and a principal"))
    }
}

impl Provider for Example {
    fn check_settings(host: &dyn Host) -> Result<(), String> {
        let table = host.setting("tokens");
        let table = table.ok_or("`tokens` is missing: one line a token, `TOKEN PRINCIPAL [SCOPE ...]`")?;
        for (number, line) in (1..).zip(table.lines()) {
            if let Some(Err(why)) = Row::read(line) {
                // Not the line itself, which holds a secret.
                return Err(format!("`tokens`, line {number}: {why}"));
            }
        }
        Ok(())
    }

    fn verify_token(host: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let table = host.setting("tokens").unwrap_or_default();
        let rows = table.lines().filter_map(Row::read).flatten();
        // Every row is compared, so the time says nothing of which one matched.
        let Some(row) = rows.fold(None, |found, row| if same_secret(row.token, token) { Some(row) } else { found })
        else {
            return Ok(None);
        };
        let revoked = format!("revoked:{}", row.principal);
        if host.bucket().get(&revoked)?.is_some() {
            return Ok(None);
        }
        if let Some(lookup) = host.setting("lookup") {
            let request = HttpRequest::get(format!("{lookup}{}", row.principal));
            let answer = host.http().send(&request).map_err(|why| Unavailable(format!("the look-up: {}", why.0)))?;
            match answer.status {
                200 => {}
                410 => {
                    host.bucket().set(&revoked, b"1")?;
                    return Ok(None);
                }
                status => return Err(Unavailable(format!("the look-up answered {status}"))),
            }
        }
        Ok(Some(TokenPrincipal::new(row.principal, row.scopes)))
    }
}

portcullis_guest::export!(Example);

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockHost;

    const LOOKUP: &str = "http://idp.example/principals/";

    fn host() -> MockHost {
        let table = "# people\n\ngood-token-1 alice  metrics.read\ngood-token-2 bob\n";
        MockHost::default().with_setting("tokens", table)
    }

    #[test]
    fn table_is_read_and_nothing_else() {
        let alice = Example::verify_token(&host(), "good-token-1");
        assert_eq!(alice, Ok(Some(TokenPrincipal::new("alice", ["metrics.read"]))));
        for wrong in ["", "#", "good-token-", "good-token-11"] {
            assert_eq!(Example::verify_token(&host(), wrong), Ok(None), "{wrong}");
        }
    }

    #[test]
    fn whoever_was_gone_once_stays_revoked() {
        let host = host().with_setting("lookup", LOOKUP).with_answer(&format!("{LOOKUP}bob"), 410, "");
        assert_eq!(Example::verify_token(&host, "good-token-2"), Ok(None));
        assert_eq!(Example::verify_token(&host, "good-token-2"), Ok(None));
        assert_eq!(host.http.requests().len(), 1);
    }

    #[test]
    fn look_up_out_of_reach_is_said_to_be() {
        let host = host().with_setting("lookup", LOOKUP);
        assert!(Example::verify_token(&host, "good-token-1").is_err());
        let host = host.with_answer(&format!("{LOOKUP}alice"), 500, "");
        let unavailable = Unavailable("the look-up answered 500".to_owned());
        assert_eq!(Example::verify_token(&host, "good-token-1"), Err(unavailable));
    }

    #[test]
    fn bad_table_is_named_by_its_line() {
        let complaint = |table: &str| Example::check_settings(&MockHost::default().with_setting("tokens", table));
        assert_eq!(complaint("# c\na b\n\nsecret"), Err("`tokens`, line 4: it needs a token and a principal".to_owned()));
        assert_eq!(complaint("a b\n"), Ok(()));
        assert!(Example::check_settings(&MockHost::default()).is_err());
    }
}
