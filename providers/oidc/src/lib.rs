//! Sign-in at any OpenID Connect issuer, found by discovery (OpenID Connect Core and Discovery
//! 1.0), and at an OAuth 2.0 server whose endpoints are configured.
//!
//! The host makes state, nonce and PKCE verifier; this provider builds the URL, redeems the code,
//! and checks the ID token. The sessions are its own (`session-tokens`), so that no ID token lies
//! in a cookie. A sign-out at the issuer brings one there by the browser. Settings are in
//! `settings.rs`; it needs `grants.http` for the issuer and `grants.keyvalue`.
//!
//! **Invariant:** what an issuer or a person sends refuses that person, or is an outage; it is
//! never a fault of the provider.

mod client;
mod endpoints;
mod id_tokens;
mod issuer;
mod kept_tokens;
mod logout;
mod people;
mod settings;
#[cfg(test)]
mod tests;
mod tokens;

use id_tokens::IdTokens;
use issuer::Issuer;
use jwt_keys::{ClaimsSet, TokenError};
use kept_tokens::{KeptTokens, Owner};
use people::PersonRules;
use portcullis_guest::{
    CodeError, Host, LoginRequest, LoginResponse, Provider, RedirectSignIn, Refresh, RefreshError,
    Session, TokenPrincipal, Unavailable,
};
use session_tokens::{
    Checked, Ends, MAX_REFRESH_SECONDS, Notes, Person, Signer, keep_key, kept_key,
};
use settings::{Settings, Userinfo};
use tokens::{TokenResponse, Tokens};

/// Signs people in at an OpenID Connect issuer.
pub struct Oidc;

/// What an access token lives for that does not say, in seconds.
const DEFAULT_EXPIRES_IN: u64 = 300;
/// What a session lives for where the issuer sends neither an ID token nor an end, in seconds: half
/// a day.
const ENDLESS_EXPIRES_IN: u64 = 12 * 3600;
/// A session that begins or is renewed lives at least so long, in seconds: the host refuses one
/// that is over already.
const SHORTEST_SECONDS: u64 = 2;

/// What a call works with.
struct CallContext<'a> {
    host: &'a dyn Host,
    settings: Settings,
}

impl<'a> CallContext<'a> {
    fn new(host: &'a dyn Host) -> Result<Self, Unavailable> {
        // Settings that are wrong refuse the provider when it is loaded.
        let settings = Settings::read(host).map_err(Unavailable)?;
        Ok(Self { host, settings })
    }

    fn issuer(&self) -> Issuer<'_> {
        Issuer {
            settings: &self.settings,
            host: self.host,
        }
    }

    fn key(&self) -> Result<Option<Vec<u8>>, Unavailable> {
        kept_key(self.host.bucket())
    }

    fn keep_key(&self) -> Result<Vec<u8>, Unavailable> {
        keep_key(self.host.bucket(), self.host.now())
    }

    fn signer<'b>(&'b self, key: &'b [u8]) -> Signer<'b> {
        Signer {
            key,
            bucket: self.host.bucket(),
            now: self.host.now(),
        }
    }

    fn kept_tokens(&self) -> KeptTokens<'_> {
        KeptTokens {
            bucket: self.host.bucket(),
            now: self.host.now(),
        }
    }

    fn id_tokens(&self) -> IdTokens<'_> {
        IdTokens {
            bucket: self.host.bucket(),
        }
    }

    /// Forgets what the bucket keeps for a session that is over.
    fn forget(&self, notes: &Notes) {
        self.kept_tokens().forget(&notes.refresh);
        self.forget_hint(&notes.both);
    }

    /// The access token ends with the ID token, or with what was said to expire where there is
    /// none.
    fn ends(&self, expires_at: u64, is_refreshable: bool) -> Ends {
        let now = self.host.now();
        // No longer than the bucket remembers that a session is over.
        let longest = now + MAX_REFRESH_SECONDS;
        let access = expires_at
            .saturating_add(self.settings.leeway)
            .clamp(now + SHORTEST_SECONDS, longest);
        Ends {
            access,
            refresh: is_refreshable.then_some(longest),
        }
    }

    /// The claims of an ID token with what the userinfo endpoint adds to them.
    fn described(&self, claims: ClaimsSet, tokens: &Tokens) -> Result<Described, TokenError> {
        let is_asked = match self.settings.userinfo {
            _ if self.settings.has_no_id_token() => true,
            Userinfo::Always => true,
            Userinfo::Auto => self.settings.people.lack(&claims),
            Userinfo::Never => false,
        };
        if !is_asked {
            return Ok(Described { claims, gap: None });
        }

        let is_needed =
            self.settings.has_no_id_token() || self.settings.userinfo == Userinfo::Always;
        match self.issuer().userinfo(&tokens.access_token) {
            Ok(Some(userinfo)) => Ok(Described {
                claims: joined(&self.settings.people, claims, userinfo)?,
                gap: None,
            }),
            Ok(None) if is_needed => Err(TokenError::Invalid(
                "the issuer has no userinfo endpoint".to_owned(),
            )),
            Ok(None) => Ok(Described { claims, gap: None }),
            Err(gap) if is_needed => Err(gap),
            Err(gap) => Ok(Described {
                claims,
                gap: Some(gap),
            }),
        }
    }
}

