//! User names and passwords.
//!
//! Settings, all optional but for one of the first two:
//!
//! - `users`: `[{username, password_hash, user_id?, display_name?, email?}]`, with hashes of
//!   argon2id in the PHC string format, or `scrypt$N$r$p$salt$key` with salt and key in base64.
//! - `users_file`: the same list. The operator names a file, and the host passes what it has.
//! - `secret`: signs the session tokens; at least 32 characters. Without it, a key is made and kept
//!   in the bucket.
//! - `session_ttl_seconds` (43200).
//!
//! Needs `grants.keyvalue`, where it remembers which sessions are over.

mod hash;
mod user;

pub use hash::hash_password;

use portcullis_guest::{
    Host, PasswordError, PasswordSignIn, Provider, Refresh, RefreshError, Session, TokenPrincipal,
    Unavailable,
};
use session_tokens::{Ends, MAX_REFRESH_SECONDS, Notes, Signer, keep_key, kept_key};
use user::User;

/// Signs people in by passwords from its settings.
pub struct Basic;

const SETTINGS: &[&str] = &["users", "users_file", "secret", "session_ttl_seconds"];
const DEFAULT_TTL: u64 = 43_200;
const MIN_SECRET_CHARS: usize = 32;

struct Settings {
    users: Vec<User>,
    /// `None`: the key in the bucket signs.
    secret: Option<String>,
    ttl: u64,
}

impl Settings {
    fn read(host: &dyn Host) -> Result<Self, String> {
        if let Some(unknown) = host
            .setting_names()
            .iter()
            .find(|name| !SETTINGS.contains(&name.as_str()))
        {
            return Err(format!(
                "unknown setting `{unknown}`: there are {}",
                SETTINGS.join(", ")
            ));
        }

        let secret = host.setting("secret");
        if let Some(secret) = &secret {
            check_secret(secret)?;
        }

        let ttl = host
            .setting("session_ttl_seconds")
            .map(|text| text.parse::<u64>());
        let ttl = ttl.transpose().ok().map(|ttl| ttl.unwrap_or(DEFAULT_TTL));
        let Some(ttl) = ttl.filter(|ttl| (1..=MAX_REFRESH_SECONDS).contains(ttl)) else {
            return Err(format!(
                "`session_ttl_seconds` must be a whole number from 1 to {MAX_REFRESH_SECONDS}"
            ));
        };
        let (inline, file) = (host.setting("users"), host.setting("users_file"));

        Ok(Self {
            users: user::read_all(inline.as_deref(), file.as_deref())?,
            secret,
            ttl,
        })
    }

    /// Wrong settings were reported to the operator when the provider was loaded.
    fn known(host: &dyn Host) -> Result<Self, Unavailable> {
        Self::read(host).map_err(Unavailable)
    }

    /// The key that signs; `None` when it is to be kept in the bucket and is not there.
    fn key(&self, host: &dyn Host) -> Result<Option<Vec<u8>>, Unavailable> {
        match &self.secret {
            Some(secret) => Ok(Some(secret.clone().into_bytes())),
            None => kept_key(host.bucket()),
        }
    }

    /// The key for a session that is opened or renewed.
    fn keep_key(&self, host: &dyn Host) -> Result<Vec<u8>, Unavailable> {
        match &self.secret {
            Some(secret) => Ok(secret.clone().into_bytes()),
            None => keep_key(host.bucket(), host.now()),
        }
    }

    fn ends(&self, now: u64) -> Ends {
        Ends {
            access: now + self.ttl,
            refresh: Some(now + MAX_REFRESH_SECONDS),
        }
    }

    /// The user of a token: who must still be there, with the password of then.
    fn user(&self, checked: &session_tokens::Checked) -> Option<&User> {
        let user = self
            .users
            .iter()
            .find(|user| user.user_id == checked.person.user_id)?;
        (user.mark() == checked.notes.both).then_some(user)
    }
}

/// A setting that is no text arrives as JSON, which an attacker could guess.
fn check_secret(secret: &str) -> Result<(), String> {
    if secret.starts_with(['{', '[']) {
        return Err("`secret` must be one text, `{env: NAME}` or `{file: PATH}`".to_owned());
    }
    if secret.len() < MIN_SECRET_CHARS {
        return Err(format!(
            "`secret` must have at least {MIN_SECRET_CHARS} characters (portcullis secret generate); without the setting, \
             a key is made and kept"
        ));
    }
    Ok(())
}

fn signer<'a>(host: &'a dyn Host, key: &'a [u8]) -> Signer<'a> {
    Signer {
        key,
        bucket: host.bucket(),
        now: host.now(),
    }
}

