//! Logout tokens, and the way to the issuer's own sign-out.

use super::*;
use portcullis_guest::{Ended, LogoutError, SignOut};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A logout token with these claims beside those that every one has.
fn logout_token(claims: Value) -> String {
    let mut all = json!({
        "iss": "https://idp", "aud": "us", "iat": NOW, "exp": NOW + 120, "jti": "first", "events": {EVENT: {}},
    });
    merge(&mut all, claims);
    signed(&all)
}

fn send(host: &MockHost, claims: Value) -> Result<Ended, LogoutError> {
    Oidc::read_logout_token(host, &logout_token(claims))
}

fn signed_in(settings: &[(&str, &str)], claims: Value) -> (MockHost, Session) {
    let host = issuer(
        settings,
        &tokens(claims, json!({"refresh_token": "theirs"})),
    );
    let session = sign_in(&host).unwrap();
    (host, session)
}

fn goes_on(host: &MockHost, session: &Session) -> bool {
    let verified = Oidc::verify_session(host, &session.access_token)
        .unwrap()
        .is_some();
    let refreshed = Oidc::refresh_session(&host.clone(), &session.refresh_token);
    assert_eq!(verified, refreshed != Err(RefreshError::Expired));
    verified
}

/// Whose user id is another claim than the subject.
const MAPPED: [(&str, &str); 2] = [
    ("claims", r#"{"user_id":"preferred_username"}"#),
    ("userinfo", "never"),
];

#[test]
fn token_with_a_session_ends_what_came_of_it_and_nothing_else() {
    for settings in [&[("userinfo", "never")][..], &MAPPED] {
        let ada = json!({"sid": "one", "preferred_username": "ada"});
        let (host, session) = signed_in(settings, ada);
        assert_eq!(send(&host, json!({"sid": "two"})), Ok(Ended::Noted));
        assert!(goes_on(&host, &session), "another session of the issuer");
        assert_eq!(
            send(&host, json!({"sid": "one", "sub": "ada", "jti": "second"})),
            Ok(Ended::Noted)
        );
        assert!(!goes_on(&host, &session));
        assert!(
            !goes_on(&host, &sign_in(&host).unwrap()),
            "a session of the issuer that is over"
        );
    }
}

#[test]
fn token_with_a_session_ends_sessions_of_its_subject_that_name_none() {
    let (host, session) = signed_in(&[("userinfo", "never")], json!({}));
    assert_eq!(
        send(&host, json!({"sid": "one", "sub": "bob"})),
        Ok(Ended::Noted)
    );
    assert!(goes_on(&host, &session), "another subject");
    assert_eq!(
        send(&host, json!({"sid": "one", "sub": "ada", "jti": "second"})),
        Ok(Ended::Noted)
    );
    assert!(!goes_on(&host, &session));
    assert!(
        goes_on(&host, &sign_in(&host).unwrap()),
        "a sign-in afterwards"
    );
}

#[test]
fn token_with_a_subject_ends_every_session_of_it() {
    let (host, _) = signed_in(&[("userinfo", "never")], json!({"sid": "one"}));
    assert_eq!(
        send(&host, json!({"sub": "ada"})),
        Ok(Ended::Person("ada".to_owned()))
    );

    let (host, session) = signed_in(&MAPPED, json!({"sid": "one", "preferred_username": "Ada"}));
    assert_eq!(session.user_id, "Ada");
    assert_eq!(send(&host, json!({"sub": "bob"})), Ok(Ended::Noted));
    assert!(goes_on(&host, &session), "another subject");
    assert_eq!(
        send(&host, json!({"sub": "ada", "jti": "second"})),
        Ok(Ended::Noted)
    );
    assert!(!goes_on(&host, &session));
    assert!(
        goes_on(&host, &sign_in(&host).unwrap()),
        "a sign-in afterwards, in the same second"
    );
}

#[test]
fn refresh_tokens_of_sessions_that_were_ended_take_no_room() {
    for (settings, claims) in [
        (&[("userinfo", "never")][..], json!({"sid": "one"})),
        (&[("userinfo", "never")][..], json!({"sub": "ada"})),
        (&MAPPED[..], json!({"sub": "ada"})),
    ] {
        let long = json!({"refresh_token": "x".repeat(2_000)});
        let sign_in_of = |host: MockHost, who: &str, sid: &str| {
            let said = json!({"sub": who, "preferred_username": who, "sid": sid});
            let host = host.with_answer("https://idp/token", 200, tokens(said, long.clone()));
            sign_in(&host).unwrap();
            host
        };
        let host = sign_in_of(issuer(settings, ""), "ada", "one");
        let host = sign_in_of(host, "bob", "two");
        assert_eq!(kept(&host), 2);
        send(&host, claims.clone()).unwrap();
        assert_eq!(kept(&host), 1, "{claims}");
    }
}

#[test]
fn what_is_no_logout_token_for_us_ends_nothing() {
    let (host, session) = signed_in(&[("userinfo", "never")], json!({"sid": "one"}));
    for (claims, complaint) in [
        (json!({"iss": "https://other"}), "issuer"),
        (json!({"aud": "them"}), "audience"),
        (json!({"aud": ["them"]}), "audience"),
        (json!({"iat": null}), "when it was issued"),
        (json!({"iat": NOW + 61}), "future"),
        (json!({"exp": NOW - 60}), "expired"),
        (json!({"exp": "soon"}), "expired"),
        (json!({"iat": NOW - 24 * 3600 - 60}), "expired"),
        (json!({"events": {}}), "`events`"),
        (json!({"events": {EVENT: true}}), "`events`"),
        (json!({"events": [EVENT]}), "`events`"),
        (json!({"nonce": NONCE}), "nonce"),
        (json!({"nonce": null}), "nonce"),
        (json!({"jti": ""}), "`jti`"),
        (json!({"jti": null}), "`jti`"),
    ] {
        let mut all = json!({"sid": "one", "sub": "ada"});
        merge(&mut all, claims.clone());
        let found = send(&host, all);
        let Err(LogoutError::InvalidToken(why)) = &found else {
            panic!("{claims}: {found:?}")
        };
        assert!(why.contains(complaint), "{claims}: {why}");
    }
    assert!(
        matches!(send(&host, json!({})), Err(LogoutError::InvalidToken(_))),
        "it names no one"
    );
    let good = logout_token(json!({"sid": "one"}));
    let (message, _) = good.rsplit_once('.').unwrap();
    for token in ["", "a.b.c", message, &*format!("{message}.AAAA")] {
        assert!(
            matches!(
                Oidc::read_logout_token(&host, token),
                Err(LogoutError::InvalidToken(_))
            ),
            "{token}"
        );
    }
    let id_token = signed(
        &json!({"iss": "https://idp", "aud": "us", "exp": NOW + 300, "iat": NOW, "sub": "ada"}),
    );
    assert!(matches!(
        Oidc::read_logout_token(&host, &id_token),
        Err(LogoutError::InvalidToken(_))
    ));
    assert!(goes_on(&host, &session));
}

#[test]
fn token_is_taken_once_and_in_the_forms_of_earlier_drafts() {
    let (host, _) = signed_in(&[("userinfo", "never")], json!({}));
    let mut old = json!({"iss": "https://idp", "aud": ["us", "them"], "iat": NOW, "jti": "old", "sid": "one"});
    merge(&mut old, json!({"events": {EVENT: {}}}));
    assert_eq!(
        Oidc::read_logout_token(&host, &signed(&old)),
        Ok(Ended::Noted),
        "without an end"
    );
    let again = Oidc::read_logout_token(&host, &signed(&old));
    assert!(matches!(again, Err(LogoutError::InvalidToken(why)) if why.contains("before")));
    old["jti"] = json!("older");
    let late = host.at(NOW + 360);
    assert!(
        Oidc::read_logout_token(&late, &signed(&old)).is_err(),
        "it is too old to have no end"
    );
}

#[test]
fn media_type_is_that_of_a_logout_token_or_of_none_in_particular() {
    let (host, _) = signed_in(&[("userinfo", "never")], json!({}));
    let claims = json!({
        "iss": "https://idp", "aud": "us", "iat": NOW, "exp": NOW + 120, "events": {EVENT: {}}, "sid": "one",
    });
    let kinds = [
        Some("logout+jwt"),
        Some("application/LOGOUT+JWT"),
        Some("JWT"),
        None,
        Some("at+jwt"),
        Some("id"),
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        let mut claims = claims.clone();
        claims["jti"] = json!(number.to_string());
        let header = Header {
            typ: kind.map(str::to_owned),
            ..Header::new(Algorithm::ES256)
        };
        let found = Oidc::read_logout_token(&host, &signed_as(&header, &claims));
        assert_eq!(found.is_ok(), number < 4, "{kind:?}: {found:?}");
    }

    // A header that cannot be read is refused before its signature is checked.
    for kind in [json!(5), json!(["logout+jwt"])] {
        let header = json!({"alg": "ES256", "typ": kind}).to_string();
        let [header, payload] =
            [header, claims.to_string()].map(|part| portcullis_guest::base64url(part.as_bytes()));
        let found = Oidc::read_logout_token(&host, &format!("{header}.{payload}.AAAA"));
        assert!(
            matches!(&found, Err(LogoutError::InvalidToken(why)) if why.contains("`typ`")),
            "{kind}: {found:?}"
        );
    }
}

#[test]
fn issuer_out_of_reach_is_an_outage() {
    let host = host(&[]).at(NOW);
    assert!(matches!(
        send(&host, json!({"sid": "one"})),
        Err(LogoutError::Unavailable(_))
    ));
}

#[test]
fn sign_out_says_by_the_id_token_whose_session_ends() {
    let settings = [
        ("end_session", "true"),
        ("endpoints", r#"{"end_session":"https://idp/out"}"#),
        ("userinfo", "never"),
    ];
    let hint = |host: &MockHost, access_token: &str| {
        let url = Oidc::sign_out_url(host, access_token, "https://us/login")
            .unwrap()
            .unwrap();
        url.split_once("&id_token_hint=")
            .map(|(_, hint)| hint.to_owned())
    };
    let (host, session) = signed_in(&settings, json!({"sid": "one"}));
    assert_eq!(hint(&host, ""), None);
    assert_eq!(hint(&host, "made-up"), None);
    assert_eq!(hint(&host, &session.refresh_token), None);
    let late = host.clone().at(NOW + 3_600);
    assert!(
        hint(&late, &session.access_token).is_some(),
        "the access token has ended"
    );
    assert_eq!(
        hint(&host, &session.access_token)
            .unwrap()
            .split('.')
            .count(),
        3,
        "an ID token"
    );
    assert_eq!(
        hint(&host, &session.access_token),
        None,
        "it is kept until a sign-out"
    );
    assert!(goes_on(&host, &session));

    let (host, session) = signed_in(&settings, json!({}));
    let renewed = Oidc::refresh_session(&host, &session.refresh_token).unwrap();
    assert!(hint(&host.clone(), &renewed.access_token).is_some());
    Oidc::revoke_session(&host, &renewed.refresh_token);
    assert_eq!(
        hint(&host, &renewed.access_token),
        None,
        "the session is over"
    );

    let (host, session) = signed_in(&settings, json!({"sid": "one"}));
    assert_eq!(send(&host, json!({"sid": "one"})), Ok(Ended::Noted));
    assert!(!goes_on(&host, &session), "the handle hides no end");

    let (host, session) = signed_in(&settings[1..], json!({}));
    let switched_on = host.with_setting("end_session", "true");
    assert_eq!(
        hint(&switched_on, &session.access_token),
        None,
        "it was not kept"
    );
}

#[test]
fn id_token_of_a_session_leads_to_no_other_client() {
    let settings = [
        ("end_session", "true"),
        ("endpoints", r#"{"end_session":"https://idp/out"}"#),
        ("userinfo", "never"),
    ];
    let (host, session) = signed_in(&settings, json!({}));
    let address = |host: &MockHost| {
        Oidc::sign_out_url(host, &session.access_token, "https://us/login")
            .unwrap()
            .unwrap()
    };
    let other = host.clone().with_setting("client_id", "another");
    assert!(!address(&other).contains("id_token_hint"));
    assert!(address(&host).contains("id_token_hint"));
}

#[test]
fn address_of_the_sign_out_fits_through_common_proxies_with_every_id_token() {
    let settings = [
        ("end_session", "true"),
        ("endpoints", r#"{"end_session":"https://idp/out"}"#),
        ("userinfo", "never"),
    ];
    let address = |size: usize| {
        let (host, session) = signed_in(&settings, json!({"long": "x".repeat(size)}));
        Oidc::sign_out_url(&host, &session.access_token, "https://us/login")
            .unwrap()
            .unwrap()
    };
    let has_hint = |address: &str| address.contains("&id_token_hint=");
    assert!(has_hint(&address(0)));
    assert!(!has_hint(&address(2_400)));
    // Steps that no length between the bound on a token and that on an address falls through.
    for size in (1_000..1_500).step_by(20) {
        let address = address(size);
        assert!(address.len() <= 2_048, "{size}: {}", address.len());
    }
}

#[test]
fn sign_out_leads_to_the_issuer_where_the_operator_says_so() {
    let announced = [("end_session_endpoint", "https://idp/logout?tenant=a")];
    let url = |settings: &[(&str, &str)], document: &str| {
        let host = host(settings).at(NOW).with_answer(DISCOVERY, 200, document);
        Oidc::sign_out_url(&host, "", "https://us/login").unwrap()
    };
    assert_eq!(url(&[], &document(&announced)), None);
    assert_eq!(url(&[("end_session", "true")], &document(&[])), None);
    assert_eq!(
        url(&[("end_session", "true")], &document(&announced)).as_deref(),
        Some(
            "https://idp/logout?tenant=a&client_id=us&post_logout_redirect_uri=https%3A%2F%2Fus%2Flogin"
        )
    );
    let configured = [
        ("end_session", "true"),
        ("endpoints", r#"{"end_session":"https://idp/out"}"#),
    ];
    assert!(
        url(&configured, &document(&announced))
            .unwrap()
            .starts_with("https://idp/out?client_id=us&")
    );
}