/// What the issuer says of a person.
struct Described {
    claims: ClaimsSet,
    /// Why the userinfo endpoint added nothing, although it was asked.
    gap: Option<TokenError>,
}

impl Described {
    /// The person, if that one may sign in.
    fn person(&self, settings: &Settings) -> Result<Person, TokenError> {
        settings
            .people
            .person(&self.claims)
            .map_err(|why| match &self.gap {
                None => TokenError::Invalid(why),
                Some(TokenError::Unavailable(gap)) => {
                    TokenError::Unavailable(format!("{why}; {gap}"))
                }
                Some(gap) => TokenError::Invalid(format!("{why}; {gap}")),
            })
    }
}

/// OpenID Connect Core, section 5.3.2: what is about another subject must not be used.
fn joined(
    rules: &PersonRules,
    mut claims: ClaimsSet,
    userinfo: ClaimsSet,
) -> Result<ClaimsSet, TokenError> {
    let subject = claims.only("sub");
    if subject.is_some() && userinfo.only("sub") != subject {
        return Err(TokenError::Invalid(
            "userinfo is about another subject".to_owned(),
        ));
    }
    rules.add(&mut claims, userinfo);
    Ok(claims)
}

impl Provider for Oidc {
    fn check_settings(host: &dyn Host) -> Result<(), String> {
        let settings = Settings::read(host)?;
        settings.client.check()?;
        // The provider was loaded, perhaps since an operator asked for a reload: what is kept may
        // be of before.
        Issuer {
            settings: &settings,
            host,
        }
        .doubt();
        Ok(())
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

impl RedirectSignIn for Oidc {
    fn start_login(host: &dyn Host, request: &LoginRequest) -> Result<String, Unavailable> {
        CallContext::new(host)?.issuer().authorization_url(request)
    }

    fn complete_login(host: &dyn Host, response: &LoginResponse) -> Result<Session, CodeError> {
        complete(&CallContext::new(host)?, response)
    }
}

impl Refresh for Oidc {
    fn refresh_session(host: &dyn Host, refresh_token: &str) -> Result<Session, RefreshError> {
        refresh(&CallContext::new(host)?, refresh_token)
    }

    fn revoke_session(host: &dyn Host, refresh_token: &str) {
        if let Ok(context) = CallContext::new(host) {
            let _ = revoke(&context, refresh_token);
        }
    }
}

fn invalid(error: TokenError) -> CodeError {
    match error {
        TokenError::Unavailable(why) => CodeError::Unavailable(why),
        wrong => CodeError::InvalidCode(wrong.to_string()),
    }
}

fn complete(context: &CallContext<'_>, response: &LoginResponse) -> Result<Session, CodeError> {
    let issuer = context.issuer();
    issuer.check_response(response)?;
    let tokens = match issuer.redeem(response)? {
        TokenResponse::Tokens(tokens) => tokens,
        TokenResponse::Refused(why) => return Err(CodeError::InvalidCode(why)),
    };
    let claims = claims_of(context, &tokens, response)?;
    let both = context.note(&claims)?;
    let expires_at = match context.settings.has_no_id_token() {
        true => context
            .host
            .now()
            .saturating_add(tokens.expires_in.unwrap_or(ENDLESS_EXPIRES_IN)),
        false => expiry(&claims),
    };
    let described = context.described(claims, &tokens).map_err(invalid)?;
    let person = described.person(&context.settings).map_err(invalid)?;
    let person = people::without_code(person, &response.code)
        .ok_or_else(|| CodeError::InvalidCode("the user id repeats the code".to_owned()))?;

    let refresh_token = tokens.refresh_token.unwrap_or_default();
    let owner = Owner {
        person: &person,
        note: &both,
    };
    let refresh = context.kept_tokens().keep(refresh_token, "", &owner);
    let both = context.keep_hint(both, tokens.id_token.as_deref());
    let notes = Notes { both, refresh };
    let ends = context.ends(expires_at, !notes.refresh.is_empty());
    let key = context.keep_key()?;
    Ok(context.signer(&key).open(person, notes, ends)?)
}

/// What the ID token says; nothing where the issuer sends none.
fn claims_of(
    context: &CallContext<'_>,
    tokens: &Tokens,
    response: &LoginResponse,
) -> Result<ClaimsSet, CodeError> {
    if context.settings.has_no_id_token() {
        return Ok(ClaimsSet::default());
    }

    let id_token = tokens.id_token.as_deref();
    let id_token = id_token
        .ok_or_else(|| CodeError::InvalidCode("no ID token came for the code".to_owned()))?;
    let claims = context.issuer().check(id_token).map_err(invalid)?;
    if claims.text("nonce") != response.nonce {
        return Err(CodeError::InvalidCode(
            "the ID token has another nonce".to_owned(),
        ));
    }

    Ok(claims)
}

fn expiry(claims: &ClaimsSet) -> u64 {
    claims.time("exp").unwrap_or_default()
}

fn verify(context: &CallContext<'_>, access_token: &str) -> Result<Option<Session>, Unavailable> {
    let Some(key) = context.key()? else {
        return Ok(None);
    };
    let Some(checked) = context.signer(&key).verify(access_token)? else {
        return Ok(None);
    };
    let goes_on = context.goes_on(&checked.notes.both)?;
    Ok(goes_on.then(|| checked.into_session(access_token.to_owned(), String::new())))
}

fn refresh(context: &CallContext<'_>, refresh_token: &str) -> Result<Session, RefreshError> {
    let key = context.key()?.ok_or(RefreshError::Expired)?;
    let signer = context.signer(&key);
    // Spent only when the issuer has answered: an outage must not end a session.
    let mut checked = match signer.look_at(refresh_token) {
        Err(RefreshError::Expired) => {
            let ended = signer.notes_of_ended(refresh_token)?;
            ended.iter().for_each(|notes| context.forget(notes));
            return Err(RefreshError::Expired);
        }
        looked => looked?,
    };
    // Another issuer must never see this one's token.
    if !context.goes_on(&checked.notes.both)? {
        context.forget(&checked.notes);
        return Err(RefreshError::Expired);
    }
    let kept = context.kept_tokens();
    let theirs = kept
        .read(&checked.notes.refresh)?
        .ok_or(RefreshError::Expired)?;
    // Writes what may need more room before the issuer is asked, which takes its token only once.
    context.keep_key()?;
    signer.reserve(&checked)?;

    let mut tokens = match context.issuer().refresh(&theirs)? {
        TokenResponse::Tokens(tokens) => tokens,
        TokenResponse::Refused(_) => {
            context.forget(&checked.notes);
            return Err(RefreshError::Expired);
        }
    };
    // Without a new one, the old one stays valid (RFC 6749, section 6). It is kept before the rest
    // can fail.
    let theirs = tokens.refresh_token.take().unwrap_or(theirs);
    let owner = Owner {
        person: &checked.person,
        note: &checked.notes.both,
    };
    checked.notes.refresh = kept.keep(theirs.clone(), &checked.notes.refresh, &owner);

    let notes = checked.notes.clone();
    let session = renewed_session(context, &signer, checked, &tokens);
    if session == Err(RefreshError::Expired) {
        context.forget(&notes);
        // The sign-out that may have ended the session knew an older token.
        let _ = context.issuer().revoke(&theirs);
    }
    session
}

/// The session after the issuer has answered with these tokens.
fn renewed_session(
    context: &CallContext<'_>,
    signer: &Signer<'_>,
    mut checked: Checked,
    tokens: &Tokens,
) -> Result<Session, RefreshError> {
    let (person, expires_at) = renewed(context, tokens, &checked.person)?;
    // The issuer may have ended the session meanwhile.
    if !context.goes_on(&checked.notes.both)? {
        return Err(RefreshError::Expired);
    }

    context.renew_hint(&checked.notes.both, tokens.id_token.as_deref());
    checked.person = person;
    let is_refreshable = !checked.notes.refresh.is_empty();
    let ends = context.ends(expires_at, is_refreshable);
    Ok(signer.renew(signer.spend(checked)?, ends)?)
}

/// Who a session is of after a refresh, and until when. Where the issuer says nothing new, the
/// person is who it was: it need not send an ID token (OpenID Connect Core, section 12.2), and a
/// userinfo endpoint may be out of reach.
fn renewed(
    context: &CallContext<'_>,
    tokens: &Tokens,
    before: &Person,
) -> Result<(Person, u64), RefreshError> {
    let settings = &context.settings;
    let id_token = tokens
        .id_token
        .as_deref()
        .filter(|_| !settings.has_no_id_token());
    let (claims, expires_at) = match id_token {
        Some(id_token) => {
            let claims = context.issuer().check(id_token).map_err(refused)?;
            let expires_at = expiry(&claims);
            (claims, expires_at)
        }
        None => {
            let seconds = tokens.expires_in.unwrap_or(DEFAULT_EXPIRES_IN);
            (
                ClaimsSet::default(),
                context.host.now().saturating_add(seconds),
            )
        }
    };

    let says_who =
        id_token.is_some() || settings.has_no_id_token() || settings.userinfo == Userinfo::Always;
    if !says_who {
        return Ok((before.clone(), expires_at));
    }

    let described = match context.described(claims, tokens) {
        Ok(described) => described,
        Err(TokenError::Unavailable(_)) => return Ok((before.clone(), expires_at)),
        Err(_) => return Err(RefreshError::Expired),
    };
    let person = match described.person(settings) {
        Ok(person) if person.user_id != before.user_id => return Err(RefreshError::Expired),
        Ok(_) if matches!(described.gap, Some(TokenError::Unavailable(_))) => before.clone(),
        Ok(person) => person,
        Err(TokenError::Unavailable(_)) => before.clone(),
        Err(_) => return Err(RefreshError::Expired),
    };

    Ok((person, expires_at))
}

fn refused(error: TokenError) -> RefreshError {
    match error {
        TokenError::Invalid(_) | TokenError::UnknownKey => RefreshError::Expired,
        TokenError::Unavailable(why) => RefreshError::Unavailable(why),
    }
}

/// Here and at the issuer, even if one of the two fails.
fn revoke(context: &CallContext<'_>, refresh_token: &str) -> Result<(), Unavailable> {
    let Some(key) = context.key()? else {
        return Ok(());
    };
    let signer = context.signer(&key);
    let Ok(checked) = signer.look_at(refresh_token) else {
        return Ok(());
    };
    let theirs = context.kept_tokens().read(&checked.notes.refresh);
    // First, so that the mark of the end has its room.
    context.forget(&checked.notes);
    let ended_here = signer.revoke(refresh_token).map(drop);

    if let Some(theirs) = theirs?.filter(|_| context.is_of_these_settings(&checked.notes.both)) {
        context.issuer().revoke(&theirs)?;
    }

    ended_here
}

portcullis_guest::export!(Oidc);
