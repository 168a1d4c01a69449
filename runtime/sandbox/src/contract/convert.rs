//! From what a guest answered to what the host works with; every length is checked on the way.
//!
//! **Invariant:** what a provider knows of one person or one service (a name, an address, an end,
//! scopes) never makes a fault. It refuses that caller, and no quarantine comes of it.

use crate::contract::{
    CodeError, Ended, LogoutError, PasswordError, PrincipalRecord, ProviderError, RefreshError,
    SessionAnswer, SessionRecord, TokenAnswer,
};
use crate::guest_text::{repeats, words_without};
use crate::host::grants::Origin;
use http::Uri;
use portcullis_auth::{
    BadSession, CheckedClaims, Claims, CodeVerdict, LogoutVerdict, PasswordVerdict, ProviderFault,
    RefreshVerdict, SessionClaims, SessionVerdict, TokenVerdict,
};
use zeroize::Zeroizing;

/// Longest sign-in URL, in bytes: browsers and servers stop at about as much.
const MAX_URL_BYTES: usize = 8 * 1024;

pub(crate) fn token_verdict(
    answer: TokenAnswer,
    token: &str,
) -> Result<TokenVerdict, ProviderFault> {
    match answer {
        Ok(None) => Ok(TokenVerdict::NotRecognized),
        // A principal's name is written into logs and markers: it must not be the credential.
        Ok(Some(PrincipalRecord { principal, .. })) if repeats(token, &principal) => Err(
            ProviderFault::Malformed("the principal repeats the token".into()),
        ),
        Ok(Some(PrincipalRecord {
            principal,
            scopes,
            groups,
        })) => match Claims::new(principal, &scopes) {
            Ok(claims) => {
                let said = groups.len();
                let claims = claims.with_groups(without_credentials(groups, &[token]));
                log_dropped(said - claims.groups().len());
                Ok(TokenVerdict::Recognized(claims))
            }
            Err(bad) => Ok(TokenVerdict::Unusable(words_without(
                token,
                &bad.to_string(),
            ))),
        },
        Err(ProviderError::Unavailable(why)) => Err(unavailable(token, &why)),
    }
}

pub(crate) fn session_verdict(
    answer: SessionAnswer,
    access_token: &str,
    now: u64,
) -> Result<SessionVerdict, ProviderFault> {
    match answer {
        Ok(None) => Ok(SessionVerdict::NotRecognized),
        Ok(Some(session)) => Ok(match claims(session, access_token, now)? {
            Ok(claims) => SessionVerdict::Recognized(claims),
            Err(bad) => SessionVerdict::Unusable(bad.to_string()),
        }),
        Err(ProviderError::Unavailable(why)) => Err(unavailable(access_token, &why)),
    }
}

/// A person may choose the password of their own address: a name that repeats it refuses this
/// person and is no fault of the provider's. A password that the person also has in the name they
/// typed is no secret that a provider could give away.
pub(crate) fn password_verdict(
    answer: Result<SessionRecord, PasswordError>,
    username: &str,
    password: &str,
    now: u64,
) -> Result<PasswordVerdict, ProviderFault> {
    let secret = if username.contains(password) {
        ""
    } else {
        password
    };
    match answer {
        Ok(session) if names(&session).iter().any(|name| repeats(secret, name)) => Ok(
            PasswordVerdict::Unusable("a name in the session repeats the password".to_owned()),
        ),
        Ok(session) => Ok(match claims(session, secret, now)? {
            Ok(claims) => PasswordVerdict::SignedIn(claims),
            Err(bad) => PasswordVerdict::Unusable(bad.to_string()),
        }),
        Err(PasswordError::InvalidCredentials) => Ok(PasswordVerdict::InvalidCredentials),
        Err(PasswordError::Unavailable(why)) => Err(unavailable(password, &why)),
    }
}

/// Checks the URL of an identity provider, to which the host redirects the person's browser:
/// visible ASCII, with the state that the host made exactly once, and leading to where a browser
/// may be sent.
pub(crate) fn login_url(
    answer: Result<String, ProviderError>,
    state: &str,
    is_granted: impl Fn(&Origin) -> bool,
) -> Result<String, ProviderFault> {
    let url = match answer {
        Ok(url) => url,
        Err(ProviderError::Unavailable(why)) => return Err(unavailable(state, &why)),
    };

    let malformed = |why: &str| ProviderFault::Malformed(format!("the sign-in URL {why}"));
    let uri = for_browsers(&url, is_granted).map_err(malformed)?;

    let states = || {
        uri.query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| pair.split('=').next() == Some("state"))
    };
    if states().count() != 1 || states().any(|pair| pair != format!("state={state}")) {
        return Err(malformed("does not have the state that was given, once"));
    }
    Ok(url)
}

