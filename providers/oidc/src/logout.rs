//! Sign-out together with the issuer: its logout tokens (OpenID Connect Back-Channel Logout 1.0),
//! and the address where a browser signs out there (OpenID Connect RP-Initiated Logout 1.0).
//!
//! A session remembers in its note which session of the issuer it came of. The bucket remembers for
//! a week what a logout token ended: no token of such a session lives longer, since the session
//! gets no others.
//!
//! **Invariant:** a logout token ends sessions that this issuer vouched for, and no others.

use crate::client::encode_form;
use crate::issuer::keys_of;
use crate::{CallContext, Oidc};
use jwt_keys::{ClaimsSet, TokenError};
use portcullis_guest::{Ended, Host, LogoutError, SignOut, Unavailable, base64url, from_base64url};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The member of `events` that makes a token a logout token (section 2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// What `typ` may be. Section 2.4 recommends the first; older issuers write the second, or nothing.
const KINDS: [&str; 3] = ["logout+jwt", "jwt", ""];
/// Oldest logout token that is taken, in seconds: much less than the bucket remembers that it came
/// before.
const MAX_AGE_SECONDS: u64 = 24 * 3600;
/// How long a token without `exp` is good, in seconds: issuers of earlier drafts send none.
const LIFE_WITHOUT_END_SECONDS: u64 = 300;
/// Longest address with an ID token, in bytes. With the other headers and the deletions of cookies,
/// the head of the answer to a sign-out then stays below 4 KiB, the buffer that nginx has for it by
/// default (`proxy_buffer_size`).
const MAX_ADDRESS_BYTES: usize = 2_048;
/// Bytes of a digest. Each is in the cookies of a session.
const DIGEST_BYTES: usize = 9;

/// What a logout token ends: the name of an entry in the bucket, and a part of a session's note.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// The sessions that came of one session of the issuer.
    Session(String),
    /// The sessions of a subject of which the ID token named no session of the issuer.
    Nameless(String),
    /// Every session of a subject, where the user id is another claim, so that the host cannot end
    /// them.
    Subject(String),
}

impl Target {
    fn name(&self) -> String {
        match self {
            Self::Session(sid) => format!("s{}", digest(sid)),
            Self::Nameless(subject) => format!("w{}", digest(subject)),
            Self::Subject(subject) => format!("u{}", digest(subject)),
        }
    }
}

impl SignOut for Oidc {
    fn read_logout_token(host: &dyn Host, token: &str) -> Result<Ended, LogoutError> {
        CallContext::new(host)?.read_logout_token(token)
    }

    fn sign_out_url(
        host: &dyn Host,
        access_token: &str,
        return_to: &str,
    ) -> Result<Option<String>, Unavailable> {
        CallContext::new(host)?.sign_out_url(access_token, return_to)
    }
}

