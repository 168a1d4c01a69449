use portcullis_auth::secret_strength::{Strength, WeakSecret};
use portcullis_auth::{
    BearerToken, BoxFuture, CallFault, Claims, Scope, SecretDigest, TokenProvider, TokenVerdict,
};
use std::time::Instant;

/// The name under which the drain secret's provider is registered.
pub const DRAIN_PROVIDER: &str = "drain-secret";
/// Principal of a caller with the drain secret.
pub const DRAIN_PRINCIPAL: &str = "drain-control";

/// A drain secret that passed the strength gate. Only its digest is kept.
#[derive(Clone, Debug)]
pub struct DrainSecret(SecretDigest);

impl DrainSecret {
    /// Takes a secret that passes the strength gate with at least `min_chars` characters.
    ///
    /// # Errors
    /// Why the secret is weak.
    pub fn new(secret: &str, min_chars: usize) -> Result<Self, WeakSecret> {
        Strength::drain(min_chars).judge(secret)?;
        Ok(Self(SecretDigest::of(secret.as_bytes())))
    }

    /// Returns whether the token is the secret. Compares digests in constant time, so that no
    /// length shows.
    pub fn matches(&self, token: &BearerToken) -> bool {
        self.0.matches(token.expose().as_bytes())
    }
}

/// The token provider for the drain secrets. It is native and is asked before any other.
pub struct DrainSecretProvider {
    secrets: Vec<DrainSecret>,
    claims: Claims,
}

impl DrainSecretProvider {
    /// A caller with one of the secrets is [`DRAIN_PRINCIPAL`] with this scope.
    ///
    /// # Panics
    /// Never: the claims are made of a constant and of a scope that was checked.
    pub fn new(secrets: Vec<DrainSecret>, scope: &Scope) -> Self {
        let claims = Claims::new(DRAIN_PRINCIPAL.to_owned(), &[scope.as_str().to_owned()])
            .expect("a constant principal and a checked scope are within bounds");
        Self { secrets, claims }
    }
}

impl TokenProvider for DrainSecretProvider {
    fn verify_token<'a>(
        &'a self,
        token: &'a BearerToken,
        _: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
        // All are compared, so that the time does not reveal which one matched.
        let is_match = self
            .secrets
            .iter()
            .fold(false, |found, secret| found | secret.matches(token));
        let verdict = match is_match {
            true => TokenVerdict::Recognized(self.claims.clone()),
            false => TokenVerdict::NotRecognized,
        };

        Box::pin(std::future::ready(Ok(verdict)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_auth::secret_strength::generate_secret;

    #[test]
    fn only_the_secret_itself_matches() {
        let text = generate_secret().unwrap();
        let secret = DrainSecret::new(&text, 43).unwrap();
        let matches = |token: &str| secret.matches(&BearerToken::by_hand(token.into()));
        assert!(matches(&text));
        for wrong in [
            &text[1..],
            &format!("{text}0"),
            &text.to_uppercase(),
            "",
            "x",
        ] {
            assert!(!matches(wrong), "{wrong}");
        }
        assert!(!format!("{secret:?}").contains(&text));
    }
}
