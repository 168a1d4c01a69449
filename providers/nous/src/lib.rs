//! Sign-in at the Nous Portal: OAuth 2.0 (RFC 6749) with PKCE (RFC 7636), without OpenID Connect.
//!
//! There is no discovery document, no ID token and no nonce: PKCE binds the code, and the access
//! token is a JSON Web Token that names the person. The sessions are the provider's own
//! (`session-tokens`), so that no token of the portal lies in a browser. Settings are in
//! `settings.rs`; it needs `grants.http` for the portal and `grants.keyvalue`.

mod portal;
mod settings;

use jwt_keys::{ClaimsSet, TokenError};
use portal::{Portal, TokenResponse, person_of};
use portcullis_guest::{
    CodeError, Host, LoginRequest, LoginResponse, Provider, RedirectSignIn, Refresh, RefreshError,
    Session, TokenPrincipal, Unavailable,
};
use session_tokens::{Ends, MAX_REFRESH_SECONDS, Notes, Signer, keep_key, kept_key};
use settings::Settings;

/// Signs people in at the Nous Portal.
pub struct Nous;

/// What a call works with.
struct CallContext<'a> {
    host: &'a dyn Host,
    settings: Settings,
}

impl<'a> CallContext<'a> {
    fn new(host: &'a dyn Host) -> Result<Self, Unavailable> {
        // The operator read about wrong settings when the provider was loaded.
        let settings = Settings::read(host).map_err(Unavailable)?;
        Ok(Self { host, settings })
    }

    fn portal(&self) -> Portal<'_> {
        Portal {
            settings: &self.settings,
            host: self.host,
        }
    }

    fn signer<'b>(&'b self, key: &'b [u8]) -> Signer<'b> {
        Signer {
            key,
            bucket: self.host.bucket(),
            now: self.host.now(),
        }
    }

    fn key(&self) -> Result<Option<Vec<u8>>, Unavailable> {
        kept_key(self.host.bucket())
    }

    /// The session's access token ends with the portal's: a second from now at the earliest, since
    /// a token may be over by our clock and not by the portal's, and before the bucket forgets that
    /// the session was ended.
    fn ends(&self, claims: &ClaimsSet, is_refreshable: bool) -> Ends {
        let now = self.host.now();
        let longest = now + MAX_REFRESH_SECONDS;
        let access = claims
            .time("exp")
            .unwrap_or_default()
            .clamp(now + 1, longest);
        Ends {
            access,
            refresh: is_refreshable.then_some(longest),
        }
    }
}

impl Provider for Nous {
    fn check_settings(host: &dyn Host) -> Result<(), String> {
        Settings::read(host).map(drop)
    }

    fn supports_token(_: &dyn Host) -> bool {
        false
    }

    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(None)
    }

    fn verify_session(host: &dyn Host, access_token: &str) -> Result<Option<Session>, Unavailable> {
        verify(&CallContext::new(host)?, access_token)
    }
}

impl RedirectSignIn for Nous {
    fn start_login(host: &dyn Host, request: &LoginRequest) -> Result<String, Unavailable> {
        Ok(CallContext::new(host)?.portal().authorization_url(request))
    }

    fn complete_login(host: &dyn Host, response: &LoginResponse) -> Result<Session, CodeError> {
        complete(&CallContext::new(host)?, response)
    }
}

impl Refresh for Nous {
    fn refresh_session(host: &dyn Host, refresh_token: &str) -> Result<Session, RefreshError> {
        refresh(&CallContext::new(host)?, refresh_token)
    }

    /// Ends the session here. The portal has no endpoint that revokes a refresh token.
    fn revoke_session(host: &dyn Host, refresh_token: &str) {
        if let Ok(context) = CallContext::new(host) {
            let _ = revoke(&context, refresh_token);
        }
    }
}

