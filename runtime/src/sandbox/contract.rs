//! The contract `portcullis:auth` from the host's side: its versions, what its functions take and answer, and where a
//! component has them.
//!
//! A frozen version never changes. One that only adds interfaces to an older one needs its number in
//! [`CONTRACT_VERSIONS`] and nothing else: functions are found under the component's own version, and their types are
//! compared when it is loaded. One that changes a record has the newest form here. The older form is in a module of its
//! own (`contract_0_1`), with a conversion by [`Versioned`], so that the rest of the host knows the newest form alone.

use super::contract_0_1;
use super::host::HostState;
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    ComponentExportIndex, ComponentNamedList, ComponentType, Instance, InstancePre, Lift, Lower,
};

/// The versions whose components this binary loads, the newest first.
pub const CONTRACT_VERSIONS: &[&str] = &["0.2.0", "0.1.0"];

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
    pub(super) groups: Vec<String>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct TokenPrincipal {
    pub(super) principal: String,
    pub(super) scopes: Vec<String>,
    pub(super) groups: Vec<String>,
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

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum Ended {
    #[component(name = "person")]
    Person(String),
    #[component(name = "noted")]
    Noted,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum LogoutError {
    #[component(name = "invalid-token")]
    InvalidToken(String),
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

/// An answer with a record that is shorter in version 0.1.0.
pub(super) trait Versioned: Lift + Send + Sync + 'static {
    /// The answer of a component of version 0.1.0.
    type First: Lift + Send + Sync + 'static;

    /// The same in the newest form.
    fn from_first(first: Self::First) -> Self;
}

impl Versioned for Session {
    type First = contract_0_1::Session;

    fn from_first(first: Self::First) -> Self {
        first.into()
    }
}

impl Versioned for TokenPrincipal {
    type First = contract_0_1::TokenPrincipal;

    fn from_first(first: Self::First) -> Self {
        first.into()
    }
}

impl<T: Versioned> Versioned for Option<T> {
    type First = Option<T::First>;

    fn from_first(first: Self::First) -> Self {
        first.map(T::from_first)
    }
}

impl<T: Versioned, E: Lift + Send + Sync + 'static> Versioned for Result<T, E> {
    type First = Result<T::First, E>;

    fn from_first(first: Self::First) -> Self {
        first.map(T::from_first)
    }
}

/// Which records a component answers with.
#[derive(Clone, Copy, Debug)]
enum Records {
    /// Those of version 0.1.0.
    First,
    /// Those of every later version.
    Newest,
}

impl Records {
    fn of(version: &str) -> Self {
        match version {
            "0.1.0" => Self::First,
            _ => Self::Newest,
        }
    }
}

/// The functions that a component has.
pub(super) struct Contract {
    pub(super) supports_token: Function,
    pub(super) verify_token: VersionedFunction,
    pub(super) verify_session: VersionedFunction,
    pub(super) check_settings: Option<Function>,
    pub(super) complete_password_login: Option<VersionedFunction>,
    pub(super) redirect: Option<Redirect>,
    pub(super) refresh: Option<Refresh>,
    pub(super) sign_out: Option<SignOut>,
}

pub(super) struct Redirect {
    pub(super) start_login: Function,
    pub(super) complete_login: VersionedFunction,
}

pub(super) struct Refresh {
    pub(super) refresh_session: VersionedFunction,
    pub(super) revoke_session: Function,
}

pub(super) struct SignOut {
    pub(super) read_logout_token: Function,
    pub(super) sign_out_url: Function,
}

impl Contract {
    /// Finds them, each with the type that this version of the contract gives it.
    ///
    /// # Errors
    /// A function is not there, or is of another type.
    pub(super) fn of(linked: &InstancePre<HostState>, version: &str) -> wasmtime::Result<Self> {
        let records = Records::of(version);
        let export = |name: &str| Interface::find(linked, interface(name, version), records);
        let provider = export("provider")
            .ok_or_else(|| wasmtime::format_err!("it exports no {}", interface("provider", version)))?;
        let settings = export("settings");
        let password = export("password");
        Ok(Self {
            supports_token: provider.function::<(), (bool,)>("supports-token")?,
            verify_token: provider.versioned::<(&str,), TokenAnswer>("verify-token")?,
            verify_session: provider.versioned::<(&str,), SessionAnswer>("verify-session")?,
            check_settings: settings
                .map(|settings| settings.function::<(), (Result<(), String>,)>("check"))
                .transpose()?,
            complete_password_login: password
                .map(|it| {
                    it.versioned::<(&str, &str), Result<Session, PasswordError>>("complete-password-login")
                })
                .transpose()?,
            redirect: export("redirect").map(|redirect| Redirect::of(&redirect)).transpose()?,
            refresh: export("refresh").map(|refresh| Refresh::of(&refresh)).transpose()?,
            sign_out: export("sign-out").map(|sign_out| SignOut::of(&sign_out)).transpose()?,
        })
    }
}

impl Redirect {
    fn of(redirect: &Interface<'_>) -> wasmtime::Result<Self> {
        Ok(Self {
            start_login: redirect
                .function::<(LoginRequest<'_>,), (Result<String, ProviderError>,)>("start-login")?,
            complete_login: redirect
                .versioned::<(LoginResponse<'_>,), Result<Session, CodeError>>("complete-login")?,
        })
    }
}

impl Refresh {
    fn of(refresh: &Interface<'_>) -> wasmtime::Result<Self> {
        Ok(Self {
            refresh_session: refresh
                .versioned::<(&str,), Result<Session, RefreshError>>("refresh-session")?,
            revoke_session: refresh.function::<(&str,), ()>("revoke-session")?,
        })
    }
}

impl SignOut {
    fn of(sign_out: &Interface<'_>) -> wasmtime::Result<Self> {
        Ok(Self {
            read_logout_token: sign_out
                .function::<(&str,), (Result<Ended, LogoutError>,)>("read-logout-token")?,
            sign_out_url: sign_out
                .function::<(&str, &str), (Result<Option<String>, ProviderError>,)>("sign-out-url")?,
        })
    }
}

/// An interface that a component exports.
struct Interface<'a> {
    linked: &'a InstancePre<HostState>,
    name: String,
    index: ComponentExportIndex,
    records: Records,
}

impl<'a> Interface<'a> {
    fn find(linked: &'a InstancePre<HostState>, name: String, records: Records) -> Option<Self> {
        let index = linked.component().get_export_index(None, name.as_str())?;
        Some(Self { linked, name, index, records })
    }

    /// A function whose answer has one of the records.
    fn versioned<P, R>(&self, name: &str) -> wasmtime::Result<VersionedFunction>
    where
        P: ComponentNamedList + Lower,
        R: Versioned,
    {
        let function = match self.records {
            Records::First => self.function::<P, (R::First,)>(name)?,
            Records::Newest => self.function::<P, (R,)>(name)?,
        };
        Ok(VersionedFunction { function, records: self.records })
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

/// A function whose answer has one of the [`Records`].
#[derive(Clone, Copy, Debug)]
pub(super) struct VersionedFunction {
    function: Function,
    records: Records,
}

impl VersionedFunction {
    /// Calls it in an instance, and returns its answer in the newest form.
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
        R: Versioned,
    {
        match self.records {
            Records::First => {
                let (answer,) = self.function.call::<P, (R::First,)>(store, instance, parameters).await?;
                Ok(R::from_first(answer))
            }
            Records::Newest => {
                let (answer,) = self.function.call::<P, (R,)>(store, instance, parameters).await?;
                Ok(answer)
            }
        }
    }
}
