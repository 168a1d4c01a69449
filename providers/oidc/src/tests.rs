//! Whole sign-ins and refreshes at issuers that are made up of answers.

mod logout;

use super::*;
use crate::settings::tests::host;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use portcullis_guest::{Bucket, Http, HttpRequest, HttpResponse, KeyPage, MockBucket, MockHost};
use serde_json::{Value, json};

const NOW: u64 = 1_700_000_000;
const DISCOVERY: &str = "https://idp/.well-known/openid-configuration";
const NONCE: &str = "the nonce";

fn document(change: &[(&str, &str)]) -> String {
    let mut document = json!({
        "issuer": "https://idp",
        "authorization_endpoint": "https://idp/authorize",
        "token_endpoint": "https://idp/token",
        "jwks_uri": "https://idp/jwks",
        "userinfo_endpoint": "https://idp/userinfo",
    });
    change
        .iter()
        .for_each(|(name, value)| document[*name] = json!(value));
    document.to_string()
}

fn jwks() -> String {
    json!({"keys": [{"kty":"EC","x":"alGVmWxp0GoGlr14PRXVn3fInNXyFVaGety77T66af4","y":"X7YQRdkQSoUuhL8vnkZPduUtAaH8QXDMsT2a5G4bE1g","crv":"P-256"}]}).to_string()
}

fn signed(claims: &Value) -> String {
    signed_as(&Header::new(Algorithm::ES256), claims)
}

fn signed_as(header: &Header, claims: &Value) -> String {
    let pem = include_str!("../tests/p256.pem");
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let key = EncodingKey::from_ec_der(&STANDARD.decode(body).unwrap());
    encode(header, claims, &key).unwrap()
}

/// A token answer with an ID token of these claims beside those that every one has.
fn tokens(claims: Value, more: Value) -> String {
    let mut all =
        json!({"iss": "https://idp", "aud": "us", "exp": NOW + 300, "nonce": NONCE, "sub": "ada"});
    merge(&mut all, claims);
    let mut answer =
        json!({"access_token": "theirs", "token_type": "Bearer", "id_token": signed(&all)});
    merge(&mut answer, more);
    answer.to_string()
}

fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else {
        panic!("{more} is no object")
    };
    into.as_object_mut().unwrap().extend(more);
}

/// The issuer at its usual addresses, with this token answer.
fn issuer(settings: &[(&str, &str)], token_answer: &str) -> MockHost {
    host(settings)
        .at(NOW)
        .with_answer(DISCOVERY, 200, document(&[]))
        .with_answer("https://idp/jwks", 200, jwks())
        .with_answer("https://idp/token", 200, token_answer)
}

fn sign_in(host: &MockHost) -> Result<Session, CodeError> {
    sign_in_answered_by(host, None)
}

/// A sign-in whose answer names this issuer.
fn sign_in_answered_by(host: &MockHost, issuer: Option<&str>) -> Result<Session, CodeError> {
    let response = LoginResponse {
        redirect_uri: "https://us/callback".to_owned(),
        code: "the-code".to_owned(),
        nonce: NONCE.to_owned(),
        code_verifier: "the verifier".to_owned(),
        issuer: issuer.map(str::to_owned),
    };
    Oidc::complete_login(host, &response)
}

fn asked(host: &MockHost, url: &str) -> usize {
    host.http
        .requests()
        .iter()
        .filter(|request| request.url == url)
        .count()
}

#[test]
fn sign_in_opens_a_session_until_the_id_token_ends() {
    let host = issuer(
        &[],
        &tokens(json!({"email": "a@b", "name": "Ada"}), json!({})),
    );
    let session = sign_in(&host).unwrap();
    assert_eq!(
        (session.user_id.as_str(), session.email.as_str()),
        ("ada", "a@b")
    );
    assert_eq!(
        (session.expires_at, session.refresh_token.as_str()),
        (NOW + 360, "")
    );
    assert_eq!(
        asked(&host, "https://idp/userinfo"),
        0,
        "nothing is missing"
    );
    let verified = Oidc::verify_session(&host, &session.access_token)
        .unwrap()
        .unwrap();
    assert_eq!(verified.display_name, "Ada");
}