/// Returns whether a browser may be sent to this address: an https site, this machine, or a granted
/// origin.
///
/// # Errors
/// Why not.
fn for_browsers(url: &str, is_granted: impl Fn(&Origin) -> bool) -> Result<Uri, &'static str> {
    let is_plain = url.len() <= MAX_URL_BYTES
        && url
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let parsed: Option<Uri> = url.parse().ok().filter(|_| is_plain);
    let Some((uri, origin)) = parsed.and_then(|uri| Origin::of(&uri).map(|origin| (uri, origin)))
    else {
        return Err("is no plain http(s) URL");
    };
    if origin.is_for_browsers() || is_granted(&origin) {
        return Ok(uri);
    }

    Err("leads neither to an https site nor to a granted origin")
}

/// Checks where a browser goes to sign out at the identity provider.
pub(crate) fn sign_out_url(
    answer: Result<Option<String>, ProviderError>,
    access_token: &str,
    is_granted: impl Fn(&Origin) -> bool,
) -> Result<Option<String>, ProviderFault> {
    let Some(url) =
        answer.map_err(|ProviderError::Unavailable(why)| unavailable(access_token, &why))?
    else {
        return Ok(None);
    };
    match for_browsers(&url, is_granted) {
        Ok(_) => Ok(Some(url)),
        Err(why) => Err(ProviderFault::Malformed(format!("the sign-out URL {why}"))),
    }
}

/// Whose sessions a logout token ends. A user id that no session can have ends none.
pub(crate) fn logout_verdict(
    answer: Result<Ended, LogoutError>,
    token: &str,
) -> Result<LogoutVerdict, ProviderFault> {
    match answer {
        Ok(Ended::Noted) => Ok(LogoutVerdict::Noted),
        Ok(Ended::Person(user_id)) if repeats(token, &user_id) => Err(ProviderFault::Malformed(
            "the user id repeats the logout token".into(),
        )),
        Ok(Ended::Person(user_id)) => Ok(match SessionClaims::is_user_id(&user_id) {
            true => LogoutVerdict::Person(user_id),
            false => {
                LogoutVerdict::Invalid("it is about a user id that no session can have".to_owned())
            }
        }),
        Err(LogoutError::InvalidToken(why)) => {
            Ok(LogoutVerdict::Invalid(words_without(token, &why)))
        }
        Err(LogoutError::Unavailable(why)) => Err(unavailable(token, &why)),
    }
}

pub(crate) fn code_verdict(
    answer: Result<SessionRecord, CodeError>,
    code: &str,
    now: u64,
) -> Result<CodeVerdict, ProviderFault> {
    match answer {
        Ok(session) => Ok(match claims(session, code, now)? {
            Ok(claims) => CodeVerdict::SignedIn(claims),
            Err(bad) => CodeVerdict::Unusable(bad.to_string()),
        }),
        Err(CodeError::InvalidCode(why)) => Ok(CodeVerdict::InvalidCode(words_without(code, &why))),
        Err(CodeError::Unavailable(why)) => Err(unavailable(code, &why)),
    }
}

pub(crate) fn refresh_verdict(
    answer: Result<SessionRecord, RefreshError>,
    refresh_token: &str,
    now: u64,
) -> Result<RefreshVerdict, ProviderFault> {
    match answer {
        Ok(session) => Ok(match claims(session, refresh_token, now)? {
            Ok(claims) => RefreshVerdict::Refreshed(claims),
            Err(bad) => RefreshVerdict::Unusable(bad.to_string()),
        }),
        Err(RefreshError::Expired) => Ok(RefreshVerdict::Expired),
        Err(RefreshError::Unavailable(why)) => Err(unavailable(refresh_token, &why)),
    }
}

fn unavailable(credential: &str, why: &str) -> ProviderFault {
    ProviderFault::Unavailable(words_without(credential, why))
}

/// What is written to logs of a session.
fn names(session: &SessionRecord) -> [&str; 4] {
    [
        &session.user_id,
        &session.email,
        &session.display_name,
        &session.org_id,
    ]
}

/// Checks the session: either claims that the host can use, or why it cannot use what the provider
/// knows of this person.
///
/// # Errors
/// A name repeats a credential (`presented`, or a token of the session), or a token is over its
/// size.
fn claims(
    session: SessionRecord,
    presented: &str,
    now: u64,
) -> Result<Result<CheckedClaims, BadSession>, ProviderFault> {
    let credentials = [presented, &session.access_token, &session.refresh_token];
    let names = names(&session);
    if credentials
        .iter()
        .any(|credential| names.iter().any(|name| repeats(credential, name)))
    {
        return Err(ProviderFault::Malformed(
            "a name in the session repeats a credential".into(),
        ));
    }

    let said = session.groups.len();
    let groups = without_credentials(session.groups, &credentials);
    let claims = SessionClaims {
        groups,
        user_id: session.user_id,
        email: session.email,
        display_name: session.display_name,
        org_id: session.org_id,
        expires_at: session.expires_at,
        access_token: Zeroizing::new(session.access_token),
        refresh_token: Zeroizing::new(session.refresh_token),
    };

    match claims.checked(now) {
        Ok(claims) => {
            log_dropped(said - claims.groups.len());
            Ok(Ok(claims))
        }
        Err(bad) if bad.is_of_the_person() => Ok(Err(bad)),
        Err(bad) => Err(ProviderFault::Malformed(bad.to_string())),
    }
}