impl CallContext<'_> {
    /// What a session of this ID token remembers: the mark of the settings, then what may end it,
    /// and when it was opened.
    pub(crate) fn note(&self, id_token: &ClaimsSet) -> Result<String, Unavailable> {
        let subject = id_token.only("sub");
        let own = match id_token.only("sid") {
            Some(sid) => Some(Target::Session(sid)),
            None => subject.clone().map(Target::Nameless),
        };
        let all = subject
            .filter(|_| !self.settings.people.are_named_by_subject())
            .map(Target::Subject);
        let mut opened_at = self.host.now();

        let mut note = self.settings.mark();
        for target in own.into_iter().chain(all) {
            let name = target.name();
            // A sign-in within the second of a logout is after it.
            let earliest = self
                .ended_at(&name)?
                .map_or(0, |ended_at| ended_at.saturating_add(1));
            opened_at = opened_at.max(earliest);
            note.push_str(&format!(".{name}"));
        }

        note.push_str(&format!(".@{opened_at}"));
        Ok(note)
    }

    /// Whether a session with this note was opened under the settings that hold now.
    pub(crate) fn is_of_these_settings(&self, note: &str) -> bool {
        note.split('.').next() == Some(self.settings.mark().as_str())
    }

    /// Whether such a session is one that the issuer has not ended.
    pub(crate) fn goes_on(&self, note: &str) -> Result<bool, Unavailable> {
        if !self.is_of_these_settings(note) {
            return Ok(false);
        }

        let (targets, rest) = note.split_once(".@").unwrap_or((note, ""));
        let opened_at: u64 = rest
            .split('.')
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default();
        for name in targets.split('.').skip(1) {
            let Some(ended_at) = self.ended_at(name)? else {
                continue;
            };
            // A session of the issuer that is over does not begin again.
            if name.starts_with('s') || opened_at <= ended_at {
                return Ok(false);
            }
        }

        Ok(true)
    }

    fn ended_at(&self, name: &str) -> Result<Option<u64>, Unavailable> {
        let entry = self.host.bucket().get(&key_of(name))?;
        // An entry that cannot be read ends sessions all the same.
        let read = |entry: Vec<u8>| {
            String::from_utf8(entry)
                .ok()
                .and_then(|text| text.parse().ok())
        };
        Ok(entry.map(|entry| read(entry).unwrap_or(u64::MAX)))
    }

    fn end(&self, target: &Target) -> Result<(), Unavailable> {
        self.host.bucket().set(
            &key_of(&target.name()),
            self.host.now().to_string().as_bytes(),
        )
    }

    fn read_logout_token(&self, token: &str) -> Result<Ended, LogoutError> {
        let claims = self.logout_claims(token)?;
        let received = format!("jti:{}", digest(claims.text("jti")));
        if self.host.bucket().get(&received)?.is_some() {
            return Err(invalid("it was received before"));
        }

        let (ended, targets) = match (claims.only("sid"), claims.only("sub")) {
            (Some(sid), subject) => {
                let own = std::iter::once(Target::Session(sid));
                let targets = own.chain(subject.map(Target::Nameless)).collect();
                (Ended::Noted, targets)
            }
            (None, Some(subject)) if self.settings.people.are_named_by_subject() => {
                (Ended::Person(subject), Vec::new())
            }
            (None, Some(subject)) => (Ended::Noted, vec![Target::Subject(subject)]),
            (None, None) => return Err(invalid("it names neither a subject nor a session")),
        };
        targets.iter().try_for_each(|target| self.end(target))?;
        // After them: a token of which the sessions could not be noted may come again.
        self.host.bucket().set(&received, b"1")?;

        let kept = self.kept_tokens();
        match &ended {
            Ended::Person(user_id) => kept.forget_person(user_id),
            Ended::Noted => {
                let names: Vec<_> = targets.iter().map(Target::name).collect();
                kept.forget_ended(&names);
            }
        }
        Ok(ended)
    }

    /// What a logout token claims, once it was checked as section 2.6 says.
    fn logout_claims(&self, token: &str) -> Result<ClaimsSet, LogoutError> {
        let issuer = self.issuer();
        let endpoints = issuer.endpoints()?;
        if !KINDS.contains(&kind_of(token).as_str()) {
            return Err(invalid("its `typ` is of another kind of token"));
        }

        let keys = keys_of(&endpoints).map_err(refused)?;
        let claims = keys.claims(&issuer.documents(), token).map_err(refused)?;
        if claims.text("iss") != endpoints.issuer {
            return Err(invalid("another issuer"));
        }

        if !claims.texts("aud").contains(&self.settings.client.id) {
            return Err(invalid("for another audience"));
        }

        check_times(&claims, self.host.now(), self.settings.leeway)?;
        let event = claims.0.get("events").and_then(|events| events.get(EVENT));
        if !event.is_some_and(Value::is_object) {
            return Err(invalid("its `events` are not those of a logout token"));
        }

        // Without this, an ID token could be sent in place of a logout token.
        if claims.0.contains_key("nonce") {
            return Err(invalid(
                "it has a nonce, which a logout token must not have",
            ));
        }

        if claims.text("jti").is_empty() {
            return Err(invalid("it has no `jti`"));
        }

        Ok(claims)
    }

    /// Keeps the ID token of a new session, if a sign-out leads on to the issuer. Returns the note,
    /// with the token's handle at its end if the token is kept.
    pub(crate) fn keep_hint(&self, note: String, id_token: Option<&str>) -> String {
        let is_wanted = self.settings.end_session && !self.settings.has_no_id_token();
        let handle = id_token
            .filter(|_| is_wanted)
            .and_then(|token| self.id_tokens().keep_first(token));
        match handle {
            Some(handle) => format!("{note}.{handle}"),
            None => note,
        }
    }

    /// Keeps the ID token that came with a refresh of a session with this note.
    pub(crate) fn renew_hint(&self, note: &str, id_token: Option<&str>) {
        if let (Some(handle), Some(id_token)) = (handle_of(note), id_token) {
            self.id_tokens().keep(handle, id_token);
        }
    }

    /// Forgets the ID token of a session with this note.
    pub(crate) fn forget_hint(&self, note: &str) {
        if let Some(handle) = handle_of(note) {
            self.id_tokens().forget(handle);
        }
    }

    /// The ID token of the session of this access token, which may have ended. `None`: it is not
    /// kept, or cannot be had.
    fn take_hint(&self, access_token: &str) -> Option<String> {
        let key = self.key().ok()??;
        let note = self.signer(&key).note_of(access_token)?;
        let handle = handle_of(&note).filter(|_| self.is_of_these_settings(&note))?;
        self.id_tokens().take(handle)
    }

    fn sign_out_url(
        &self,
        access_token: &str,
        return_to: &str,
    ) -> Result<Option<String>, Unavailable> {
        if !self.settings.end_session {
            return Ok(None);
        }

        let Some(endpoint) = self.issuer().endpoints()?.end_session else {
            return Ok(None);
        };
        let pairs = [
            ("client_id", self.settings.client.id.as_str()),
            ("post_logout_redirect_uri", return_to),
        ];
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        let address = format!("{endpoint}{joint}{}", encode_form(&pairs));
        let hint = self
            .take_hint(access_token)
            .map(|hint| encode_form(&[("id_token_hint", hint.as_str())]));
        let with_hint = hint.map(|hint| format!("{address}&{hint}"));
        let fitting = with_hint.filter(|address| address.len() <= MAX_ADDRESS_BYTES);

        Ok(Some(fitting.unwrap_or(address)))
    }
}

