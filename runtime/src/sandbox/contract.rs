//! The contract `portcullis:auth` from the host's side: its versions, what its functions take and answer, and where a
//! component has them.
//!
//! A frozen version never changes. One that only adds interfaces to an older one needs its number in
//! [`CONTRACT_VERSIONS`] and nothing else: functions are found under the component's own version, and their types are
//! compared when it is loaded. One that changes a type needs types of its own here, beside the older ones, and a
//! conversion in `convert`.

use super::host::HostState;
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    ComponentExportIndex, ComponentNamedList, ComponentType, Instance, InstancePre, Lift, Lower,
};

/// The versions whose components this binary loads, the newest first.
pub const CONTRACT_VERSIONS: &[&str] = &["0.1.0"];

/// The package that the contract is.
const PACKAGE: &str = "portcullis:auth";

/// An interface of the contract as a component of this version exports it.
pub(super) fn interface(name: &str, version: &str) -> String {
    format!("{PACKAGE}/{name}@{version}")
}

/// The version of the contract in the name of a component's export, if that is what every provider exports.
pub(super) fn version_in(export: &str) -> Option<&str> {
    export.strip_prefix(PACKAGE)?.strip_prefix("/provider@")
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Session {
    #[component(name = "user-id")]
    pub(super) user_id: String,
    pub(super) email: String,
    #[component(name = "display-name")]
    pub(super) display_name: String,
    #[component(name = "org-id")]
    pub(super) org_id: String,
    #[component(name = "expires-at")]
    pub(super) expires_at: u64,
    #[component(name = "access-token")]
    pub(super) access_token: String,
    #[component(name = "refresh-token")]
    pub(super) refresh_token: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct TokenPrincipal {
    pub(super) principal: String,
    pub(super) scopes: Vec<String>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum ProviderError {
    #[component(name = "unavailable")]
    Unavailable(String),
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum PasswordError {
    #[component(name = "invalid-credentials")]
    InvalidCredentials,
    #[component(name = "unavailable")]
    Unavailable(String),
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum CodeError {
    #[component(name = "invalid-code")]
    InvalidCode(String),
    #[component(name = "unavailable")]
    Unavailable(String),
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum RefreshError {
    #[component(name = "expired")]
    Expired,
    #[component(name = "unavailable")]
    Unavailable(String),
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct LoginRequest<'a> {
    #[component(name = "redirect-uri")]
    pub(super) redirect_uri: &'a str,
    pub(super) state: &'a str,
    pub(super) nonce: &'a str,
    #[component(name = "code-challenge")]
    pub(super) code_challenge: &'a str,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct LoginResponse<'a> {
    #[component(name = "redirect-uri")]
    pub(super) redirect_uri: &'a str,
    pub(super) code: &'a str,
    pub(super) nonce: &'a str,
    #[component(name = "code-verifier")]
    pub(super) code_verifier: &'a str,
    pub(super) issuer: Option<&'a str>,
}

pub(super) type TokenAnswer = Result<Option<TokenPrincipal>, ProviderError>;
pub(super) type SessionAnswer = Result<Option<Session>, ProviderError>;

/// The functions that a component has.
pub(super) struct Contract {
    pub(super) supports_token: Function,
    pub(super) verify_token: Function,
    pub(super) verify_session: Function,
    pub(super) check_settings: Option<Function>,
    pub(super) complete_password_login: Option<Function>,
    pub(super) redirect: Option<Redirect>,
    pub(super) refresh: Option<Refresh>,
}

pub(super) struct Redirect {
    pub(super) start_login: Function,
    pub(super) complete_login: Function,
}

pub(super) struct Refresh {
    pub(super) refresh_session: Function,
    pub(super) revoke_session: Function,
}

impl Contract {
    /// Finds them, each with the type that this version of the contract gives it.
    ///
    /// # Errors
    /// A function is not there, or is of another type.
    pub(super) fn of(linked: &InstancePre<HostState>, version: &str) -> wasmtime::Result<Self> {
        let export = |name: &str| Interface::find(linked, interface(name, version));
        let provider = export("provider")
            .ok_or_else(|| wasmtime::format_err!("it exports no {}", interface("provider", version)))?;
        let settings = export("settings");
        let password = export("password");
        Ok(Self {
            supports_token: provider.function::<(), (bool,)>("supports-token")?,
            verify_token: provider.function::<(&str,), (TokenAnswer,)>("verify-token")?,
            verify_session: provider.function::<(&str,), (SessionAnswer,)>("verify-session")?,
            check_settings: settings
                .map(|settings| settings.function::<(), (Result<(), String>,)>("check"))
                .transpose()?,
            complete_password_login: password
                .map(|it| {
                    it.function::<(&str, &str), (Result<Session, PasswordError>,)>("complete-password-login")
                })
                .transpose()?,
            redirect: export("redirect").map(|redirect| Redirect::of(&redirect)).transpose()?,
            refresh: export("refresh").map(|refresh| Refresh::of(&refresh)).transpose()?,
        })
    }
}

impl Redirect {
    fn of(redirect: &Interface<'_>) -> wasmtime::Result<Self> {
        Ok(Self {
            start_login: redirect
                .function::<(LoginRequest<'_>,), (Result<String, ProviderError>,)>("start-login")?,
            complete_login: redirect
                .function::<(LoginResponse<'_>,), (Result<Session, CodeError>,)>("complete-login")?,
        })
    }
}

impl Refresh {
    fn of(refresh: &Interface<'_>) -> wasmtime::Result<Self> {
        Ok(Self {
            refresh_session: refresh
                .function::<(&str,), (Result<Session, RefreshError>,)>("refresh-session")?,
            revoke_session: refresh.function::<(&str,), ()>("revoke-session")?,
        })
    }
}

/// An interface that a component exports.
struct Interface<'a> {
    linked: &'a InstancePre<HostState>,
    name: String,
    index: ComponentExportIndex,
}

impl<'a> Interface<'a> {
    fn find(linked: &'a InstancePre<HostState>, name: String) -> Option<Self> {
        let index = linked.component().get_export_index(None, name.as_str())?;
        Some(Self { linked, name, index })
    }

    fn function<P, R>(&self, name: &str) -> wasmtime::Result<Function>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let missing = || wasmtime::format_err!("`{}` has no function `{name}`", self.name);
        let (item, index) =
            self.linked.component().get_export(Some(&self.index), name).ok_or_else(missing)?;
        let ComponentItem::ComponentFunc(function) = item else { return Err(missing()) };
        function
            .typecheck::<P, R>(&self.linked.instance_type())
            .map_err(|error| error.context(format!("`{}`, function `{name}`", self.name)))?;
        Ok(Function(index))
    }
}

/// A function that a component exports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function(ComponentExportIndex);

impl Function {
    /// Calls it in an instance. Parameters and answer are the tuples of the contract.
    ///
    /// # Errors
    /// The guest traps.
    pub(super) async fn call<P, R>(
        self,
        store: &mut Store<HostState>,
        instance: &Instance,
        parameters: P,
    ) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        instance.get_typed_func::<P, R>(&mut *store, self.0)?.call_async(store, parameters).await
    }
}