fn complete(context: &CallContext<'_>, response: &LoginResponse) -> Result<Session, CodeError> {
    let portal = context.portal();
    portal.check_response(response)?;
    let (access_token, refresh_token) = match portal.redeem(response)? {
        TokenResponse::Tokens {
            access_token,
            refresh_token,
        } => (access_token, refresh_token),
        TokenResponse::Refused(why) => return Err(CodeError::InvalidCode(why)),
    };

    let claims = portal.check(&access_token).map_err(not_believed)?;
    let person = person_of(&claims).map_err(CodeError::InvalidCode)?;
    let ends = context.ends(&claims, !refresh_token.is_empty());
    let notes = Notes {
        both: context.settings.mark(),
        refresh: refresh_token,
    };
    let key = keep_key(context.host.bucket(), context.host.now())?;

    Ok(context.signer(&key).open(person, notes, ends)?)
}

fn not_believed(error: TokenError) -> CodeError {
    match error {
        TokenError::Unavailable(why) => CodeError::Unavailable(why),
        other => CodeError::InvalidCode(other.to_string()),
    }
}

fn verify(context: &CallContext<'_>, access_token: &str) -> Result<Option<Session>, Unavailable> {
    let Some(key) = context.key()? else {
        return Ok(None);
    };
    let checked = context.signer(&key).verify(access_token)?;
    let checked = checked.filter(|checked| checked.notes.both == context.settings.mark());
    Ok(checked.map(|checked| checked.into_session(access_token.to_owned(), String::new())))
}

fn refresh(context: &CallContext<'_>, refresh_token: &str) -> Result<Session, RefreshError> {
    let key = context.key()?.ok_or(RefreshError::Expired)?;
    let signer = context.signer(&key);
    // Spent only when the portal has answered: an outage must not end a session.
    let mut checked = signer.look_at(refresh_token)?;
    // Another portal must never see this one's token.
    if checked.notes.both != context.settings.mark() {
        return Err(RefreshError::Expired);
    }

    let portal = context.portal();
    let (access_token, rotated) = match portal.refresh(&checked.notes.refresh)? {
        TokenResponse::Tokens {
            access_token,
            refresh_token,
        } => (access_token, refresh_token),
        TokenResponse::Refused(_) => return Err(RefreshError::Expired),
    };

    let claims = portal.check(&access_token).map_err(over)?;
    let person = person_of(&claims).map_err(|_| RefreshError::Expired)?;
    if person.user_id != checked.person.user_id {
        return Err(RefreshError::Expired);
    }

    checked.person = person;
    // Without a new one, the old one stays good (RFC 6749, section 6).
    if !rotated.is_empty() {
        checked.notes.refresh = rotated;
    }

    keep_key(context.host.bucket(), context.host.now())?;
    Ok(signer.renew(signer.spend(checked)?, context.ends(&claims, true))?)
}

fn over(error: TokenError) -> RefreshError {
    match error {
        TokenError::Invalid(_) | TokenError::UnknownKey => RefreshError::Expired,
        TokenError::Unavailable(why) => RefreshError::Unavailable(why),
    }
}

fn revoke(context: &CallContext<'_>, refresh_token: &str) -> Result<(), Unavailable> {
    let Some(key) = context.key()? else {
        return Ok(());
    };
    context.signer(&key).revoke(refresh_token).map(drop)
}