/// The handle of the ID token, which is the last part of a note that has one.
fn handle_of(note: &str) -> Option<&str> {
    let (_, rest) = note.split_once(".@")?;
    Some(rest.split_once('.')?.1)
}

fn check_times(claims: &ClaimsSet, now: u64, leeway: u64) -> Result<(), LogoutError> {
    let Some(issued_at) = claims.time("iat") else {
        return Err(invalid("it does not say when it was issued"));
    };
    if issued_at > now.saturating_add(leeway) {
        return Err(invalid("issued in the future"));
    }

    let end = match claims.0.contains_key("exp") {
        true => claims.time("exp").unwrap_or_default(),
        false => issued_at.saturating_add(LIFE_WITHOUT_END_SECONDS),
    };
    let end = end.min(issued_at.saturating_add(MAX_AGE_SECONDS));
    if end.saturating_add(leeway) <= now {
        return Err(invalid("expired"));
    }

    Ok(())
}

/// The media type in the header of a token, in lower case and without `application/`; empty where
/// there is none.
fn kind_of(token: &str) -> String {
    let header = token.split('.').next().and_then(from_base64url);
    let header = header
        .and_then(|header| ClaimsSet::read(&header).ok())
        .unwrap_or_default();
    let kind = header.text("typ").to_ascii_lowercase();
    kind.trim_start_matches("application/").to_owned()
}

fn invalid(why: &str) -> LogoutError {
    LogoutError::InvalidToken(why.to_owned())
}

fn refused(error: TokenError) -> LogoutError {
    match error {
        TokenError::Unavailable(why) => LogoutError::Unavailable(why),
        wrong => LogoutError::InvalidToken(wrong.to_string()),
    }
}

fn key_of(name: &str) -> String {
    format!("out:{name}")
}

/// The names in a session's note of what ends it, between dots.
pub(crate) fn targets_of(note: &str) -> &str {
    let (targets, _) = note.split_once(".@").unwrap_or((note, ""));
    targets.split_once('.').map_or("", |(_, names)| names)
}

pub(crate) fn digest(text: &str) -> String {
    base64url(&Sha256::digest(text)[..DIGEST_BYTES])
}
