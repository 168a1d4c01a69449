//! The records of the contract 0.1.0, and what they say in its newest version: groups are unknown.

use crate::contract;
use wasmtime::component::{ComponentType, Lift};

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct FirstSession {
    #[component(name = "user-id")]
    user_id: String,
    email: String,
    #[component(name = "display-name")]
    display_name: String,
    #[component(name = "org-id")]
    org_id: String,
    #[component(name = "expires-at")]
    expires_at: u64,
    #[component(name = "access-token")]
    access_token: String,
    #[component(name = "refresh-token")]
    refresh_token: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct FirstTokenPrincipal {
    principal: String,
    scopes: Vec<String>,
}

impl From<FirstSession> for contract::SessionRecord {
    fn from(first: FirstSession) -> Self {
        Self {
            user_id: first.user_id,
            email: first.email,
            display_name: first.display_name,
            org_id: first.org_id,
            expires_at: first.expires_at,
            access_token: first.access_token,
            refresh_token: first.refresh_token,
            groups: Vec::new(),
        }
    }
}

impl From<FirstTokenPrincipal> for contract::PrincipalRecord {
    fn from(first: FirstTokenPrincipal) -> Self {
        Self {
            principal: first.principal,
            scopes: first.scopes,
            groups: Vec::new(),
        }
    }
}
