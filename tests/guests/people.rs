//! Signs people in, and misbehaves as the user's name says. Its tokens are `at:NAME` and `rt:NAME`.

#[cfg(target_family = "wasm")]
mod guest {
    wit_bindgen::generate!({ path: "../../wit", world: "password-provider", generate_all });

    use exports::portcullis::auth::{password, provider, refresh};
    use std::time::{SystemTime, UNIX_EPOCH};

    struct Guest;

    fn session(name: &str) -> provider::Session {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let user_id = match name {
            "nobody" => String::new(),
            "control" => "ada\r\nset-cookie: x=1".to_owned(),
            name => name.to_owned(),
        };
        let life = match name {
            "short" | "short-gone" | "short-down" | "short-other" | "short-traps" => 1,
            "for-ever" => 1_000_000_000,
            _ => 3600,
        };
        let refresh_token = if name == "no-refresh" {
            String::new()
        } else {
            format!("rt:{name}")
        };
        provider::Session {
            user_id,
            email: "a\u{e4}@example.test".to_owned(),
            display_name: "<b>Ada</b> \u{202e}".to_owned(),
            org_id: String::new(),
            expires_at: if name == "expired" {
                now - 1
            } else {
                now + life
            },
            access_token: if name == "huge" {
                "x".repeat(5_000)
            } else {
                format!("at:{name}")
            },
            refresh_token,
            groups: groups(name),
        }
    }

    fn groups(name: &str) -> Vec<String> {
        match name {
            "grouped" => ["admins", "cn=ops,dc=b \u{e4} 100%", " padded", "two\nlines"]
                .map(str::to_owned)
                .into(),
            "in-every-group" => (0..256).map(|number| format!("{number:0>256}")).collect(),
            _ => Vec::new(),
        }
    }

    impl provider::Guest for Guest {
        fn supports_token() -> bool {
            false
        }

        fn verify_token(
            _: String,
        ) -> Result<Option<provider::TokenPrincipal>, provider::ProviderError> {
            Ok(None)
        }

        fn verify_session(
            token: String,
        ) -> Result<Option<provider::Session>, provider::ProviderError> {
            match token.strip_prefix("at:") {
                Some("traps") => unreachable!("as its name says"),
                Some("loops") => loop {
                    std::hint::black_box(());
                },
                Some("down") => Err(provider::ProviderError::Unavailable("no store".to_owned())),
                Some("gone") | None => Ok(None),
                Some("other") => Ok(Some(session("somebody-else"))),
                Some("spoilt") => Ok(Some(session("control"))),
                Some(name) => Ok(Some(session(name))),
            }
        }
    }

    impl password::Guest for Guest {
        fn complete_password_login(
            username: String,
            given: String,
        ) -> Result<password::Session, password::PasswordError> {
            match (username.as_str(), given.as_str()) {
                ("login-traps", _) => unreachable!("as its name says"),
                ("login-down", _) => {
                    Err(password::PasswordError::Unavailable("no store".to_owned()))
                }
                (name, "good") => Ok(session(name)),
                _ => Err(password::PasswordError::InvalidCredentials),
            }
        }
    }

    impl refresh::Guest for Guest {
        fn refresh_session(token: String) -> Result<refresh::Session, refresh::RefreshError> {
            match token.strip_prefix("rt:") {
                Some("short-down") => {
                    Err(refresh::RefreshError::Unavailable("no store".to_owned()))
                }
                Some("short-traps") => unreachable!("as its name says"),
                Some("short-other") => Ok(session("somebody-else")),
                Some("short") => Ok(refresh::Session {
                    user_id: "short".to_owned(),
                    ..session("renewed")
                }),
                _ => Err(refresh::RefreshError::Expired),
            }
        }

        fn revoke_session(_: String) {}
    }

    export!(Guest);
}
