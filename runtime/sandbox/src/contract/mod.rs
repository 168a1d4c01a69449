//! The contract `portcullis:auth` from the host's side: its versions, what its functions take and
//! answer, and where a component has them.
//!
//! A frozen version never changes. One that only adds interfaces to an older one needs its number
//! in [`CONTRACT_VERSIONS`] and nothing else: functions are found under the component's own
//! version, and their types are compared when it is loaded. One that changes a record has the
//! newest form here. The older form is in a module of its own (`contract_0_1`), with a conversion
//! by [`Versioned`], so that the rest of the host knows the newest form alone.
//!
//! - This file: the versions and the newest records; [`contract_0_1`]: the records of the oldest
//!   version.
//! - [`convert`]: from a guest's answer to what the host works with, with every length checked.
//!
//! **Invariant:** what a guest answered is used only after `convert` has checked it.

pub(crate) mod contract_0_1;
pub(crate) mod convert;

use crate::host::HostState;
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
pub(crate) fn interface(name: &str, version: &str) -> String {
    format!("{PACKAGE}/{name}@{version}")
}

/// The version of the contract in the name of a component's export, if that is what every provider
/// exports.
pub(crate) fn version_in(export: &str) -> Option<&str> {
    export.strip_prefix(PACKAGE)?.strip_prefix("/provider@")
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct SessionRecord {
    #[component(name = "user-id")]
    pub(crate) user_id: String,
    pub(crate) email: String,
    #[component(name = "display-name")]
    pub(crate) display_name: String,
    #[component(name = "org-id")]
    pub(crate) org_id: String,
    #[component(name = "expires-at")]
    pub(crate) expires_at: u64,
    #[component(name = "access-token")]
    pub(crate) access_token: String,
    #[component(name = "refresh-token")]
    pub(crate) refresh_token: String,
    pub(crate) groups: Vec<String>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct PrincipalRecord {
    pub(crate) principal: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) groups: Vec<String>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum ProviderError {
    #[component(name = "unavailable")]
    Unavailable(String),
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum PasswordError {
    #[component(name = "invalid-credentials")]
    InvalidCredentials,
    #[component(name = "unavailable")]
    Unavailable(String),
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum CodeError {
    #[component(name = "invalid-code")]
    InvalidCode(String),
    #[component(name = "unavailable")]
    Unavailable(String),
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum RefreshError {
    #[component(name = "expired")]
    Expired,
    #[component(name = "unavailable")]
    Unavailable(String),
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Ended {
    #[component(name = "person")]
    Person(String),
    #[component(name = "noted")]
    Noted,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum LogoutError {
    #[component(name = "invalid-token")]
    InvalidToken(String),
    #[component(name = "unavailable")]
    Unavailable(String),
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct LoginRequestRecord<'a> {
    #[component(name = "redirect-uri")]
    pub(crate) redirect_uri: &'a str,
    pub(crate) state: &'a str,
    pub(crate) nonce: &'a str,
    #[component(name = "code-challenge")]
    pub(crate) code_challenge: &'a str,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct LoginResponseRecord<'a> {
    #[component(name = "redirect-uri")]
    pub(crate) redirect_uri: &'a str,
    pub(crate) code: &'a str,
    pub(crate) nonce: &'a str,
    #[component(name = "code-verifier")]
    pub(crate) code_verifier: &'a str,
    pub(crate) issuer: Option<&'a str>,
}

pub(crate) type TokenAnswer = Result<Option<PrincipalRecord>, ProviderError>;
pub(crate) type SessionAnswer = Result<Option<SessionRecord>, ProviderError>;

/// An answer with a record that is shorter in version 0.1.0.
pub(crate) trait Versioned: Lift + Send + Sync + 'static {
    /// The answer of a component of version 0.1.0.
    type First: Lift + Send + Sync + 'static;

    /// The same in the newest form.
    fn from_first(first: Self::First) -> Self;
}

impl Versioned for SessionRecord {
    type First = contract_0_1::FirstSession;

    fn from_first(first: Self::First) -> Self {
        first.into()
    }
}

impl Versioned for PrincipalRecord {
    type First = contract_0_1::FirstTokenPrincipal;

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
enum RecordVersion {
    /// Those of version 0.1.0.
    First,
    /// Those of every later version.
    Newest,
}

impl RecordVersion {
    fn of(version: &str) -> Self {
        match version {
            "0.1.0" => Self::First,
            _ => Self::Newest,
        }
    }
}

/// The functions that a component has.
pub(crate) struct Contract {
    pub(crate) supports_token: Function,
    pub(crate) verify_token: VersionedFunction,
    pub(crate) verify_session: VersionedFunction,
    pub(crate) check_settings: Option<Function>,
    complete_password_login: Option<VersionedFunction>,
    redirect: Option<RedirectFunctions>,
    refresh: Option<RefreshFunctions>,
    sign_out: Option<SignOutFunctions>,
}

pub(crate) struct RedirectFunctions {
    pub(crate) start_login: Function,
    pub(crate) complete_login: VersionedFunction,
}

pub(crate) struct RefreshFunctions {
    pub(crate) refresh_session: VersionedFunction,
    pub(crate) revoke_session: Function,
}

pub(crate) struct SignOutFunctions {
    pub(crate) read_logout_token: Function,
    pub(crate) sign_out_url: Function,
}

impl Contract {
    /// Finds them, each with the type that this version of the contract gives it.
    ///
    /// # Errors
    /// A function is not there, or is of another type.
    pub(crate) fn of(linked: &InstancePre<HostState>, version: &str) -> wasmtime::Result<Self> {
        let records = RecordVersion::of(version);
        let export = |name: &str| Interface::find(linked, interface(name, version), records);
        let provider = export("provider").ok_or_else(|| {
            wasmtime::format_err!("it exports no {}", interface("provider", version))
        })?;
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
                    it.versioned::<(&str, &str), Result<SessionRecord, PasswordError>>(
                        "complete-password-login",
                    )
                })
                .transpose()?,
            redirect: export("redirect")
                .map(|redirect| RedirectFunctions::of(&redirect))
                .transpose()?,
            refresh: export("refresh")
                .map(|refresh| RefreshFunctions::of(&refresh))
                .transpose()?,
            sign_out: export("sign-out")
                .map(|sign_out| SignOutFunctions::of(&sign_out))
                .transpose()?,
        })
    }

    /// The function of the interface `password`.
    ///
    /// # Errors
    /// The provider does not export the interface. That is the host's own mistake, since it reads
    /// the exports before it calls one.
    pub(crate) fn complete_password_login(&self) -> wasmtime::Result<VersionedFunction> {
        exported(self.complete_password_login, "password")
    }

    /// The functions of the interface `redirect`.
    ///
    /// # Errors
    /// As those of [`Self::complete_password_login`].
    pub(crate) fn redirect(&self) -> wasmtime::Result<&RedirectFunctions> {
        exported(self.redirect.as_ref(), "redirect")
    }

    /// The functions of the interface `refresh`.
    ///
    /// # Errors
    /// As those of [`Self::complete_password_login`].
    pub(crate) fn refresh(&self) -> wasmtime::Result<&RefreshFunctions> {
        exported(self.refresh.as_ref(), "refresh")
    }

    /// The functions of the interface `sign-out`.
    ///
    /// # Errors
    /// As those of [`Self::complete_password_login`].
    pub(crate) fn sign_out(&self) -> wasmtime::Result<&SignOutFunctions> {
        exported(self.sign_out.as_ref(), "sign-out")
    }
}

fn exported<T>(functions: Option<T>, interface: &str) -> wasmtime::Result<T> {
    functions.ok_or_else(|| wasmtime::format_err!("the provider exports no {interface}"))
}

impl RedirectFunctions {
    fn of(redirect: &Interface<'_>) -> wasmtime::Result<Self> {
        Ok(Self {
            start_login: redirect
                .function::<(LoginRequestRecord<'_>,), (Result<String, ProviderError>,)>(
                    "start-login",
                )?,
            complete_login: redirect
                .versioned::<(LoginResponseRecord<'_>,), Result<SessionRecord, CodeError>>(
                    "complete-login",
                )?,
        })
    }
}

impl RefreshFunctions {
    fn of(refresh: &Interface<'_>) -> wasmtime::Result<Self> {
        Ok(Self {
            refresh_session: refresh
                .versioned::<(&str,), Result<SessionRecord, RefreshError>>("refresh-session")?,
            revoke_session: refresh.function::<(&str,), ()>("revoke-session")?,
        })
    }
}

impl SignOutFunctions {
    fn of(sign_out: &Interface<'_>) -> wasmtime::Result<Self> {
        Ok(Self {
            read_logout_token: sign_out
                .function::<(&str,), (Result<Ended, LogoutError>,)>("read-logout-token")?,
            sign_out_url: sign_out
                .function::<(&str, &str), (Result<Option<String>, ProviderError>,)>(
                    "sign-out-url",
                )?,
        })
    }
}

/// An interface that a component exports.
struct Interface<'a> {
    linked: &'a InstancePre<HostState>,
    name: String,
    index: ComponentExportIndex,
    records: RecordVersion,
}

impl<'a> Interface<'a> {
    fn find(
        linked: &'a InstancePre<HostState>,
        name: String,
        records: RecordVersion,
    ) -> Option<Self> {
        let index = linked.component().get_export_index(None, name.as_str())?;
        Some(Self {
            linked,
            name,
            index,
            records,
        })
    }

    /// A function whose answer has one of the records.
    fn versioned<P, R>(&self, name: &str) -> wasmtime::Result<VersionedFunction>
    where
        P: ComponentNamedList + Lower,
        R: Versioned,
    {
        let function = match self.records {
            RecordVersion::First => self.function::<P, (R::First,)>(name)?,
            RecordVersion::Newest => self.function::<P, (R,)>(name)?,
        };
        Ok(VersionedFunction {
            function,
            records: self.records,
        })
    }

    fn function<P, R>(&self, name: &str) -> wasmtime::Result<Function>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let missing = || wasmtime::format_err!("`{}` has no function `{name}`", self.name);
        let (item, index) = self
            .linked
            .component()
            .get_export(Some(&self.index), name)
            .ok_or_else(missing)?;
        let ComponentItem::ComponentFunc(function) = item else {
            return Err(missing());
        };
        function
            .typecheck::<P, R>(&self.linked.instance_type())
            .map_err(|error| error.context(format!("`{}`, function `{name}`", self.name)))?;

        Ok(Function(index))
    }
}

/// A function that a component exports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function(ComponentExportIndex);

impl Function {
    /// Calls it in an instance. Parameters and answer are the tuples of the contract.
    ///
    /// # Errors
    /// The guest traps.
    pub(crate) async fn call<P, R>(
        self,
        store: &mut Store<HostState>,
        instance: &Instance,
        parameters: P,
    ) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        instance
            .get_typed_func::<P, R>(&mut *store, self.0)?
            .call_async(store, parameters)
            .await
    }
}

/// A function whose answer has the records of one [`RecordVersion`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct VersionedFunction {
    function: Function,
    records: RecordVersion,
}

impl VersionedFunction {
    /// Calls it in an instance, and returns its answer in the newest form.
    ///
    /// # Errors
    /// The guest traps.
    pub(crate) async fn call<P, R>(
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
            RecordVersion::First => {
                let (answer,) = self
                    .function
                    .call::<P, (R::First,)>(store, instance, parameters)
                    .await?;
                Ok(R::from_first(answer))
            }
            RecordVersion::Newest => {
                let (answer,) = self
                    .function
                    .call::<P, (R,)>(store, instance, parameters)
                    .await?;
                Ok(answer)
            }
        }
    }
}