/// RFC 9207, section 2.4.
#[test]
fn answer_of_another_issuer_brings_no_code_to_the_token_endpoint() {
    let plain = document(&[]);
    let mut announced: Value = serde_json::from_str(&plain).unwrap();
    announced["authorization_response_iss_parameter_supported"] = json!(true);
    let announcing = announced.to_string();
    for (document, named, is_taken) in [
        (&announcing, Some("https://idp"), true),
        (&announcing, None, false),
        (&announcing, Some(""), false),
        (&announcing, Some("https://idp/"), false),
        (&announcing, Some("https://other"), false),
        (&plain, None, true),
        (&plain, Some("https://idp"), true),
        (&plain, Some("https://other"), false),
    ] {
        let answer = tokens(json!({}), json!({}));
        let host =
            issuer(&[("userinfo", "never")], &answer).with_answer(DISCOVERY, 200, document.clone());
        let found = sign_in_answered_by(&host, named);
        assert_eq!(found.is_ok(), is_taken, "{named:?}: {found:?}");
        assert!(
            is_taken || matches!(found, Err(CodeError::InvalidCode(_))),
            "{named:?}: {found:?}"
        );
        assert_eq!(
            asked(&host, "https://idp/token"),
            usize::from(is_taken),
            "{named:?}"
        );
    }
}