/// Groups go to applications and into headers: one that repeats a credential is dropped.
fn without_credentials(mut groups: Vec<String>, credentials: &[&str]) -> Vec<String> {
    groups.retain(|group| {
        !credentials
            .iter()
            .any(|credential| repeats(credential, group))
    });
    groups
}

fn log_dropped(groups: usize) {
    if groups > 0 {
        tracing::debug!(groups, "groups that cannot be used were dropped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "0123456789abcdef";

    #[test]
    fn browsers_sign_out_where_they_may_sign_in() {
        let url = |url: &str| sign_out_url(Ok(Some(url.to_owned())), "", |_| false);
        let good = "https://idp.example.com/logout?client_id=a";
        assert_eq!(url(good), Ok(Some(good.to_owned())));
        assert_eq!(sign_out_url(Ok(None), "", |_| false), Ok(None));
        for bad in [
            "http://idp.example.com/logout",
            "javascript:alert(1)",
            "/logout",
            "https://idp/\r\nx: y",
        ] {
            assert!(
                matches!(url(bad), Err(ProviderFault::Malformed(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn logout_token_ends_sessions_of_a_user_id_that_sessions_can_have() {
        let of =
            |user: &str| logout_verdict(Ok(Ended::Person(user.to_owned())), "the-logout-token");
        assert_eq!(of("ada"), Ok(LogoutVerdict::Person("ada".to_owned())));
        for odd in ["", " ada", "a\nb", "a\u{202e}b", &*"x".repeat(257)] {
            assert!(matches!(of(odd), Ok(LogoutVerdict::Invalid(_))), "{odd}");
        }
        assert!(matches!(
            of("the-logout-token"),
            Err(ProviderFault::Malformed(_))
        ));
    }

    fn may_be_sent_to(url: &str) -> bool {
        let granted = Origin::parse("http://idp.internal:8080").unwrap();
        login_url(Ok(url.to_owned()), STATE, |origin| *origin == granted).is_ok()
    }

    #[test]
    fn browsers_are_sent_to_https_sites_and_granted_origins_alone() {
        for good in [
            "https://idp.example.com/authorize?client_id=a&state=0123456789abcdef",
            "https://idp.example.com:8443/a?state=0123456789abcdef&x=y",
            "http://localhost:9000/a?state=0123456789abcdef",
            "http://127.0.0.1:9000/a?state=0123456789abcdef",
            "http://[::1]:9000/a?state=0123456789abcdef",
            "http://idp.internal:8080/a?state=0123456789abcdef",
        ] {
            assert!(may_be_sent_to(good), "{good}");
        }

        for bad in [
            "http://idp.example.com/a?state=0123456789abcdef",
            "http://idp.internal:8081/a?state=0123456789abcdef",
            "http://169.254.169.254/a?state=0123456789abcdef",
            "https://169.254.169.254/a?state=0123456789abcdef",
            "https://10.0.0.1/a?state=0123456789abcdef",
            "https://[fd00:ec2::254]/a?state=0123456789abcdef",
            "http://localhost.evil.test/a?state=0123456789abcdef",
            "https://idp.example.com/a?state=0123456789abcdef&state=evil",
            "https://idp.example.com/a?state=evil&state=0123456789abcdef",
            "https://idp.example.com/a?state=0123456789abcdef&state",
            "https://idp.example.com/a",
            "https://idp.example.com/a?nonstate=0123456789abcdef",
            "https://idp.example.com/é?state=0123456789abcdef",
            "https://idp.example.com/a b?state=0123456789abcdef",
            "https://idp.example.com/a?state=0123456789abcdef#state=evil",
            "https://user@idp.example.com/a?state=0123456789abcdef",
            "https://idp.example.com:+443/a?state=0123456789abcdef",
            "javascript:alert(1)?state=0123456789abcdef",
            "//idp.example.com/a?state=0123456789abcdef",
        ] {
            assert!(!may_be_sent_to(bad), "{bad}");
        }
    }

    fn session(user_id: &str, display_name: &str) -> SessionRecord {
        SessionRecord {
            user_id: user_id.to_owned(),
            email: String::new(),
            display_name: display_name.to_owned(),
            org_id: String::new(),
            expires_at: 2_000,
            access_token: "access-token-1".to_owned(),
            refresh_token: "refresh-token-1".to_owned(),
            groups: vec![
                "staff".to_owned(),
                "of-access-token-1".to_owned(),
                "\n".to_owned(),
            ],
        }
    }

    #[test]
    fn session_that_repeats_a_credential_is_refused() {
        let verdict = |user: &str, name: &str| {
            let said =
                password_verdict(Ok(session(user, name)), "alice", "plain-canary-8642", 1_000);
            matches!(said, Ok(PasswordVerdict::SignedIn(_)))
        };
        assert!(verdict("alice", "Alice"));
        for leaked in [
            "plain-canary-8642",
            "x plain-canary-8642 y",
            "access-token-1",
            "the refresh-token-1",
        ] {
            assert!(!verdict(leaked, "Alice"), "{leaked}");
            assert!(!verdict("alice", leaked), "{leaked}");
        }
        let same = password_verdict(
            Ok(session("alexander", "")),
            "alexander",
            "alexander",
            1_000,
        );
        assert!(
            matches!(same, Ok(PasswordVerdict::SignedIn(_))),
            "a bad password is still a password"
        );
    }

    #[test]
    fn what_a_person_is_called_is_no_fault_of_the_provider() {
        let sign_in = |user: &str, name: &str| {
            password_verdict(Ok(session(user, name)), "alice", "alice@example.com", 1_000)
        };

        let long = "x".repeat(257);
        for (user, name) in [
            ("", "Alice"),
            ("al\u{200b}ice", "Alice"),
            ("alice ", "Alice"),
            ("alice", long.as_str()),
            // The password of her own address.
            ("alice@example.com", "Alice"),
        ] {
            assert!(
                matches!(sign_in(user, name), Ok(PasswordVerdict::Unusable(_))),
                "{user:?}, {name:?}"
            );
        }

        for now in [2_000, 3_000] {
            let said = code_verdict(Ok(session("alice", "Alice")), "code", now);
            assert!(matches!(said, Ok(CodeVerdict::Unusable(_))), "{now}");
            let said = refresh_verdict(Ok(session("alice", "Alice")), "token", now);
            assert!(matches!(said, Ok(RefreshVerdict::Unusable(_))), "{now}");
            let said = session_verdict(Ok(Some(session("alice", "Alice"))), "token", now);
            assert!(matches!(said, Ok(SessionVerdict::Unusable(_))), "{now}");
        }
    }

    #[test]
    fn groups_that_cannot_be_used_are_dropped_and_keep_no_one_out() {
        let Ok(CodeVerdict::SignedIn(claims)) =
            code_verdict(Ok(session("alice", "Alice")), "code", 1_000)
        else {
            panic!("she is signed in");
        };
        assert_eq!(claims.groups, ["staff"]);
        let groups = ["staff", "of-a-bearer-token", " "]
            .map(str::to_owned)
            .into();
        let principal = PrincipalRecord {
            principal: "bot".into(),
            scopes: Vec::new(),
            groups,
        };
        let Ok(TokenVerdict::Recognized(claims)) =
            token_verdict(Ok(Some(principal)), "a-bearer-token")
        else {
            panic!("it is recognised");
        };
        assert_eq!(claims.groups(), ["staff"]);
    }

    #[test]
    fn what_the_provider_alone_makes_is_its_fault() {
        let mut large = session("alice", "Alice");
        large.access_token = "x".repeat(9_000);
        assert!(matches!(
            code_verdict(Ok(large), "code", 1_000),
            Err(ProviderFault::Malformed(_))
        ));
        let leaks = session("access-token-1", "Alice");
        assert!(matches!(
            code_verdict(Ok(leaks), "code", 1_000),
            Err(ProviderFault::Malformed(_))
        ));

        let token = |principal: &str, scope: &str| {
            let (scopes, groups) = (vec![scope.into()], Vec::new());
            let principal = PrincipalRecord {
                principal: principal.into(),
                scopes,
                groups,
            };
            token_verdict(Ok(Some(principal)), "a-bearer-token")
        };
        assert!(matches!(
            token("bot", "read"),
            Ok(TokenVerdict::Recognized(_))
        ));
        assert!(matches!(
            token(" bot", "read"),
            Ok(TokenVerdict::Unusable(_))
        ));
        // Its scopes stand in the caller's token.
        assert!(matches!(
            token("bot", "two words"),
            Ok(TokenVerdict::Unusable(_))
        ));
        assert!(matches!(
            token("x a-bearer-token", "read"),
            Err(ProviderFault::Malformed(_))
        ));
    }
}
