//! The issuer: the requests that are made of it, and what its answers mean.

use crate::client::encode_form;
use crate::endpoints::Endpoints;
use crate::settings::Settings;
use crate::tokens::{Refusal, TokenResponse};
use jwt_keys::{ClaimsSet, Documents, KeySource, Rules, TokenError};
use portcullis_guest::{
    CodeError, Host, HttpRequest, HttpResponse, LoginRequest, LoginResponse, Unavailable,
};

/// Longest address that the host sends a browser to, in bytes.
const MAX_URL_BYTES: usize = 8 * 1024;

pub(crate) struct Issuer<'a> {
    pub(crate) settings: &'a Settings,
    /// The time is asked for when it is needed: a token may have been issued while we waited for
    /// it.
    pub(crate) host: &'a dyn Host,
}

impl Issuer<'_> {
    pub(crate) fn documents(&self) -> Documents<'_> {
        Documents {
            http: self.host.http(),
            bucket: self.host.bucket(),
            now: self.host.now(),
        }
    }

    pub(crate) fn endpoints(&self) -> Result<Endpoints, Unavailable> {
        let Some(url) = &self.settings.discovery_url else {
            let alone = self.settings.endpoints.alone(&self.settings.issuer);
            return alone.ok_or_else(|| Unavailable("`endpoints` are not complete".to_owned()));
        };
        let kept = self.documents().get(url, |text| self.read(text, url))?;
        // What is kept may have been read with another `issuer` in the settings.
        let announced = match kept.are_of(&self.settings.issuer) {
            true => kept,
            false => self.documents().reload(url, |text| self.read(text, url))?,
        };
        Ok(self.settings.endpoints.over(announced))
    }

    fn read(&self, text: &[u8], url: &str) -> Result<Endpoints, String> {
        Endpoints::read(text, url, &self.settings.issuer)
    }

    /// The endpoints as they are now. `None` if they are not announced, or cannot be looked up.
    fn endpoints_now(&self) -> Option<Endpoints> {
        let url = self.settings.discovery_url.as_ref()?;
        let announced = self
            .documents()
            .reload(url, |text| self.read(text, url))
            .ok()?;
        Some(self.settings.endpoints.over(announced))
    }

    /// Has the issuer's documents asked for again when they are next needed.
    pub(crate) fn doubt(&self) {
        let documents = self.documents();
        let Some(url) = &self.settings.discovery_url else {
            self.settings
                .endpoints
                .jwks
                .iter()
                .for_each(|url| documents.doubt(url));
            return;
        };

        if let Some(announced) = documents.peek::<Endpoints>(url) {
            let endpoints = self.settings.endpoints.over(announced);
            endpoints.jwks.iter().for_each(|url| documents.doubt(url));
        }

        documents.doubt(url);
    }

    pub(crate) fn authorization_url(&self, request: &LoginRequest) -> Result<String, Unavailable> {
        let endpoint = self.endpoints()?.authorization;
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", self.settings.client.id.as_str()),
            ("redirect_uri", request.redirect_uri.as_str()),
            ("nonce", request.nonce.as_str()),
            ("code_challenge", request.code_challenge.as_str()),
            ("code_challenge_method", "S256"),
            ("state", request.state.as_str()),
        ];

        let params = &self.settings.authorization_params;
        if !params.contains_key("scope") {
            pairs.push(("scope", self.settings.scopes.as_str()));
        }

        pairs.extend(
            params
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let joint = if endpoint.contains('?') { '&' } else { '?' };

        let url = format!("{endpoint}{joint}{}", encode_form(&pairs));
        match url.len() <= MAX_URL_BYTES {
            true => Ok(url),
            false => Err(Unavailable(format!(
                "the sign-in address has {} bytes",
                url.len()
            ))),
        }
    }

    /// Whether the answer came from this issuer (RFC 9207, section 2.4).
    pub(crate) fn check_response(&self, response: &LoginResponse) -> Result<(), CodeError> {
        let endpoints = self.endpoints()?;
        match &response.issuer {
            Some(issuer) if *issuer == endpoints.issuer => Ok(()),
            Some(_) => Err(CodeError::InvalidCode(
                "the answer is of another issuer".to_owned(),
            )),
            None if endpoints.names_itself => Err(CodeError::InvalidCode(
                "the issuer always names itself, and this answer does not".to_owned(),
            )),
            None => Ok(()),
        }
    }

    pub(crate) fn redeem(&self, response: &LoginResponse) -> Result<TokenResponse, Unavailable> {
        let answer = self.post(
            |endpoints| Some(&endpoints.token),
            &[
                ("grant_type", "authorization_code"),
                ("code", &response.code),
                ("redirect_uri", &response.redirect_uri),
                ("code_verifier", &response.code_verifier),
            ],
        )?;

        answer.map_or_else(
            || Err(no_endpoint()),
            |answer| TokenResponse::read(&answer, Refusal::OfTheGrant),
        )
    }

    pub(crate) fn refresh(&self, refresh_token: &str) -> Result<TokenResponse, Unavailable> {
        let answer = self.post(
            |endpoints| Some(&endpoints.token),
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh_token),
            ],
        )?;
        answer.map_or_else(
            || Err(no_endpoint()),
            |answer| TokenResponse::read(&answer, Refusal::OfAnyKind),
        )
    }

    /// RFC 7009. Where there is no endpoint, nothing can be done.
    pub(crate) fn revoke(&self, refresh_token: &str) -> Result<(), Unavailable> {
        let form = [
            ("token", refresh_token),
            ("token_type_hint", "refresh_token"),
        ];
        let answer = self.post(|endpoints| endpoints.revocation.as_ref(), &form)?;
        match answer.map(|answer| answer.status) {
            None | Some(200) => Ok(()),
            Some(status) => Err(Unavailable(format!(
                "the revocation endpoint answered {status}"
            ))),
        }
    }

    /// What the userinfo endpoint says (OpenID Connect Core, section 5.3): JSON, or a signed token.
    /// `None` without one.
    pub(crate) fn userinfo(&self, access_token: &str) -> Result<Option<ClaimsSet>, TokenError> {
        if !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Invalid(
                "the access token cannot be put into a header".to_owned(),
            ));
        }

        let answer = self.ask(
            |endpoints| endpoints.userinfo.as_ref(),
            |_, url| {
                let request = HttpRequest::get(url);
                let request =
                    request.with_header("authorization", &format!("Bearer {access_token}"));
                jwt_keys::get(self.host.http(), request)
            },
        )?;

        let Some(answer) = answer else {
            return Ok(None);
        };
        match answer.status {
            200 => self.read_userinfo(&answer.body).map(Some),
            408 | 429 | 500.. => Err(TokenError::Unavailable(format!(
                "userinfo answered {}",
                answer.status
            ))),
            status => Err(TokenError::Invalid(format!("userinfo answered {status}"))),
        }
    }

    fn read_userinfo(&self, body: &[u8]) -> Result<ClaimsSet, TokenError> {
        let token = std::str::from_utf8(body).unwrap_or_default().trim();
        let is_token = token.split('.').count() == 3 && !token.contains(['{', '"']);
        if !is_token {
            let read = ClaimsSet::read(body);
            return read
                .map_err(|why| TokenError::Invalid(format!("userinfo cannot be read: {why}")));
        }

        let endpoints = self.endpoints()?;
        let claims = keys_of(&endpoints)?.claims(&self.documents(), token)?;
        let has = |name: &str| claims.0.contains_key(name);
        if has("iss") && claims.text("iss") != endpoints.issuer {
            return Err(TokenError::Invalid(
                "userinfo is of another issuer".to_owned(),
            ));
        }

        if has("aud") && !claims.texts("aud").contains(&self.settings.client.id) {
            return Err(TokenError::Invalid(
                "userinfo is for another audience".to_owned(),
            ));
        }

        Ok(claims)
    }

    /// Checks an ID token's signature, issuer, audience and times. If its key is not known, or the
    /// keys are out of reach, the issuer may have moved them.
    pub(crate) fn check(&self, id_token: &str) -> Result<ClaimsSet, TokenError> {
        let known = self.endpoints()?;
        let checked = self.check_with(&known, id_token);
        if !matches!(
            checked,
            Err(TokenError::UnknownKey | TokenError::Unavailable(_))
        ) {
            return checked;
        }
        match self.endpoints_now() {
            Some(now) if now.jwks != known.jwks => self.check_with(&now, id_token),
            _ => checked,
        }
    }

    fn check_with(&self, endpoints: &Endpoints, id_token: &str) -> Result<ClaimsSet, TokenError> {
        let client_id = self.settings.client.id.as_str();
        let rules = Rules {
            issuer: &endpoints.issuer,
            audience: client_id,
            authorized_party: Some(client_id),
            leeway: self.settings.leeway,
            kinds: &[],
        };

        let claims = keys_of(endpoints)?.check(&self.documents(), id_token, &rules)?;
        // OpenID Connect Core, section 2. Without one, userinfo could be about anyone.
        match claims.only("sub") {
            Some(_) => Ok(claims),
            None => Err(TokenError::Invalid(
                "the ID token has no subject".to_owned(),
            )),
        }
    }

    /// Posts a form to one of the endpoints. `None` if the issuer has no such endpoint.
    fn post(
        &self,
        endpoint: impl Fn(&Endpoints) -> Option<&String>,
        form: &[(&str, &str)],
    ) -> Result<Option<HttpResponse>, Unavailable> {
        self.ask(endpoint, |endpoints, url| {
            let client = &self.settings.client;
            let request =
                client.request(url, &endpoints.token_auth_methods, form, self.host.now())?;
            self.host.http().send(&request)
        })
    }

    /// Asks an endpoint. If nothing is there any more, the issuer may have moved it: its address is
    /// looked up once more.
    fn ask(
        &self,
        endpoint: impl Fn(&Endpoints) -> Option<&String>,
        send: impl Fn(&Endpoints, &str) -> Result<HttpResponse, Unavailable>,
    ) -> Result<Option<HttpResponse>, Unavailable> {
        let known = self.endpoints()?;
        let Some(url) = endpoint(&known) else {
            return Ok(None);
        };
        let answer = send(&known, url);
        let is_gone = match &answer {
            Ok(answer) => matches!(answer.status, 404 | 405 | 410),
            Err(_) => true,
        };

        if !is_gone {
            return answer.map(Some);
        }

        let now = self.endpoints_now();
        match now.as_ref().and_then(|now| Some((now, endpoint(now)?))) {
            Some((now, moved)) if moved != url => send(now, moved).map(Some),
            _ => answer.map(Some),
        }
    }
}

fn no_endpoint() -> Unavailable {
    Unavailable("the issuer has no token endpoint".to_owned())
}

pub(crate) fn keys_of(endpoints: &Endpoints) -> Result<KeySource, TokenError> {
    let url = endpoints.jwks.clone().map(KeySource::Url);
    url.ok_or_else(|| TokenError::Invalid("the issuer publishes no keys".to_owned()))
}
