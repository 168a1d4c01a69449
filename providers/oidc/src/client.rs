//! Who we are to the issuer, and how it knows that we are (OpenID Connect Core, section 9).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use jwt_keys::with_user_agent;
use pkcs8::{ObjectIdentifier, PrivateKeyInfo};
use portcullis_guest::{Host, HttpRequest, Unavailable, base64url};
use serde_json::json;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ELLIPTIC_CURVE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// How long an assertion is good, in seconds.
const ASSERTION_SECONDS: u64 = 60;

pub(crate) struct OAuthClient {
    pub(crate) id: String,
    proof: Proof,
}

enum Proof {
    /// The provider adds none: a public client, or one whose credentials the host adds
    /// (`grants.http[].headers`).
    Outside,
    Basic(String),
    Post(String),
    /// In the way that the issuer announces.
    Announced(String),
    Key(PrivateKey),
}

struct PrivateKey {
    algorithm: Algorithm,
    key: EncodingKey,
    /// The identifier of the key at the issuer (`kid`), if the issuer requires it.
    id: Option<String>,
}

impl OAuthClient {
    pub(crate) fn read(host: &dyn Host, id: String) -> Result<Self, String> {
        let setting = |name: &str| host.setting(name).filter(|value| !value.is_empty());
        let way = host.setting("token_auth");
        let missing = |name: &str, way: &str| {
            Err(format!("`{name}` is missing: `token_auth: {way}` needs it"))
        };
        let proof = match (
            way.as_deref(),
            setting("client_secret"),
            setting("private_key"),
        ) {
            (None | Some("private_key_jwt"), None, Some(pem)) => {
                Proof::Key(PrivateKey::read(&pem, setting("private_key_id"))?)
            }
            (Some("private_key_jwt"), _, None) => return missing("private_key", "private_key_jwt"),
            (Some("post"), None, None) => return missing("client_secret", "post"),
            (Some("none" | "basic") | None, None, None) => Proof::Outside,
            (Some("basic"), Some(secret), None) => Proof::Basic(secret),
            (Some("post"), Some(secret), None) => Proof::Post(secret),
            (None, Some(secret), None) => Proof::Announced(secret),
            (Some("basic" | "post" | "none" | "private_key_jwt") | None, _, _) => {
                return Err(
                    "`token_auth`, `client_secret` and `private_key` contradict each other"
                        .to_owned(),
                );
            }
            (Some(_), _, _) => {
                return Err(
                    "`token_auth` must be `basic`, `post`, `private_key_jwt` or `none`".to_owned(),
                );
            }
        };

        Ok(Self { id, proof })
    }

    /// Checks that a private key can sign.
    pub(crate) fn check(&self) -> Result<(), String> {
        match &self.proof {
            Proof::Key(key) => {
                let signed = key.assertion(&self.id, "https://idp", 0);
                signed
                    .map(drop)
                    .map_err(|Unavailable(why)| format!("`private_key` cannot sign: {why}"))
            }
            Proof::Outside | Proof::Basic(_) | Proof::Post(_) | Proof::Announced(_) => Ok(()),
        }
    }

    /// A form for an endpoint of the issuer, with what proves who we are. `announced`: the ways
    /// that the issuer takes, as its discovery document names them; empty: `client_secret_basic`,
    /// as it is by default.
    pub(crate) fn request(
        &self,
        endpoint: &str,
        announced: &[String],
        form: &[(&str, &str)],
        now: u64,
    ) -> Result<HttpRequest, Unavailable> {
        let assertion;
        let mut pairs = vec![("client_id", self.id.as_str())];
        pairs.extend(form);
        let takes = |way: &str| announced.iter().any(|announced| announced == way);
        let is_post_alone = !takes("client_secret_basic") && takes("client_secret_post");
        let authorization = match &self.proof {
            Proof::Outside => None,
            Proof::Announced(secret) if is_post_alone => {
                pairs.push(("client_secret", secret.as_str()));
                None
            }
            Proof::Basic(secret) | Proof::Announced(secret) => Some(self.basic(secret)),
            Proof::Post(secret) => {
                pairs.push(("client_secret", secret.as_str()));
                None
            }
            Proof::Key(key) => {
                assertion = key.assertion(&self.id, endpoint, now)?;
                pairs.push((
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ));
                pairs.push(("client_assertion", assertion.as_str()));
                None
            }
        };

        let request = with_user_agent(HttpRequest::post_form(endpoint, encode_form(&pairs)));
        Ok(match authorization {
            Some(authorization) => request.with_header("authorization", &authorization),
            None => request,
        })
    }

    /// RFC 6749, section 2.3.1: both are form-encoded first.
    fn basic(&self, secret: &str) -> String {
        let encoded =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        format!(
            "Basic {}",
            STANDARD.encode(format!("{}:{}", encoded(&self.id), encoded(secret)))
        )
    }
}

impl PrivateKey {
    /// Reads an RSA key, or an elliptic curve key of P-256, from PEM (RFC 7468).
    fn read(pem: &str, id: Option<String>) -> Result<Self, String> {
        let wrong = || {
            "`private_key` must be a PEM file: `PRIVATE KEY` (RSA or P-256) or `RSA PRIVATE KEY`"
                .to_owned()
        };
        let (label, der) = from_pem(pem).ok_or_else(wrong)?;
        if label == "RSA PRIVATE KEY" {
            return Ok(Self {
                algorithm: Algorithm::RS256,
                key: EncodingKey::from_rsa_der(&der),
                id,
            });
        }

        let info = PrivateKeyInfo::try_from(der.as_slice()).map_err(|_| wrong())?;
        let curve = info.algorithm.parameters_oid().ok();
        if info.algorithm.oid == RSA {
            let key = EncodingKey::from_rsa_der(info.private_key);
            return Ok(Self {
                algorithm: Algorithm::RS256,
                key,
                id,
            });
        }

        if info.algorithm.oid == ELLIPTIC_CURVE && curve == Some(P256) {
            return Ok(Self {
                algorithm: Algorithm::ES256,
                key: EncodingKey::from_ec_der(&der),
                id,
            });
        }

        Err(wrong())
    }

