use super::{ProviderHealth, ProviderName, Scope, TokenProvider};
use std::collections::BTreeSet;
use std::sync::Arc;

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
    /// Can this provider sign a person in?
    pub signs_people_in: bool,
    /// The SHA-256 digest of its component; `None` for what is native.
    pub component: Option<Arc<str>>,
    /// How it is doing; `None` for what is native and cannot fail.
    pub health: Option<Arc<dyn ProviderHealth>>,
}

impl Registered {
    /// One that can do nothing yet.
    pub fn new(name: ProviderName, scopes: BTreeSet<Scope>) -> Self {
        Self {
            display_name: name.to_string(),
            name,
            scopes,
            token: None,
            signs_people_in: false,
            component: None,
            health: None,
        }
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
        match providers.iter().find(|provider| !names.insert(&provider.name)) {
            Some(twice) => Err(RegistryError(twice.name.clone())),
            None => Ok(Self(providers)),
        }
    }

    /// The one of this name.
    pub fn named(&self, name: &ProviderName) -> Option<&Registered> {
        self.iter().find(|registered| registered.name == *name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Registered> {
        self.0.iter()
    }
}
