use super::{
    PasswordProvider, ProviderHealth, ProviderName, RedirectProvider, RefreshProvider, Scope,
    SessionProvider, SignOutProvider, TokenProvider,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the bearer tokens of a provider open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenReach {
    /// Routes of the dashboard, and applications that admit the scope of the token.
    #[default]
    Applications,
    /// Routes of the dashboard alone. Such a token is a secret of the host, as the drain secret is.
    Dashboard,
}

/// A provider that was loaded, under the name that the configuration gave it.
#[derive(Clone)]
pub struct Registered {
    /// The only name that the host believes.
    pub name: ProviderName,
    /// The name for people.
    pub display_name: String,
    /// The scopes this provider may ever hand out.
    pub scopes: BTreeSet<Scope>,
    /// Set for a provider that takes bearer tokens.
    pub token: Option<Arc<dyn TokenProvider>>,
    /// What its bearer tokens open.
    pub token_reach: TokenReach,
    /// Set for a provider that can verify sessions, which is one that can open them.
    pub session: Option<Arc<dyn SessionProvider>>,
    /// Set for a provider that takes passwords.
    pub password: Option<Arc<dyn PasswordProvider>>,
    /// Set for a provider that sends people to an identity provider.
    pub redirect: Option<Arc<dyn RedirectProvider>>,
    /// Set for a provider whose sessions can outlive their access token.
    pub refresh: Option<Arc<dyn RefreshProvider>>,
    /// Set for a provider that signs people out together with its identity provider.
    pub sign_out: Option<Arc<dyn SignOutProvider>>,
    /// The SHA-256 digest of its component; `None` for what is native.
    pub component: Option<Arc<str>>,
    /// Whether the host has linked the modules of the component, so that the code that runs is not
    /// that of the digest.
    pub is_linked: bool,
    /// How it is doing; `None` for what is native and cannot fail.
    pub health: Option<Arc<dyn ProviderHealth>>,
}

impl Registered {
    /// Makes a provider that can do nothing yet.
    pub fn new(name: ProviderName, scopes: BTreeSet<Scope>) -> Self {
        Self {
            display_name: name.to_string(),
            name,
            scopes,
            token: None,
            token_reach: TokenReach::default(),
            session: None,
            password: None,
            redirect: None,
            refresh: None,
            sign_out: None,
            component: None,
            is_linked: false,
            health: None,
        }
    }

    /// Returns whether this provider can sign a person in.
    pub fn signs_people_in(&self) -> bool {
        self.session.is_some() && (self.password.is_some() || self.redirect.is_some())
    }
}

/// Two providers of one name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two providers are named `{0}`")]
pub struct RegistryError(pub ProviderName);

/// The providers in the order in which they are asked.
#[derive(Clone, Default)]
pub struct Registry(Vec<Registered>);

impl Registry {
    /// Keeps the order.
    ///
    /// # Errors
    /// Two providers share a name.
    pub fn new(providers: Vec<Registered>) -> Result<Self, RegistryError> {
        let mut names = BTreeSet::new();
        match providers
            .iter()
            .find(|provider| !names.insert(&provider.name))
        {
            Some(twice) => Err(RegistryError(twice.name.clone())),
            None => Ok(Self(providers)),
        }
    }

    /// Returns the provider of this name.
    pub fn named(&self, name: &ProviderName) -> Option<&Registered> {
        self.iter().find(|registered| registered.name == *name)
    }

    /// Returns the provider of a name that a client sent.
    pub fn named_by(&self, name: &str) -> Option<&Registered> {
        self.iter()
            .find(|registered| registered.name.as_str() == name)
    }

    /// Returns all providers, in the order in which they are asked.
    pub fn iter(&self) -> impl Iterator<Item = &Registered> {
        self.0.iter()
    }
}