impl Provider for Basic {
    fn check_settings(host: &dyn Host) -> Result<(), String> {
        let settings = Settings::read(host)?;
        // Hashed once now, so that the operator and not a person meets a hash that needs more than
        // `limits.memory_mib`.
        let most = settings
            .users
            .iter()
            .map(User::memory)
            .max()
            .unwrap_or_default();
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
    fn check_password(
        host: &dyn Host,
        username: &str,
        password: &str,
    ) -> Result<Session, PasswordError> {
        sign_in(host, username, password)
    }
}

impl Refresh for Basic {
    fn refresh_session(host: &dyn Host, refresh_token: &str) -> Result<Session, RefreshError> {
        refresh(host, refresh_token)
    }

    fn revoke_session(host: &dyn Host, refresh_token: &str) {
        let Ok(settings) = Settings::read(host) else {
            return;
        };
        if let Ok(Some(key)) = settings.key(host) {
            let _ = signer(host, &key).revoke(refresh_token);
        }
    }
}

fn sign_in(host: &dyn Host, username: &str, password: &str) -> Result<Session, PasswordError> {
    let settings = Settings::known(host)?;
    let user = user::check(&settings.users, username, password)
        .ok_or(PasswordError::InvalidCredentials)?;
    let person = user
        .person(username, password)
        .ok_or(PasswordError::InvalidCredentials)?;
    let notes = Notes {
        both: user.mark(),
        refresh: String::new(),
    };
    let key = settings.keep_key(host)?;
    Ok(signer(host, &key).open(person, notes, settings.ends(host.now()))?)
}

fn verify(host: &dyn Host, access_token: &str) -> Result<Option<Session>, Unavailable> {
    let settings = Settings::known(host)?;
    let Some(key) = settings.key(host)? else {
        return Ok(None);
    };
    let Some(checked) = signer(host, &key).verify(access_token)? else {
        return Ok(None);
    };
    if settings.user(&checked).is_none() {
        return Ok(None);
    }

    Ok(Some(
        checked.into_session(access_token.to_owned(), String::new()),
    ))
}

fn refresh(host: &dyn Host, refresh_token: &str) -> Result<Session, RefreshError> {
    let settings = Settings::known(host)?;
    let key = settings.key(host)?.ok_or(RefreshError::Expired)?;
    let signer = signer(host, &key);
    let checked = signer.look_at(refresh_token)?;
    settings.user(&checked).ok_or(RefreshError::Expired)?;
    settings.keep_key(host)?;
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
        MockHost::default()
            .with_setting("users", users.to_string())
            .with_setting("secret", SECRET)
    }

    fn ada(password: &str) -> serde_json::Value {
        json!([{"username": "ada", "password_hash": hash_password(password).unwrap(), "email": "ada@example.com"}])
    }

    #[test]
    fn password_opens_a_session_that_is_known_refreshed_and_revoked() {
        let host = host(&ada("lovelace"));
        let session = sign_in(&host, "ada", "lovelace").unwrap();
        assert_eq!(
            (
                session.user_id.as_str(),
                session.email.as_str(),
                session.expires_at
            ),
            ("ada", "ada@example.com", 43_200)
        );
        assert!(verify(&host, &session.access_token).unwrap().is_some());
        let renewed = refresh(&host, &session.refresh_token).unwrap();
        Basic::revoke_session(&host, &renewed.refresh_token);
        assert!(verify(&host, &renewed.access_token).unwrap().is_none());
    }

    #[test]
    fn anything_else_opens_none() {
        let host = host(&ada("lovelace"));
        for (user, password) in [
            ("ada", "Lovelace"),
            ("ada", ""),
            ("Ada", "lovelace"),
            ("", ""),
            ("nobody", "lovelace"),
        ] {
            let refused = sign_in(&host, user, password);
            assert_eq!(
                refused,
                Err(PasswordError::InvalidCredentials),
                "{user} {password}"
            );
        }
    }

    #[test]
    fn name_and_password_are_the_same_in_every_form() {
        for (stored, typed) in [
            ("Zo\u{eb}", "Zoe\u{308}"),
            ("Zoe\u{308}", "Zo\u{eb}"),
            ("Zo\u{eb}", "Zo\u{eb}"),
        ] {
            let users =
                json!([{"username": stored, "password_hash": hash_password(stored).unwrap()}]);
            let session = sign_in(&host(&users), typed, typed).unwrap();
            assert_eq!(session.user_id, "Zo\u{eb}");
        }
    }

    #[test]
    fn what_is_longer_than_any_name_or_password_is_wrong_and_no_more() {
        let longest = "x".repeat(1_024);
        let host = host(&ada(&longest));
        assert!(sign_in(&host, "ada", &longest).is_ok());
        let too_long = format!("{longest}x");
        assert!(hash_password(&too_long).is_err());
        for (user, password) in [("ada", too_long.as_str()), (&too_long[..300], "lovelace")] {
            assert_eq!(
                sign_in(&host, user, password),
                Err(PasswordError::InvalidCredentials)
            );
        }
    }

