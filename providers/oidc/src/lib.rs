//! Sign-in at any OpenID Connect issuer, found by discovery (OpenID Connect Core and Discovery 1.0).
//!
//! The host makes state, nonce and PKCE verifier; this provider builds the URL, redeems the code, and checks the ID
//! token. The sessions are its own (`session-tokens`), so that no ID token ever lies in a browser. Settings are in
//! `settings.rs`; it needs `grants.http` for the issuer and `grants.keyvalue`. A client secret is no setting: the host
//! adds it as a header (`grants.http[].headers`), and it never enters the sandbox.

mod issuer;
mod settings;

use issuer::{Exchange, Issuer};
use jwt_keys::{Claims, TokenError};
use portcullis_guest::{
    CodeError, Host, LoginRequest, LoginResponse, Provider, RedirectSignIn, Refresh, RefreshError, Session,
    TokenPrincipal, Unavailable,
};
use session_tokens::{Ends, MAX_REFRESH_SECONDS, Notes, Signer, keep_key, kept_key};
use settings::Settings;

/// The provider.
pub struct Oidc;

/// What a call works with.
struct Outside<'a> {
    host: &'a dyn Host,
    settings: Settings,
}

impl<'a> Outside<'a> {
    fn new(host: &'a dyn Host) -> Result<Self, Unavailable> {
        // An operator whose settings are wrong was told when the provider was loaded.
        let settings = Settings::read(host).map_err(Unavailable)?;
        Ok(Self { host, settings })
    }

    fn issuer(&self) -> Issuer<'_> {
        Issuer { settings: &self.settings, host: self.host }
    }

    fn key(&self) -> Result<Option<Vec<u8>>, Unavailable> {
        kept_key(self.host.bucket())
    }

    fn keep_key(&self) -> Result<Vec<u8>, Unavailable> {
        keep_key(self.host.bucket(), self.host.now())
    }

    fn signer<'b>(&'b self, key: &'b [u8]) -> Signer<'b> {
        Signer { key, bucket: self.host.bucket(), now: self.host.now() }
    }

    /// The access token ends with the ID token, or with what was said to expire where there is none.
    fn ends(&self, expires_at: u64, is_refreshable: bool) -> Ends {
        // No longer than the bucket remembers that a session is over.
        let longest = self.host.now() + MAX_REFRESH_SECONDS;
        let access = expires_at.saturating_add(self.settings.leeway).min(longest);
        Ends { access, refresh: is_refreshable.then(|| self.host.now() + MAX_REFRESH_SECONDS) }
    }
}

impl Provider for Oidc {
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
        verify(&Outside::new(host)?, access_token)
    }
}

impl RedirectSignIn for Oidc {
    fn start_login(host: &dyn Host, request: &LoginRequest) -> Result<String, Unavailable> {
        Outside::new(host)?.issuer().authorization_url(request)
    }

    fn complete_login(host: &dyn Host, response: &LoginResponse) -> Result<Session, CodeError> {
        complete(&Outside::new(host)?, response)
    }
}

impl Refresh for Oidc {
    fn refresh_session(host: &dyn Host, refresh_token: &str) -> Result<Session, RefreshError> {
        refresh(&Outside::new(host)?, refresh_token)
    }

    fn revoke_session(host: &dyn Host, refresh_token: &str) {
        if let Ok(outside) = Outside::new(host) {
            let _ = revoke(&outside, refresh_token);
        }
    }
}

fn invalid(error: TokenError) -> CodeError {
    match error {
        TokenError::Unavailable(why) => CodeError::Unavailable(why),
        wrong => CodeError::InvalidCode(wrong.to_string()),
    }
}

