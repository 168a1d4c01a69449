//! User names and passwords.
//!
//! Settings: `users: [{username, password_hash, display_name?, email?}]` (argon2id in the PHC string format, or
//! `scrypt$N$r$p$salt$key` with salt and key in base64), `secret` (signs the session tokens; at least 32 characters),
//! `session_ttl_seconds` (43200). Needs `grants.keyvalue`, where it remembers which sessions are over.

mod hash;
mod user;

pub use hash::hash_password;

use portcullis_guest::{
    Host, PasswordError, PasswordSignIn, Provider, Refresh, RefreshError, Session, TokenPrincipal,
    Unavailable,
};
use session_tokens::{Ends, MAX_REFRESH_SECONDS, Notes, Signer};
use user::User;

/// The provider.
pub struct Basic;

const SETTINGS: &[&str] = &["users", "secret", "session_ttl_seconds"];
const DEFAULT_TTL: u64 = 43_200;
const MIN_SECRET_CHARS: usize = 32;

struct Settings {
    users: Vec<User>,
    secret: String,
    ttl: u64,
}

impl Settings {
    fn read(host: &dyn Host) -> Result<Self, String> {
        if let Some(unknown) = host.setting_names().iter().find(|name| !SETTINGS.contains(&name.as_str())) {
            return Err(format!("unknown setting `{unknown}`: there are {}", SETTINGS.join(", ")));
        }
        let secret = host.setting("secret").unwrap_or_default();
        if secret.len() < MIN_SECRET_CHARS {
            return Err(format!(
                "`secret` must have at least {MIN_SECRET_CHARS} characters (portcullis secret generate)"
            ));
        }
        let ttl = host.setting("session_ttl_seconds").map(|text| text.parse::<u64>());
        let ttl = ttl.transpose().ok().map(|ttl| ttl.unwrap_or(DEFAULT_TTL));
        let Some(ttl) = ttl.filter(|ttl| (1..=MAX_REFRESH_SECONDS).contains(ttl)) else {
            return Err(format!(
                "`session_ttl_seconds` must be a whole number from 1 to {MAX_REFRESH_SECONDS}"
            ));
        };
        Ok(Self { users: user::read_all(&host.setting("users").unwrap_or_default())?, secret, ttl })
    }

    /// An operator whose settings are wrong was told when the provider was loaded.
    fn known(host: &dyn Host) -> Result<Self, Unavailable> {
        Self::read(host).map_err(Unavailable)
    }

    fn signer<'a>(&'a self, host: &'a dyn Host) -> Signer<'a> {
        Signer { key: self.secret.as_bytes(), bucket: host.bucket(), now: host.now() }
    }

    fn ends(&self, now: u64) -> Ends {
        Ends { access: now + self.ttl, refresh: Some(now + MAX_REFRESH_SECONDS) }
    }

    /// The user of a token: who must still be there, with the password of then.
    fn user(&self, checked: &session_tokens::Checked) -> Option<&User> {
        let user = self.users.iter().find(|user| user.username == checked.person.user_id)?;
        (user.mark() == checked.notes.both).then_some(user)
    }
}

impl Provider for Basic {
    fn check_settings(host: &dyn Host) -> Result<(), String> {
        let settings = Settings::read(host)?;
        // Taken once now: hashes that need more than `limits.memory_mib` are told to the operator, not to a person.
        let most = settings.users.iter().map(User::memory).max().unwrap_or_default();
        std::hint::black_box(vec![1_u8; most]);
        Ok(())
    }

    fn supports_token(_: &dyn Host) -> bool {
        false
    }

    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        Ok(None)
    }

    fn verify_session(host: &dyn Host, access_token: &str) -> Result<Option<Session>, Unavailable> {
        verify(host, access_token)
    }
}

impl PasswordSignIn for Basic {
    fn check_password(host: &dyn Host, username: &str, password: &str) -> Result<Session, PasswordError> {
        sign_in(host, username, password)
    }
}

impl Refresh for Basic {
    fn refresh_session(host: &dyn Host, refresh_token: &str) -> Result<Session, RefreshError> {
        refresh(host, refresh_token)
    }

    fn revoke_session(host: &dyn Host, refresh_token: &str) {
        if let Ok(settings) = Settings::read(host) {
            let _ = settings.signer(host).revoke(refresh_token);
        }
    }
}