portcullis_guest::export!(Nous);

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockHost;
    use session_tokens::Person;

    const TOKEN_URL: &str = "https://portal.test/api/oauth/token";

    fn host() -> MockHost {
        let host = MockHost::default().at(1_000);
        host.with_setting("portal_url", "https://portal.test")
            .with_setting("client_id", "agent:7")
    }

    fn redeem(host: &MockHost, issuer: Option<&str>) -> Result<Session, CodeError> {
        let response = LoginResponse {
            code: "c".into(),
            issuer: issuer.map(str::to_owned),
            ..LoginResponse::default()
        };
        Nous::complete_login(host, &response)
    }

    /// The refresh token of a session that was opened with the portal's token `rt-1`.
    fn session(host: &MockHost) -> String {
        let context = CallContext::new(host).unwrap();
        let key = keep_key(host.bucket(), host.now()).unwrap();
        let notes = Notes {
            both: context.settings.mark(),
            refresh: "rt-1".into(),
        };
        let person = Person {
            user_id: "ada".into(),
            ..Person::default()
        };
        let ends = Ends {
            access: 1_100,
            refresh: Some(9_000),
        };
        context
            .signer(&key)
            .open(person, notes, ends)
            .unwrap()
            .refresh_token
    }

    #[test]
    fn browser_is_sent_to_the_portal_without_a_nonce() {
        let request = LoginRequest {
            redirect_uri: "https://a.test/auth/callback".into(),
            state: "s".into(),
            nonce: "n".into(),
            code_challenge: "h".into(),
        };
        let url = Nous::start_login(&host(), &request).unwrap();
        assert_eq!(
            url,
            "https://portal.test/oauth/authorize?response_type=code&client_id=agent%3A7\
             &redirect_uri=https%3A%2F%2Fa.test%2Fauth%2Fcallback&scope=agent_dashboard%3Aaccess&code_challenge=h\
             &code_challenge_method=S256&state=s"
        );
    }

    #[test]
    fn refused_code_is_invalid_and_an_outage_is_none_of_it() {
        for (status, body, is_refusal) in [
            (400, r#"{"error":"invalid_grant"}"#, true),
            (400, "", true),
            (401, r#"{"error":"invalid_client"}"#, true),
            (404, "<html>", true),
            (200, r#"{"access_token":"a.b.c"}"#, true),
            (200, r#"{"access_token":"a.b.c","token_type":"DPoP"}"#, true),
            (200, "{}", false),
            (200, "<html>", false),
            (302, "", false),
            (408, "", false),
            (429, "", false),
            (500, r#"{"error":"invalid_grant"}"#, false),
            (503, "", false),
        ] {
            let answer = redeem(&host().with_answer(TOKEN_URL, status, body), None);
            assert_eq!(
                matches!(answer, Err(CodeError::InvalidCode(_))),
                is_refusal,
                "{status} {body}: {answer:?}"
            );
            assert!(answer.is_err());
        }
        assert!(
            matches!(redeem(&host(), None), Err(CodeError::Unavailable(_))),
            "no answer"
        );
    }

    #[test]
    fn answer_of_another_issuer_is_redeemed_nowhere() {
        let host = host();
        assert!(matches!(
            redeem(&host, Some("https://other.test")),
            Err(CodeError::InvalidCode(_))
        ));
        assert!(host.http.requests().is_empty());
        let _ = redeem(&host, Some("https://portal.test/"));
        assert_eq!(host.http.requests().len(), 1);
    }

    #[test]
    fn refresh_token_is_sent_in_the_body_and_in_the_header() {
        let host = host().with_answer(TOKEN_URL, 503, "");
        let _ = Nous::refresh_session(&host, &session(&host));
        let requests = host.http.requests();
        let [request] = &requests[..] else {
            panic!("one request")
        };
        let body = String::from_utf8_lossy(&request.body.as_ref().unwrap().bytes).into_owned();
        assert_eq!(
            body,
            "grant_type=refresh_token&refresh_token=rt-1&client_id=agent%3A7"
        );
        assert_eq!(
            request.headers,
            [("x-nous-refresh-token".to_owned(), "rt-1".to_owned())]
        );
    }

    #[test]
    fn session_is_over_when_the_portal_refuses_and_survives_an_outage() {
        for (status, is_over) in [
            (400, true),
            (401, true),
            (403, true),
            (408, false),
            (429, false),
            (500, false),
            (200, false),
        ] {
            let host = host().with_answer(TOKEN_URL, status, "");
            let token = session(&host);
            for round in 0..2 {
                let outcome = Nous::refresh_session(&host, &token);
                assert_eq!(
                    outcome == Err(RefreshError::Expired),
                    is_over,
                    "{status}, {round}: {outcome:?}"
                );
                assert!(outcome.is_err());
            }
        }
    }

    #[test]
    fn session_ends_here_when_it_is_revoked_and_with_the_client() {
        let host = host();
        let token = session(&host);
        let moved = host.clone().with_setting("client_id", "agent:8");
        assert_eq!(
            Nous::refresh_session(&moved, &token),
            Err(RefreshError::Expired)
        );
        assert!(
            moved.http.requests().is_empty(),
            "another client's token is not sent"
        );
        Nous::revoke_session(&host, &token);
        assert_eq!(
            Nous::refresh_session(&host, &token),
            Err(RefreshError::Expired)
        );
    }
}