fn complete(outside: &Outside<'_>, response: &LoginResponse) -> Result<Session, CodeError> {
    let issuer = outside.issuer();
    issuer.check_response(response)?;
    let tokens = match issuer.redeem(response)? {
        Exchange::Tokens(tokens) => tokens,
        Exchange::Refused(why) => return Err(CodeError::InvalidCode(why)),
    };
    let id_token = tokens.id_token.as_deref();
    let id_token =
        id_token.ok_or_else(|| CodeError::InvalidCode("no ID token came for the code".to_owned()))?;
    let claims = issuer.check(id_token).map_err(invalid)?;
    if claims.text("nonce") != response.nonce {
        return Err(CodeError::InvalidCode("the ID token has another nonce".to_owned()));
    }
    let person = outside.settings.person(&claims).map_err(CodeError::InvalidCode)?;
    let notes = Notes { both: outside.settings.mark(), refresh: tokens.refresh_token.unwrap_or_default() };
    let ends = outside.ends(expiry(&claims), !notes.refresh.is_empty());
    let key = outside.keep_key()?;
    Ok(outside.signer(&key).open(person, notes, ends)?)
}

fn expiry(claims: &Claims) -> u64 {
    claims.time("exp").unwrap_or_default()
}

fn verify(outside: &Outside<'_>, access_token: &str) -> Result<Option<Session>, Unavailable> {
    let Some(key) = outside.key()? else { return Ok(None) };
    let checked = outside.signer(&key).verify(access_token)?;
    let checked = checked.filter(|checked| checked.notes.both == outside.settings.mark());
    Ok(checked.map(|checked| checked.into_session(access_token.to_owned(), String::new())))
}

fn refresh(outside: &Outside<'_>, refresh_token: &str) -> Result<Session, RefreshError> {
    let key = outside.key()?.ok_or(RefreshError::Expired)?;
    let signer = outside.signer(&key);
    // Spent only when the issuer has answered: an outage must not cost anyone their session.
    let mut checked = signer.look_at(refresh_token)?;
    // Another issuer must never see this one's token.
    if checked.notes.both != outside.settings.mark() {
        return Err(RefreshError::Expired);
    }
    let issuer = outside.issuer();
    let tokens = match issuer.refresh(&checked.notes.refresh)? {
        Exchange::Tokens(tokens) => tokens,
        Exchange::Refused(_) => return Err(RefreshError::Expired),
    };
    let expires_at = match &tokens.id_token {
        Some(id_token) => {
            let claims = issuer.check(id_token).map_err(refused)?;
            let person = outside.settings.person(&claims).map_err(|_| RefreshError::Expired)?;
            if person.user_id != checked.person.user_id {
                return Err(RefreshError::Expired);
            }
            checked.person = person;
            expiry(&claims)
        }
        // An issuer need not send one (OpenID Connect Core, section 12.2): the person is who it was.
        None => outside.host.now() + tokens.expires_in.unwrap_or(DEFAULT_EXPIRES_IN),
    };
    // Without a new one, the old one goes on (RFC 6749, section 6).
    if let Some(rotated) = tokens.refresh_token {
        checked.notes.refresh = rotated;
    }
    outside.keep_key()?;
    Ok(signer.renew(signer.spend(checked)?, outside.ends(expires_at, true))?)
}

/// What an access token lives for that does not say, in seconds.
const DEFAULT_EXPIRES_IN: u64 = 300;

fn refused(error: TokenError) -> RefreshError {
    match error {
        TokenError::Invalid(_) | TokenError::UnknownKey => RefreshError::Expired,
        TokenError::Unavailable(why) => RefreshError::Unavailable(why),
    }
}

/// Here and at the issuer, whatever becomes of the other.
fn revoke(outside: &Outside<'_>, refresh_token: &str) -> Result<(), Unavailable> {
    let Some(key) = outside.key()? else { return Ok(()) };
    let signer = outside.signer(&key);
    let Ok(checked) = signer.look_at(refresh_token) else { return Ok(()) };
    let ended_here = signer.revoke(refresh_token).map(drop);
    if checked.notes.both == outside.settings.mark() {
        outside.issuer().revoke(&checked.notes.refresh)?;
    }
    ended_here
}

portcullis_guest::export!(Oidc);
