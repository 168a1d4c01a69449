//! Ten thousand things that strangers send, or have an issuer send: ID tokens, discovery documents,
//! key sets, and headers of proxies.
//!
//! Nothing that was not verified opens a session. No input is a fault of a provider, but for an
//! issuer that is out of order, which is `unavailable`. A person who is signed in stays so.

pub(crate) mod dice;
mod scene;

use super::issuers::keys;
use dice::Dice;
use portcullis_guest::base64url;
use portcullis_tests::Reply;
use scene::{Scene, Visitor, callback, parameters_of, refusal_of, session_of};
use serde_json::{Value, json};

/// Who come at once.
const VISITORS: usize = 2;
/// Inputs of each kind, over all visitors.
const ID_TOKENS: usize = 4_000;
const DISCOVERY_DOCUMENTS: usize = 1_000;
const KEY_SETS: usize = 1_000;
const FORWARDED: usize = 4_000;

/// After this many inputs the session of another person is checked.
const LOOK_EVERY: usize = 100;

/// Has every visitor try its share of the inputs. Returns what each of them counts.
fn visit(
    scene: &Scene,
    inputs: usize,
    seed: u64,
    try_all: impl Fn(&Visitor<'_>, Dice, usize) -> usize + Sync,
) -> Vec<usize> {
    let try_all = &try_all;
    std::thread::scope(|scope| {
        let visit = |number: usize| {
            scope.spawn(move || {
                let dice = Dice::new(seed * 100 + number as u64);
                try_all(&scene.visitor(number), dice, inputs / VISITORS)
            })
        };
        let visits: Vec<_> = (0..VISITORS).map(visit).collect();
        visits
            .into_iter()
            .map(|visit| visit.join().expect("no input breaks a promise"))
            .collect()
    })
}

/// An ID token, and whether it may open a session.
struct Sent {
    token: Value,
    may_enter: bool,
}

fn refused(token: impl Into<Value>) -> Sent {
    Sent {
        token: token.into(),
        may_enter: false,
    }
}

/// Claims that no verified sign-in needs, with any value.
const OPTIONAL: &[&str] = &[
    "name",
    "email",
    "email_verified",
    "groups",
    "preferred_username",
    "nickname",
    "amr",
    "acr",
    "auth_time",
    "sid",
    "hd",
    "x",
];

/// A claim that has to be right, and a value that it must not have. `null` is as good as nothing.
fn wrong_claim(dice: &mut Dice, issuer: &str, nonce: &str) -> (&'static str, Value) {
    let wrong = [
        (
            "iss",
            vec![
                json!(format!("{issuer}/")),
                json!([issuer]),
                json!(issuer.to_uppercase()),
                json!(""),
            ],
        ),
        (
            "aud",
            vec![
                json!("other"),
                json!(["other"]),
                json!("portcullis "),
                json!([]),
                json!({"a": 1}),
            ],
        ),
        (
            "exp",
            vec![
                json!(0),
                json!(-1),
                json!(1_000_000_000),
                json!("4102444800"),
                json!([4_102_444_800_u64]),
            ],
        ),
        (
            "nonce",
            vec![
                json!(""),
                json!([nonce]),
                json!(nonce.to_uppercase()),
                json!(format!("{nonce} ")),
            ],
        ),
        (
            "sub",
            vec![
                json!(""),
                json!([]),
                json!({}),
                json!("x".repeat(300)),
                json!("a\tb"),
                json!("\u{202e}"),
            ],
        ),
        (
            "iat",
            vec![json!(4_102_444_800_u64), json!("tomorrow"), json!([])],
        ),
        (
            "nbf",
            vec![json!(4_102_444_800_u64), json!("tomorrow"), json!({})],
        ),
        ("azp", vec![json!("other"), json!(7), json!(["portcullis"])]),
    ];
    let (name, mut values) = dice.pick(&wrong);
    if matches!(name, "iss" | "aud" | "exp" | "nonce" | "sub") {
        values.push(Value::Null);
    }
    (name, dice.pick(&values))
}

/// A header that no verified token has.
fn wrong_header(dice: &mut Dice) -> Value {
    let mut header = keys::header();
    match dice.below(3) {
        0 => {
            let names = [
                "none", "None", "", "HS256", "RS384", "RS512", "PS256", "ES256", "EdDSA", "rs256",
                "RS256 ",
            ];
            header["alg"] = dice.pick(&names).into();
        }
        1 => {
            header["alg"] = dice.pick(&[
                Value::Null,
                json!(256),
                json!(["RS256"]),
                json!({}),
                json!(true),
            ]);
        }
        _ => header["crit"] = dice.value(2),
    }
    header
}

/// A header with more than is needed, which must not be followed; or without the name of the key.
fn odd_header(dice: &mut Dice) -> Value {
    let mut header = keys::header();
    let name = dice.pick(&[
        "typ", "cty", "jku", "x5u", "jwk", "x5c", "x5t", "kid", "b64", "zip", "x",
    ]);
    header[name] = match name {
        "jku" | "x5u" => "http://127.0.0.1:1/keys".into(),
        _ => dice.value(2),
    };
    header
}

/// A token whose signature is not that of its header and claims.
fn wrongly_signed(dice: &mut Dice, claims: &Value) -> String {
    let message = keys::message(&keys::header(), claims);
    let mut signature = keys::signature(&message);
    match dice.below(6) {
        0 => {
            let at = dice.below(signature.len());
            signature[at] ^= 1_u8 << dice.below(8);
        }
        1 => signature.truncate(dice.below(signature.len())),
        2 => signature.push(0),
        3 => signature = dice.bytes(256),
        4 => {
            let mut other = claims.clone();
            other["sub"] = "root".into();
            let signature = base64url(&signature);
            return format!("{}.{signature}", keys::message(&keys::header(), &other));
        }
        _ => {
            let signature = base64url(&signature);
            return dice.pick(&[
                format!("{message}.{signature}.{signature}"),
                format!("{message}.{signature}="),
                format!("{message}. {signature}"),
                format!("{message}.{}", signature.to_lowercase()),
                format!(".{message}.{signature}"),
                message.clone(),
            ]);
        }
    }
    format!("{message}.{}", base64url(&signature))
}

/// What is no token at all.
fn garbage(dice: &mut Dice) -> Value {
    match dice.below(4) {
        0 => dice.value(2),
        1 => json!(dice.text()),
        2 => json!(base64url(&dice.bytes(60))),
        _ => {
            let parts: Vec<_> = (0..dice.below(5))
                .map(|_| base64url(dice.value(2).to_string().as_bytes()))
                .collect();
            json!(parts.join("."))
        }
    }
}

fn id_token(dice: &mut Dice, issuer: &str, mut claims: Value) -> Sent {
    let nonce = claims["nonce"].as_str().unwrap_or_default().to_owned();
    match dice.below(6) {
        0 => {
            let name = dice.pick(OPTIONAL);
            claims[name] = dice.value(2);
            Sent {
                token: keys::token(&keys::header(), &claims).into(),
                may_enter: true,
            }
        }
        1 => {
            let (name, value) = wrong_claim(dice, issuer, &nonce);
            claims[name] = value;
            refused(keys::token(&keys::header(), &claims))
        }
        2 => refused(keys::token(&wrong_header(dice), &claims)),
        3 => Sent {
            token: keys::token(&odd_header(dice), &claims).into(),
            may_enter: true,
        },
        4 => refused(wrongly_signed(dice, &claims)),
        _ => refused(garbage(dice)),
    }
}

/// No session, and a word that says that the issuer or the person is at fault, and not the
/// provider.
fn assert_refused(reply: &Reply, words: &[&str], input: &dyn std::fmt::Debug) {
    assert_eq!(session_of(reply), None, "a session for {input:?}");
    let word = refusal_of(reply);
    assert!(
        word.is_some_and(|word| words.contains(&word)),
        "{input:?}: {reply:?}"
    );
}

#[test]
fn id_tokens_that_are_not_verified_open_no_session() {
    let scene = Scene::start(VISITORS);
    let entered = visit(&scene, ID_TOKENS, 1, |visitor, mut dice, inputs| {
        let mut entered = 0;
        for index in 0..inputs {
            let begun = visitor.begin(index);
            let subject = format!("stranger-{index}");
            let claims = scene.claims(visitor.number, &begun.nonce, &subject);
            let sent = id_token(&mut dice, &scene.issuer(visitor.number), claims);
            let reply = visitor.come_back(&begun, &sent.token);
            match session_of(&reply).filter(|_| sent.may_enter) {
                Some(cookie) => {
                    assert_eq!(
                        visitor.me(&cookie)["user_id"],
                        subject.as_str(),
                        "{}",
                        sent.token
                    );
                    entered += 1;
                }
                None => assert_refused(&reply, &["1", "unusable"], &sent.token),
            }
            if index % LOOK_EVERY == 0 {
                scene.assert_unharmed(&[]);
            }
        }
        entered
    });
    assert!(
        entered.iter().all(|entered| *entered > 0),
        "verified tokens open sessions: {entered:?}"
    );
    scene.assert_unharmed(&[]);
}

/// A discovery document with some members that are damaged.
fn odd_discovery(dice: &mut Dice, mut document: Value) -> String {
    if dice.below(4) == 0 {
        return dice.damaged(&document);
    }
    for _ in 0..=dice.below(3) {
        let name = dice.pick(&[
            "issuer",
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "userinfo_endpoint",
            "revocation_endpoint",
            "end_session_endpoint",
            "authorization_response_iss_parameter_supported",
            "token_endpoint_auth_methods_supported",
            "id_token_signing_alg_values_supported",
            "scopes_supported",
        ]);
        let issuer = document["issuer"].as_str().unwrap_or_default().to_owned();
        document[name] = match dice.below(2) {
            0 => dice.value(2),
            _ => json!(dice.pick(&[
                "http://127.0.0.1:1/x".to_owned(),
                "https://elsewhere.test/x".to_owned(),
                "http://elsewhere.test/x".to_owned(),
                "javascript:alert(1)".to_owned(),
                "file:///etc/passwd".to_owned(),
                "//elsewhere.test/x".to_owned(),
                "http://[::1".to_owned(),
                "https://user:password@elsewhere.test/".to_owned(),
                format!("{issuer}/gone"),
                format!("{issuer}/x?state=1&nonce=2"),
                format!("{issuer}/x#part"),
                format!("{issuer}/\r\nx"),
            ])),
        };
    }
    document.to_string()
}

/// A token of a key that is in no key set, which has the provider look for the key again.
fn of_an_unknown_key(dice: &mut Dice, index: usize, claims: &Value) -> Value {
    let (algorithm, length) = dice.pick(&[
        ("RS256", 256),
        ("PS256", 256),
        ("ES256", 64),
        ("ES384", 96),
        ("ES512", 132),
        ("EdDSA", 64),
    ]);
    let header = json!({"alg": algorithm, "kid": format!("unknown-{index}")});
    json!(format!(
        "{}.{}",
        keys::message(&header, claims),
        base64url(&dice.bytes(length))
    ))
}

#[test]
fn discovery_documents_open_no_session_and_are_no_fault() {
    let scene = Scene::start(VISITORS);
    visit(
        &scene,
        DISCOVERY_DOCUMENTS,
        2,
        |visitor, mut dice, inputs| {
            for index in 0..inputs {
                let begun = visitor.begin(index);
                let document = odd_discovery(&mut dice, scene.discovery(visitor.number));
                scene.set_discovery(visitor.number, document.clone());
                let claims = scene.claims(visitor.number, &begun.nonce, "stranger");
                let token = of_an_unknown_key(&mut dice, index, &claims);
                let reply = visitor.come_back(&begun, &token);
                assert_refused(&reply, &["1", "unanswered"], &document);
                if index % LOOK_EVERY == 0 {
                    scene.assert_unharmed(&["unavailable"]);
                }
            }
            assert!(
                scene.discoveries(visitor.number) > inputs,
                "every document was read"
            );
            inputs
        },
    );
    scene.assert_unharmed(&["unavailable"]);
}

/// A key with some members that are damaged.
fn odd_key(dice: &mut Dice) -> Value {
    let point = base64url(&dice.bytes(32));
    let mut key = dice.pick(&[
        keys::key(),
        json!({"kty": "EC", "crv": "P-256", "x": point, "y": point}),
        json!({"kty": "EC", "crv": "P-384", "x": point, "y": point}),
        json!({"kty": "EC", "crv": "P-521", "x": point, "y": point}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": point}),
        json!({"kty": "oct", "k": point}),
    ]);
    for _ in 0..dice.below(4) {
        let name = dice.pick(&[
            "kty", "crv", "n", "e", "x", "y", "k", "use", "alg", "kid", "key_ops",
        ]);
        key[name] = match dice.below(3) {
            0 => dice.value(2),
            1 => {
                let length = dice.below(600);
                json!(base64url(&dice.bytes(length)))
            }
            _ => Value::Null,
        };
    }
    key
}

fn odd_key_set(dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => dice.damaged(&keys::key_set()),
        1 => json!({"keys": dice.value(2)}).to_string(),
        2 => json!({"keys": vec![odd_key(dice); 150]}).to_string(),
        _ => {
            let keys: Vec<_> = (0..dice.below(5)).map(|_| odd_key(dice)).collect();
            json!({"keys": keys}).to_string()
        }
    }
}

#[test]
fn key_sets_open_no_session_and_are_no_fault() {
    let scene = Scene::start(VISITORS);
    visit(&scene, KEY_SETS, 3, |visitor, mut dice, inputs| {
        for index in 0..inputs {
            let begun = visitor.begin(index);
            let (path, set) = (
                format!("/idp-{}/keys-{index}", visitor.number),
                odd_key_set(&mut dice),
            );
            scene.set(&path, set.clone());
            // A key set at a new address is read at once.
            let mut document = scene.discovery(visitor.number);
            document["jwks_uri"] = json!(format!("{}/keys-{index}", scene.issuer(visitor.number)));
            scene.set_discovery(visitor.number, document.to_string());

            let claims = scene.claims(visitor.number, &begun.nonce, "stranger");
            let token = of_an_unknown_key(&mut dice, index, &claims);
            let reply = visitor.come_back(&begun, &token);
            assert_refused(&reply, &["1", "unanswered"], &set);
            assert!(scene.asked(&path) > 0, "the key set was read");
            if index % LOOK_EVERY == 0 {
                scene.assert_unharmed(&["unavailable"]);
            }
        }
        inputs
    });
    scene.assert_unharmed(&["unavailable"]);
}

const FORWARDING: &[&str] = &[
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-uri",
    "x-original-uri",
    "x-real-ip",
    "x-auth-groups",
    "x-auth-user",
];

/// What the values of such headers are made of.
const PIECES: &[&[u8]] = &[
    b"for=",
    b"by=",
    b"proto=",
    b"host=",
    b"https",
    b"http",
    b"wss",
    b"evil.test",
    b"agent.test",
    b"//evil.test",
    b"/\\evil.test",
    b"/agent",
    b"..",
    b"%2e%2e",
    b"%0d%0a",
    b"\\",
    b"\"",
    b"[",
    b"]",
    b"[2001:db8::2]",
    b"::ffff:10.9.9.9",
    b"%eth0",
    b":443",
    b"10.9.9.9",
    b"127.0.0.1",
    b"999.1.1.1",
    b"unknown",
    b"_hidden",
    b",",
    b", ",
    b";",
    b"=",
    b" ",
    b"\t",
    b"\xff",
    b"\xc3\xa9",
    b"<script>",
    b"root",
];

fn forwarding(dice: &mut Dice) -> (&'static str, Vec<u8>) {
    let pieces: Vec<_> = (0..dice.below(9)).map(|_| dice.pick(PIECES)).collect();
    (dice.pick(FORWARDING), pieces.concat())
}

/// A stranger stays one, and is sent nowhere else.
fn assert_stranger(path: &str, issuer: &str, reply: &Reply, input: &dyn std::fmt::Debug) {
    let row = format!("{path} with {input:?}: {reply:?}");
    let is_page = path == "/login";
    assert!(
        matches!(reply.status, 302 | 400 | 401 | 403 | 429) || is_page && reply.status == 200,
        "{row}"
    );
    assert_eq!(session_of(reply), None, "{row}");
    assert_eq!(reply.header("x-auth-user"), None, "{row}");
    let login = reply.header("x-portcullis-login");
    assert!(login.is_none_or(is_own_login), "{row}");

    let Some(to) = reply.header("location") else {
        return;
    };
    if to.starts_with(&format!("{issuer}/authorize?")) {
        assert_eq!(
            parameters_of(to).get("redirect_uri"),
            Some(&callback()),
            "{row}"
        );
        return;
    }
    assert!(is_own_login(to), "{row}");
}

/// Returns whether this is the sign-in page of this origin, below any prefix that a proxy takes
/// off.
fn is_own_login(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains("..")
        && path.ends_with("/login")
        && path.bytes().all(is_plain)
}

#[test]
fn headers_of_proxies_let_no_stranger_in_and_lead_nowhere_else() {
    let scene = Scene::start(VISITORS);
    visit(&scene, FORWARDED, 4, |visitor, mut dice, inputs| {
        let begin = format!("/auth/login?provider=idp-{}", visitor.number);
        let paths = [
            "/",
            "/login",
            "/api/auth/me",
            "/auth/verify",
            begin.as_str(),
        ];
        for index in 0..inputs {
            let headers: Vec<_> = (0..=dice.below(4)).map(|_| forwarding(&mut dice)).collect();
            let sent: Vec<_> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_slice()))
                .collect();
            let path = dice.pick(&paths);
            let reply = visitor.ask(path, &sent);
            assert_stranger(path, &scene.issuer(visitor.number), &reply, &headers);
            if index % LOOK_EVERY == 0 {
                scene.assert_unharmed(&[]);
            }
        }
        inputs
    });
    scene.assert_unharmed(&[]);
}