    #[test]
    fn session_never_repeats_the_password() {
        let host = host(&ada("ada@example.com"));
        assert_eq!(sign_in(&host, "ada", "ada@example.com").unwrap().email, "");
        let hash = hash_password("lovelace").unwrap();
        let host = self::host(
            &json!([{"username": "ada", "user_id": "lovelace-1", "password_hash": hash}]),
        );
        assert_eq!(
            sign_in(&host, "ada", "lovelace"),
            Err(PasswordError::InvalidCredentials)
        );
    }

    #[test]
    fn without_a_secret_a_key_is_made_and_kept() {
        let host = MockHost::default().with_setting("users_file", ada("lovelace").to_string());
        assert_eq!(verify(&host, "x"), Ok(None));
        assert_eq!(refresh(&host, "x"), Err(RefreshError::Expired));
        let session = sign_in(&host, "ada", "lovelace").unwrap();
        assert!(verify(&host, &session.access_token).unwrap().is_some());
        let renewed = refresh(&host, &session.refresh_token).unwrap();
        Basic::revoke_session(&host, &renewed.refresh_token);
        assert_eq!(verify(&host, &renewed.access_token), Ok(None));
        let elsewhere = MockHost::default().with_setting("users_file", ada("lovelace").to_string());
        assert_eq!(
            verify(&elsewhere, &session.access_token),
            Ok(None),
            "each bucket has a key of its own"
        );
    }

    #[test]
    fn identifier_outlives_a_change_of_the_user_name() {
        let hash = hash_password("lovelace").unwrap();
        let user =
            |name: &str| json!([{"username": name, "user_id": "u-1", "password_hash": hash}]);
        let before = host(&user("ada"));
        let session = sign_in(&before, "ada", "lovelace").unwrap();
        assert_eq!(session.user_id, "u-1");
        let after = MockHost {
            bucket: before.bucket.clone(),
            ..host(&user("countess"))
        };
        assert!(verify(&after, &session.access_token).unwrap().is_some());
    }

    #[test]
    fn sessions_end_with_the_user_and_with_the_password() {
        let before = host(&ada("lovelace"));
        let session = sign_in(&before, "ada", "lovelace").unwrap();
        for after in [host(&json!([])), host(&ada("lovelace"))] {
            let after = MockHost {
                bucket: before.bucket.clone(),
                ..after
            };
            assert!(
                verify(&after, &session.access_token).unwrap().is_none(),
                "another salt is another password"
            );
            assert_eq!(
                refresh(&after, &session.refresh_token),
                Err(RefreshError::Expired)
            );
        }
    }

    #[test]
    fn bad_settings_are_named() {
        let complaint = |host: &MockHost| Basic::check_settings(host).expect_err("a complaint");
        assert!(complaint(&MockHost::default()).starts_with("`users` or `users_file`"));
        assert!(complaint(&host(&json!({}))).starts_with("`users`"));
        for secret in [
            "",
            "short",
            r#"{"evn":"A_NAME_OF_A_VARIABLE_THAT_IS_LONG"}"#,
            r#"["a secret of thirty-two characters"]"#,
        ] {
            assert!(
                complaint(&host(&json!([])).with_setting("secret", secret)).starts_with("`secret`"),
                "{secret}"
            );
        }
        let hash = hash_password("lovelace").unwrap();
        for (field, value) in [
            ("username", "a\tb"),
            ("user_id", ""),
            ("email", "a @b "),
            ("username", " a"),
        ] {
            let mut user = json!({"username": "a", "password_hash": hash});
            user[field] = value.into();
            assert!(
                complaint(&host(&json!([user]))).starts_with(&format!("users[0].{field}")),
                "{value:?}"
            );
        }
        let twice = json!([{"username": "Zo\u{eb}", "password_hash": hash}, {"username": "Zoe\u{308}", "password_hash": hash}]);
        assert!(complaint(&host(&twice)).starts_with("users[1].username: another user"));
        let both = host(&ada("lovelace")).with_setting("users_file", ada("lovelace").to_string());
        assert!(complaint(&both).starts_with("users_file[0].username: another user"));
        let same = json!([{"username": "b", "user_id": "ada", "password_hash": hash}]);
        let same = host(&ada("lovelace")).with_setting("users_file", same.to_string());
        assert!(complaint(&same).starts_with("users_file[0].user_id: another user"));
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
                .starts_with("users[0].password: unknown field; did you mean `password_hash`?")
        );
        let mut long = host(&json!([]));
        long.settings
            .insert("session_ttl_seconds".into(), "604801".into());
        assert!(complaint(&long).starts_with("`session_ttl_seconds`"));
    }
}