#[test]
fn what_is_missing_is_asked_of_userinfo() {
    let settings = [("require", r#"{"groups":["admins"]}"#)];
    let host = issuer(&settings, &tokens(json!({}), json!({})));
    let answered = |answer: &Value| {
        host.clone()
            .with_answer("https://idp/userinfo", 200, answer.to_string())
    };
    let all = json!({"sub": "ada", "email": "a@b", "name": "Ada", "groups": ["admins"]});

    let session = sign_in(&answered(&all)).unwrap();
    assert_eq!(
        (session.email.as_str(), session.display_name.as_str()),
        ("a@b", "Ada")
    );

    let mut other = all.clone();
    other["sub"] = json!("mallory");
    assert!(
        matches!(sign_in(&answered(&other)), Err(CodeError::InvalidCode(why)) if why.contains("subject"))
    );
    let mut nobody = all.clone();
    nobody.as_object_mut().unwrap().remove("sub");
    assert!(matches!(
        sign_in(&answered(&nobody)),
        Err(CodeError::InvalidCode(_))
    ));

    let as_token = host
        .clone()
        .with_answer("https://idp/userinfo", 200, signed(&all));
    assert_eq!(sign_in(&as_token).unwrap().email, "a@b");
    let mut for_others = all.clone();
    for_others["aud"] = json!("them");
    let as_token = host
        .clone()
        .with_answer("https://idp/userinfo", 200, signed(&for_others));
    assert!(matches!(sign_in(&as_token), Err(CodeError::InvalidCode(_))));

    let down = host.clone().with_answer("https://idp/userinfo", 503, "");
    assert!(
        matches!(sign_in(&down), Err(CodeError::Unavailable(_))),
        "the group may be there"
    );
    let never = host.clone().with_setting("userinfo", "never");
    assert!(
        matches!(sign_in(&never), Err(CodeError::InvalidCode(why)) if why.contains("`groups`"))
    );
}

#[test]
fn userinfo_that_is_down_costs_no_sign_in_that_does_not_need_it() {
    let host =
        issuer(&[], &tokens(json!({}), json!({}))).with_answer("https://idp/userinfo", 503, "");
    assert_eq!(sign_in(&host).unwrap().user_id, "ada");
    let always = host.with_setting("userinfo", "always");
    assert!(matches!(sign_in(&always), Err(CodeError::Unavailable(_))));
}

#[test]
fn person_is_refused_and_never_a_fault() {
    for claims in [
        json!({"sub": "x".repeat(300)}),
        json!({"sub": "a\tb"}),
        json!({"sub": null}),
        json!({"sub": ["a", "b"]}),
        json!({"sub": "the-code"}),
        json!({"exp": 1}),
        json!({"exp": null}),
        json!({"nbf": [1]}),
        json!({"aud": "them"}),
        json!({"nonce": 7}),
    ] {
        let found = sign_in(&issuer(
            &[("userinfo", "never")],
            &tokens(claims.clone(), json!({})),
        ));
        assert!(
            matches!(found, Err(CodeError::InvalidCode(_))),
            "{claims}: {found:?}"
        );
    }
    let endless = sign_in(&issuer(&[], &tokens(json!({"exp": 1e300}), json!({})))).unwrap();
    assert_eq!(endless.expires_at, NOW + MAX_REFRESH_SECONDS);
    let over = tokens(json!({"exp": NOW - 59}), json!({}));
    assert!(
        sign_in(&issuer(&[], &over)).unwrap().expires_at > NOW,
        "within the leeway"
    );
}

#[test]
fn endpoint_that_moved_is_found_without_a_wait() {
    let answer = tokens(json!({}), json!({}));
    let before = issuer(&[("userinfo", "never")], &answer);
    sign_in(&before).unwrap();
    for status in [404, 405, 410] {
        let moved = before
            .clone()
            .with_answer("https://idp/token", status, "")
            .with_answer(
                DISCOVERY,
                200,
                document(&[("token_endpoint", "https://idp/v2/token")]),
            )
            .with_answer("https://idp/v2/token", 200, answer.as_str());
        assert!(sign_in(&moved).is_ok(), "{status}");
        assert_eq!(asked(&moved, DISCOVERY), 2);
    }
    let keys = issuer(&[("userinfo", "never")], &answer);
    Oidc::start_login(&keys, &LoginRequest::default()).unwrap();
    let moved = keys
        .with_answer("https://idp/jwks", 404, "")
        .with_answer(
            DISCOVERY,
            200,
            document(&[("jwks_uri", "https://idp/v2/jwks")]),
        )
        .with_answer("https://idp/v2/jwks", 200, jwks());
    assert!(sign_in(&moved).is_ok(), "keys");

    Oidc::check_settings(&before).unwrap();
    sign_in(&before).unwrap();
    assert_eq!(asked(&before, DISCOVERY), 2, "asked again after a reload");
}

#[test]
fn server_without_openid_connect_says_who_at_userinfo() {
    let settings = [
        ("issuer", "https://github.example"),
        (
            "endpoints",
            r#"{"authorization":"https://github.example/a","token":"https://github.example/t","userinfo":"https://api.example/user"}"#,
        ),
        ("scopes", "read:user"),
        ("claims", r#"{"user_id":"id","display_name":"login"}"#),
    ];
    let host = host(&settings)
        .at(NOW)
        .with_answer(
            "https://github.example/t",
            200,
            r#"{"access_token":"t","token_type":"bearer"}"#,
        )
        .with_answer(
            "https://api.example/user",
            200,
            r#"{"id":583231,"login":"octocat","name":null}"#,
        );
    let session = sign_in(&host).unwrap();
    assert_eq!(
        (session.user_id.as_str(), session.display_name.as_str()),
        ("583231", "octocat")
    );
    assert_eq!(
        asked(
            &host,
            "https://github.example/.well-known/openid-configuration"
        ),
        0
    );
    let bearer = ("authorization".to_owned(), "Bearer t".to_owned());
    assert!(
        host.http
            .requests()
            .last()
            .unwrap()
            .headers
            .contains(&bearer)
    );

    let refused = host.with_answer(
        "https://github.example/t",
        200,
        r#"{"error":"bad_verification_code"}"#,
    );
    assert!(matches!(sign_in(&refused), Err(CodeError::InvalidCode(_))));
}

#[test]
fn refresh_tokens_of_every_size_leave_small_cookies() {
    for size in [8, 400, 1_331, 1_937, 8_000] {
        let theirs = "x".repeat(size);
        let answer = tokens(
            json!({"email": "a@b", "name": "Ada"}),
            json!({"refresh_token": theirs}),
        );
        let host = issuer(&[], &answer);
        let session = sign_in(&host).unwrap();
        assert!(
            session.refresh_token.len() < 1_000,
            "{size}: {}",
            session.refresh_token.len()
        );

        let rotated = tokens(
            json!({"nonce": null}),
            json!({"refresh_token": "y".repeat(size)}),
        );
        let host = host.with_answer("https://idp/token", 200, rotated);
        let renewed = Oidc::refresh_session(&host, &session.refresh_token).unwrap();
        let requests = host.http.requests();
        let sent = requests
            .into_iter()
            .rfind(|request| request.url == "https://idp/token");
        let form = String::from_utf8(sent.unwrap().body.unwrap().bytes).unwrap();
        assert!(form.contains(&format!("refresh_token={theirs}")), "{size}");
        assert_eq!(
            Oidc::refresh_session(&host, &session.refresh_token),
            Err(RefreshError::Expired),
            "spent"
        );
        assert_ne!(renewed.refresh_token, session.refresh_token);
    }
}

/// A host where the person signs out while the issuer answers a refresh.
struct SignedOutMeanwhile {
    host: MockHost,
    refresh_token: String,
}

impl Host for SignedOutMeanwhile {
    fn setting(&self, key: &str) -> Option<String> {
        self.host.setting(key)
    }

    fn setting_names(&self) -> Vec<String> {
        self.host.setting_names()
    }

    fn now(&self) -> u64 {
        self.host.now()
    }

    fn bucket(&self) -> &dyn Bucket {
        self.host.bucket()
    }

    fn http(&self) -> &dyn Http {
        self
    }
}

impl Http for SignedOutMeanwhile {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, Unavailable> {
        if request.url == "https://idp/token" {
            Oidc::revoke_session(&self.host, &self.refresh_token);
        }
        self.host.http.send(request)
    }
}

/// The refresh tokens that the issuer was asked to revoke.
fn revoked(host: &MockHost) -> Vec<String> {
    let requests = host.http.requests().into_iter();
    let forms = requests
        .filter(|request| request.url == "https://idp/revoke")
        .map(|request| String::from_utf8(request.body.unwrap().bytes).unwrap());
    forms
        .map(|form| {
            let (_, rest) = form.split_once("&token=").unwrap();
            rest.split('&').next().unwrap().to_owned()
        })
        .collect()
}

/// How many refresh tokens the bucket keeps.
fn kept(host: &MockHost) -> usize {
    let page = host.bucket.list_keys(None).unwrap();
    page.keys.iter().filter(|key| key.starts_with("0:")).count()
}

#[test]
fn sign_out_during_a_refresh_leaves_no_token_of_the_issuer() {
    for size in [8, 2_000] {
        let [old, new] = ["x", "y"].map(|letter| letter.repeat(size));
        let host = issuer(
            &[("userinfo", "never")],
            &tokens(json!({}), json!({"refresh_token": old})),
        )
        .with_answer(
            DISCOVERY,
            200,
            document(&[("revocation_endpoint", "https://idp/revoke")]),
        )
        .with_answer("https://idp/revoke", 200, "");
        let session = sign_in(&host).unwrap();
        let rotated = tokens(json!({}), json!({"refresh_token": new}));
        let host = SignedOutMeanwhile {
            host: host.with_answer("https://idp/token", 200, rotated),
            refresh_token: session.refresh_token.clone(),
        };
        assert_eq!(
            Oidc::refresh_session(&host, &session.refresh_token),
            Err(RefreshError::Expired)
        );
        assert_eq!(revoked(&host.host), [old, new]);
        assert_eq!(kept(&host.host), 0);
    }
}

#[test]
fn tokens_of_sessions_that_are_over_take_no_room() {
    let long = json!({"refresh_token": "x".repeat(2_000)});
    let host = issuer(&[("userinfo", "never")], &tokens(json!({}), long));
    let first = sign_in(&host).unwrap();
    assert_eq!(kept(&host), 1);
    Oidc::revoke_session(&host, &first.refresh_token);
    assert_eq!(kept(&host), 0, "a sign-out");

    let session = sign_in(&host).unwrap();
    Oidc::refresh_session(&host, &session.refresh_token).unwrap();
    assert_eq!(kept(&host), 1);
    assert_eq!(
        Oidc::refresh_session(&host, &session.refresh_token),
        Err(RefreshError::Expired)
    );
    assert_eq!(kept(&host), 0, "a token that was used twice");

    let session = sign_in(&host).unwrap();
    let host = host.with_answer("https://idp/token", 400, r#"{"error":"invalid_grant"}"#);
    assert_eq!(
        Oidc::refresh_session(&host, &session.refresh_token),
        Err(RefreshError::Expired)
    );
    assert_eq!(kept(&host), 0, "a refusal");
}

#[test]
fn session_of_which_the_token_was_pushed_out_goes_on_to_its_end() {
    let long = json!({"refresh_token": "x".repeat(2_000)});
    let host = issuer(&[("userinfo", "never")], &tokens(json!({}), long));
    let first = sign_in(&host).unwrap();
    let later = host.at(NOW + 1);
    for _ in 0..20 {
        sign_in(&later).unwrap();
    }
    assert_eq!(kept(&later), 20);
    assert!(
        Oidc::verify_session(&later, &first.access_token)
            .unwrap()
            .is_some()
    );
    assert_eq!(
        Oidc::refresh_session(&later, &first.refresh_token),
        Err(RefreshError::Expired)
    );
}

/// Takes no key that is not there.
struct Full(MockBucket);

impl Bucket for Full {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        self.0.get(key)
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), Unavailable> {
        match self.0.get(key)? {
            Some(_) => self.0.set(key, value),
            None => Err(Unavailable("full".to_owned())),
        }
    }

    fn increment(&self, key: &str, by: u64) -> Result<u64, Unavailable> {
        match self.0.get(key)? {
            Some(_) => self.0.increment(key, by),
            None => Err(Unavailable("full".to_owned())),
        }
    }

    fn delete(&self, key: &str) -> Result<(), Unavailable> {
        self.0.delete(key)
    }

    fn list_keys(&self, cursor: Option<u64>) -> Result<KeyPage, Unavailable> {
        self.0.list_keys(cursor)
    }
}

/// A host of which the bucket takes no more keys.
struct WithoutRoom {
    host: MockHost,
    bucket: Full,
}

impl Host for WithoutRoom {
    fn setting(&self, key: &str) -> Option<String> {
        self.host.setting(key)
    }

    fn setting_names(&self) -> Vec<String> {
        self.host.setting_names()
    }

    fn now(&self) -> u64 {
        self.host.now()
    }

    fn bucket(&self) -> &dyn Bucket {
        &self.bucket
    }

    fn http(&self) -> &dyn Http {
        &self.host.http
    }
}

#[test]
fn full_bucket_is_noticed_before_the_issuer_takes_its_token() {
    let answer = tokens(json!({}), json!({"refresh_token": "theirs"}));
    let host = issuer(&[("userinfo", "never")], &answer);
    let session = sign_in(&host).unwrap();
    let without_room = WithoutRoom {
        bucket: Full(host.bucket.clone()),
        host,
    };
    let asked_before = asked(&without_room.host, "https://idp/token");
    assert!(matches!(
        Oidc::refresh_session(&without_room, &session.refresh_token),
        Err(RefreshError::Unavailable(_))
    ));
    assert_eq!(asked(&without_room.host, "https://idp/token"), asked_before);

    let renewed = Oidc::refresh_session(&without_room.host, &session.refresh_token).unwrap();
    let without_room = WithoutRoom {
        bucket: Full(without_room.host.bucket.clone()),
        ..without_room
    };
    let again = Oidc::refresh_session(&without_room, &renewed.refresh_token);
    assert!(again.is_ok(), "it has its room: {again:?}");
}

#[test]
fn cookie_with_the_token_itself_still_works() {
    let answer = tokens(json!({"email": "a@b", "name": "Ada"}), json!({}));
    let host = issuer(&[], &answer);
    sign_in(&host).unwrap();
    let context = CallContext::new(&host).unwrap();
    let key = context.key().unwrap().unwrap();
    let notes = Notes {
        both: context.settings.mark(),
        refresh: "x".repeat(1_500),
    };
    let person = Person {
        user_id: "ada".to_owned(),
        ..Person::default()
    };
    let before = context
        .signer(&key)
        .open(person, notes, context.ends(NOW, true))
        .unwrap();
    let renewed = Oidc::refresh_session(&host, &before.refresh_token).unwrap();
    assert!(renewed.refresh_token.len() < before.refresh_token.len());
}

#[test]
fn refresh_is_refused_by_4xx_and_outlives_an_outage() {
    for (status, body, is_refused) in [
        (400, r#"{"error":"invalid_grant"}"#, true),
        (400, r#"{"error":"invalid_request"}"#, true),
        (401, r#"{"error":"invalid_client"}"#, true),
        (403, "", true),
        (404, "", true),
        (408, "", false),
        (429, "", false),
        (500, "", false),
        (503, "", false),
        (200, "<h1>Hello</h1>", false),
    ] {
        let first = issuer(
            &[],
            &tokens(json!({"email": "a@b"}), json!({"refresh_token": "theirs"})),
        );
        let first = first.with_answer("https://idp/userinfo", 503, "");
        let session = sign_in(&first).unwrap();
        let later = first.with_answer("https://idp/token", status, body);
        let found = Oidc::refresh_session(&later, &session.refresh_token);
        assert_eq!(
            found == Err(RefreshError::Expired),
            is_refused,
            "{status} {body}: {found:?}"
        );
        assert!(found.is_err());
    }
    let first = issuer(
        &[],
        &tokens(json!({"email": "a@b"}), json!({"refresh_token": "theirs"})),
    );
    let session = sign_in(&first).unwrap();
    let other = tokens(json!({"sub": "mallory"}), json!({}));
    let other = first.with_answer("https://idp/token", 200, other);
    assert_eq!(
        Oidc::refresh_session(&other, &session.refresh_token),
        Err(RefreshError::Expired)
    );
}

#[test]
fn authorization_request_has_the_configured_parameters() {
    let settings = [
        (
            "authorization_params",
            r#"{"access_type":"offline","prompt":"consent"}"#,
        ),
        ("scopes", "  openid   email "),
    ];
    let request = LoginRequest {
        redirect_uri: "https://us/callback".to_owned(),
        state: "s".to_owned(),
        nonce: "n".to_owned(),
        code_challenge: "c".to_owned(),
    };
    let url = Oidc::start_login(&issuer(&settings, "{}"), &request).unwrap();
    assert!(
        url.starts_with("https://idp/authorize?response_type=code&client_id=us&"),
        "{url}"
    );
    assert!(
        url.contains("&scope=openid+email&access_type=offline&prompt=consent"),
        "{url}"
    );
}
