use super::{ProviderName, Registered, Scope, TokenReach, groups};
use person_text::is_visible;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most scopes that one claim may carry.
pub const MAX_SCOPES: usize = 64;
/// Longest name of a principal, in bytes.
const MAX_PRINCIPAL_BYTES: usize = 256;

/// What a provider says of a caller. Nothing of it is believed until the gate mints a
/// [`Principal`] of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    principal: String,
    scopes: BTreeSet<Scope>,
    groups: Vec<String>,
}

/// Why the claims of a provider cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadClaims {
    /// The principal is empty.
    #[error("the principal is empty")]
    NoPrincipal,
    /// A name longer than a name.
    #[error("the principal has {0} bytes (at most {MAX_PRINCIPAL_BYTES})")]
    LongPrincipal(usize),
    /// Control characters, which forge log lines, and invisible or reordering ones, which make it
    /// look like another.
    #[error("the principal has control characters, or invisible or reordering ones")]
    InvisibleCharacters,
    /// Space before or after it, which headers drop: it would name another principal elsewhere.
    #[error("the principal has space around it")]
    SpaceAround,
    /// There are more than [`MAX_SCOPES`] scopes.
    #[error("{0} scopes (at most {MAX_SCOPES})")]
    TooManyScopes(usize),
    /// A scope that is not a scope token.
    #[error("scope {0}")]
    BadScope(#[from] super::BadName),
}

impl Claims {
    /// Checks what a provider says.
    ///
    /// # Errors
    /// Says which claim is out of bounds.
    pub fn new(principal: String, scopes: &[String]) -> Result<Self, BadClaims> {
        if principal.is_empty() {
            return Err(BadClaims::NoPrincipal);
        }
        if principal.len() > MAX_PRINCIPAL_BYTES {
            return Err(BadClaims::LongPrincipal(principal.len()));
        }
        if !is_visible(&principal) {
            return Err(BadClaims::InvisibleCharacters);
        }
        if principal.trim() != principal {
            return Err(BadClaims::SpaceAround);
        }
        if scopes.len() > MAX_SCOPES {
            return Err(BadClaims::TooManyScopes(scopes.len()));
        }

        let scopes = scopes
            .iter()
            .map(|scope| Scope::new(scope))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            principal,
            scopes,
            groups: Vec::new(),
        })
    }

    /// The same with the caller's groups, without those that cannot be used.
    #[must_use]
    pub fn with_groups(self, groups: Vec<String>) -> Self {
        Self {
            groups: groups::usable(groups),
            ..self
        }
    }

    /// Returns the name that the provider gives the caller.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// Returns the scopes that the provider claims for the caller.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.iter()
    }

    /// Returns the caller's groups, as the identity provider names them.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }
}

/// A verified machine caller, as the host believes it.
///
/// Claims can be made by hand, since they prove nothing:
///
/// ```
/// use portcullis_auth::{BadClaims, Claims};
///
/// fn claimed() -> Result<Claims, BadClaims> {
///     Claims::new("ci".to_owned(), &["drain".to_owned()])
/// }
/// ```
///
/// Outside the gate they do not become a principal, since `mint` is private:
///
/// ```compile_fail,E0624
/// use portcullis_auth::{Claims, Principal, Registered};
///
/// fn forged(registered: &Registered, claims: Claims) -> Principal {
///     Principal::mint(registered, claims)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Principal {
    principal: String,
    provider: ProviderName,
    scopes: BTreeSet<Scope>,
    groups: Vec<String>,
    #[serde(skip)]
    component: Option<Arc<str>>,
    #[serde(skip)]
    reach: TokenReach,
}

impl Principal {
    /// The one way from claims to belief: the provider's registered name is stamped on, and the
    /// scopes are cut to what the operator granted that provider.
    pub(super) fn mint(registered: &Registered, claims: Claims) -> Self {
        let scopes = claims
            .scopes
            .intersection(&registered.scopes)
            .cloned()
            .collect();
        let (provider, component) = (registered.name.clone(), registered.component.clone());

        Self {
            principal: claims.principal,
            provider,
            scopes,
            groups: claims.groups,
            component,
            reach: registered.token_reach,
        }
    }

    /// Returns the caller's name, as its provider knows it.
    pub fn name(&self) -> &str {
        &self.principal
    }

    /// Returns the provider that vouched for the caller.
    pub fn provider(&self) -> &ProviderName {
        &self.provider
    }

    /// Returns the SHA-256 digest of the component that vouched for the caller; `None` for a native
    /// provider.
    pub fn component(&self) -> Option<&str> {
        self.component.as_deref()
    }

    /// Returns whether the caller's token opens applications, and not routes of the dashboard
    /// alone.
    pub(crate) fn opens_applications(&self) -> bool {
        self.reach == TokenReach::Applications
    }

    /// Returns the scopes of the caller.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.iter()
    }

    /// Returns the caller's groups, as the identity provider names them.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Returns whether the caller has this scope.
    pub fn has(&self, scope: &Scope) -> bool {
        self.scopes.contains(scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(names: &[&str]) -> BTreeSet<Scope> {
        names.iter().map(|name| Scope::new(name).unwrap()).collect()
    }

    #[test]
    fn minting_stamps_the_name_and_cuts_the_scopes() {
        let name = ProviderName::new("service-keys").unwrap();
        let claims = Claims::new(
            "drain-secret".into(),
            &["drain".into(), "metrics.read".into()],
        )
        .unwrap();
        let registered = Registered::new(name, scopes(&["metrics.read", "other"]));
        let principal = Principal::mint(&registered, claims);
        assert_eq!(principal.provider().as_str(), "service-keys");
        assert_eq!(principal.scopes, scopes(&["metrics.read"]));
        assert!(!principal.has(&Scope::new("drain").unwrap()));
    }

    #[test]
    fn claims_out_of_bounds_are_refused() {
        let claim = |principal: &str, scopes: &[&str]| {
            let scopes: Vec<_> = scopes.iter().map(ToString::to_string).collect();
            Claims::new(principal.to_owned(), &scopes).err()
        };
        assert_eq!(claim("", &[]), Some(BadClaims::NoPrincipal));
        assert_eq!(
            claim(&"x".repeat(257), &[]),
            Some(BadClaims::LongPrincipal(257))
        );
        assert_eq!(
            claim("a\u{1b}[2J", &[]),
            Some(BadClaims::InvisibleCharacters)
        );
        assert_eq!(claim("a", &["s"; 65]), Some(BadClaims::TooManyScopes(65)));
        assert_eq!(claim("a ", &[]), Some(BadClaims::SpaceAround));
        assert!(matches!(
            claim("a", &["two words"]),
            Some(BadClaims::BadScope(_))
        ));
        assert_eq!(claim("a", &["s"; 64]), None);
    }
}