fn sign_in(host: &dyn Host, username: &str, password: &str) -> Result<Session, PasswordError> {
    let settings = Settings::known(host)?;
    let user = user::check(&settings.users, username, password).ok_or(PasswordError::InvalidCredentials)?;
    let notes = Notes { both: user.mark(), refresh: String::new() };
    Ok(settings.signer(host).open(user.person(), notes, settings.ends(host.now()))?)
}

fn verify(host: &dyn Host, access_token: &str) -> Result<Option<Session>, Unavailable> {
    let settings = Settings::known(host)?;
    let Some(checked) = settings.signer(host).verify(access_token)? else { return Ok(None) };
    if settings.user(&checked).is_none() {
        return Ok(None);
    }
    Ok(Some(checked.into_session(access_token.to_owned(), String::new())))
}

fn refresh(host: &dyn Host, refresh_token: &str) -> Result<Session, RefreshError> {
    let settings = Settings::known(host)?;
    let signer = settings.signer(host);
    let checked = signer.look_at(refresh_token)?;
    settings.user(&checked).ok_or(RefreshError::Expired)?;
    Ok(signer.renew(signer.spend(checked)?, settings.ends(host.now()))?)
}

portcullis_guest::export!(Basic);

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockHost;
    use serde_json::json;

    const SECRET: &str = "a secret of thirty-two characters";

    fn host(users: &serde_json::Value) -> MockHost {
        MockHost::default().with_setting("users", users.to_string()).with_setting("secret", SECRET)
    }

    fn ada(password: &str) -> serde_json::Value {
        json!([{"username": "ada", "password_hash": hash_password(password).unwrap(), "email": "ada@example.com"}])
    }

    #[test]
    fn password_opens_a_session_that_is_known_refreshed_and_revoked() {
        let host = host(&ada("lovelace"));
        let session = sign_in(&host, "ada", "lovelace").unwrap();
        assert_eq!(
            (session.user_id.as_str(), session.email.as_str(), session.expires_at),
            ("ada", "ada@example.com", 43_200)
        );
        assert!(verify(&host, &session.access_token).unwrap().is_some());
        let renewed = refresh(&host, &session.refresh_token).unwrap();
        Settings::read(&host).unwrap().signer(&host).revoke(&renewed.refresh_token).unwrap();
        assert!(verify(&host, &renewed.access_token).unwrap().is_none());
    }

    #[test]
    fn anything_else_opens_none() {
        let host = host(&ada("lovelace"));
        for (user, password) in
            [("ada", "Lovelace"), ("ada", ""), ("Ada", "lovelace"), ("", ""), ("nobody", "lovelace")]
        {
            let refused = sign_in(&host, user, password);
            assert_eq!(refused, Err(PasswordError::InvalidCredentials), "{user} {password}");
        }
    }

    #[test]
    fn sessions_end_with_the_user_and_with_the_password() {
        let before = host(&ada("lovelace"));
        let session = sign_in(&before, "ada", "lovelace").unwrap();
        for after in [host(&json!([])), host(&ada("lovelace"))] {
            let after = MockHost { bucket: before.bucket.clone(), ..after };
            assert!(
                verify(&after, &session.access_token).unwrap().is_none(),
                "another salt is another password"
            );
            assert_eq!(refresh(&after, &session.refresh_token), Err(RefreshError::Expired));
        }
    }

    #[test]
    fn bad_settings_are_named() {
        let complaint = |host: &MockHost| Basic::check_settings(host).expect_err("a complaint");
        assert!(complaint(&MockHost::default()).starts_with("`secret`"));
        assert!(complaint(&host(&json!({}))).starts_with("`users`"));
        assert!(
            complaint(&host(&json!([{"username": "a", "password_hash": "plain"}])))
                .starts_with("users[0].password_hash")
        );
        assert!(
            complaint(&host(&json!([{"username": "", "password_hash": ""}])))
                .starts_with("users[0].username")
        );
        assert!(
            complaint(&host(&json!([{"username": "a", "password": "x"}])))
                .contains("unknown field `password`")
        );
        let mut long = host(&json!([]));
        long.settings.insert("session_ttl_seconds".into(), "604801".into());
        assert!(complaint(&long).starts_with("`session_ttl_seconds`"));
    }
}