    /// A token that only we can have made, for one endpoint (RFC 7523, section 3).
    fn assertion(&self, client: &str, endpoint: &str, now: u64) -> Result<String, Unavailable> {
        let mut once = [0; 16];
        getrandom::fill(&mut once)
            .map_err(|error| Unavailable(format!("random numbers: {error}")))?;
        let claims = json!({
            "iss": client,
            "sub": client,
            "aud": endpoint,
            "jti": base64url(&once),
            "iat": now,
            "exp": now.saturating_add(ASSERTION_SECONDS),
        });

        let mut header = Header::new(self.algorithm);
        header.kid.clone_from(&self.id);
        encode(&header, &claims, &self.key)
            .map_err(|error| Unavailable(format!("the assertion: {error}")))
    }
}

pub(crate) fn encode_form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// The label and the bytes of the first block.
fn from_pem(text: &str) -> Option<(&str, Vec<u8>)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let body: String = body.split_whitespace().collect();
    Some((label, STANDARD.decode(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockHost;

    const EC_KEY: &str = include_str!("../tests/p256.pem");
    const RSA_KEY: &str = include_str!("../tests/rsa.pem");

    fn client(settings: &[(&str, &str)]) -> Result<OAuthClient, String> {
        let settings = settings.iter();
        let host = settings.fold(MockHost::default(), |host, (name, value)| {
            host.with_setting(name, *value)
        });
        OAuthClient::read(&host, "us & them".to_owned())
    }

    /// The form and the `authorization` header.
    fn sent(client: &OAuthClient, announced: &[&str]) -> (String, Option<String>) {
        let announced: Vec<_> = announced.iter().map(|way| (*way).to_owned()).collect();
        let request = client
            .request("https://idp/token", &announced, &[("code", "1")], 1_000)
            .unwrap();
        let header = request
            .headers
            .into_iter()
            .find(|(name, _)| name == "authorization");
        (
            String::from_utf8(request.body.unwrap().bytes).unwrap(),
            header.map(|(_, value)| value),
        )
    }

    #[test]
    fn secret_is_sent_in_the_way_that_is_set_or_announced() {
        let basic = format!("Basic {}", STANDARD.encode("us+%26+them:p%3Aw+%C3%A9"));
        let secret = ("client_secret", "p:w é");
        let posted = "client_id=us+%26+them&code=1&client_secret=p%3Aw+%C3%A9";
        for (settings, announced, form, header) in [
            (vec![], vec![], "client_id=us+%26+them&code=1", None),
            (
                vec![secret],
                vec![],
                "client_id=us+%26+them&code=1",
                Some(&basic),
            ),
            (vec![secret], vec!["client_secret_post"], posted, None),
            (
                vec![secret],
                vec!["client_secret_post", "client_secret_basic"],
                "client_id=us+%26+them&code=1",
                Some(&basic),
            ),
            (
                vec![secret, ("token_auth", "basic")],
                vec!["client_secret_post"],
                "client_id=us+%26+them&code=1",
                Some(&basic),
            ),
            (vec![secret, ("token_auth", "post")], vec![], posted, None),
        ] {
            let found = sent(&client(&settings).unwrap(), &announced);
            assert_eq!(
                found,
                (form.to_owned(), header.cloned()),
                "{settings:?} {announced:?}"
            );
        }
    }

    #[test]
    fn private_key_signs_an_assertion_for_the_endpoint() {
        for (pem, algorithm) in [(EC_KEY, Algorithm::ES256), (RSA_KEY, Algorithm::RS256)] {
            let client = client(&[("private_key", pem), ("private_key_id", "key-1")]).unwrap();
            client.check().unwrap();
            let (form, header) = sent(&client, &[]);
            assert_eq!(header, None);
            let assertion = form.rsplit_once("client_assertion=").unwrap().1;
            let header = jsonwebtoken::decode_header(assertion).unwrap();
            assert_eq!(
                (header.alg, header.kid.as_deref()),
                (algorithm, Some("key-1"))
            );
            let payload = assertion.split('.').nth(1).unwrap();
            let claims: serde_json::Value =
                serde_json::from_slice(&portcullis_guest::from_base64url(payload).unwrap())
                    .unwrap();
            assert_eq!(
                (&claims["aud"], &claims["exp"]),
                (&json!("https://idp/token"), &json!(1_060))
            );
        }
    }

    #[test]
    fn settings_that_contradict_each_other_are_named() {
        let secret = ("client_secret", "s");
        for (settings, complaint) in [
            (vec![("token_auth", "none"), secret], "contradict"),
            (vec![("private_key", EC_KEY), secret], "contradict"),
            (
                vec![("token_auth", "basic"), ("private_key", EC_KEY)],
                "contradict",
            ),
            (vec![("token_auth", "post")], "`client_secret` is missing"),
            (
                vec![("token_auth", "private_key_jwt")],
                "`private_key` is missing",
            ),
            (vec![("token_auth", "tls")], "must be `basic`"),
            (
                vec![(
                    "private_key",
                    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
                )],
                "`private_key`",
            ),
            (vec![("private_key", "nonsense")], "`private_key`"),
        ] {
            let found = client(&settings).err().expect(complaint);
            assert!(found.contains(complaint), "{found}");
        }
    }
}
