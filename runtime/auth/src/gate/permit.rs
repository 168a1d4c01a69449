use super::super::{Principal, ProviderName, Role, Session};
use std::ops::Deref;
use std::sync::Arc;

/// The caller who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A machine, verified by a provider.
    Service(Principal),
    /// A person with a session.
    Person(Arc<Session>),
    /// A caller that holds this process's token.
    ProcessTokenHolder,
}

/// Proof that the gate let a caller in. Only the gate makes one, so what asks for a permit cannot
/// be reached by a request that the gate did not see.
///
/// A permit of the gate can be read:
///
/// ```
/// use portcullis_auth::{Caller, Permit, Role};
///
/// fn read(permit: &Permit) -> (&Caller, Option<Role>) {
///     (permit.caller(), permit.role())
/// }
/// ```
///
/// A handmade permit does not compile, since its fields are private:
///
/// ```compile_fail,E0451
/// use portcullis_auth::{Caller, Permit, Role};
///
/// fn forged() -> Permit {
///     Permit { caller: Caller::ProcessTokenHolder, role: Some(Role::Operator) }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Permit {
    caller: Caller,
    role: Option<Role>,
}

impl Permit {
    pub(super) fn service(principal: Principal) -> Self {
        Self {
            caller: Caller::Service(principal),
            role: None,
        }
    }

    pub(super) fn person(session: Arc<Session>, role: Role) -> Self {
        Self {
            caller: Caller::Person(session),
            role: Some(role),
        }
    }

    pub(super) fn process_token_holder() -> Self {
        Self {
            caller: Caller::ProcessTokenHolder,
            role: Some(Role::Operator),
        }
    }

    /// Returns the caller who was let in.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns the caller's role. `None` for a service, which has scopes instead.
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// The same as a proof that the caller may operate the gateway. `None` for a viewer. A service
    /// was let in by the scope that the operator put on the route.
    pub fn to_operate(&self) -> Option<OperatorPermit> {
        (self.role != Some(Role::Viewer)).then(|| OperatorPermit(self.clone()))
    }

    /// Returns the provider that vouched for the caller.
    pub fn provider(&self) -> Option<&ProviderName> {
        match &self.caller {
            Caller::Service(principal) => Some(principal.provider()),
            Caller::Person(session) => Some(session.provider()),
            Caller::ProcessTokenHolder => None,
        }
    }

    /// Returns the digest of the component of that provider. `None`: it has none.
    pub fn component(&self) -> Option<&str> {
        match &self.caller {
            Caller::Service(principal) => principal.component(),
            Caller::Person(session) => session.component(),
            Caller::ProcessTokenHolder => None,
        }
    }

    /// Returns the caller's groups, as the identity provider names them.
    pub fn groups(&self) -> &[String] {
        match &self.caller {
            Caller::Service(principal) => principal.groups(),
            Caller::Person(session) => &session.claims().groups,
            Caller::ProcessTokenHolder => &[],
        }
    }

    /// Returns the name to write into markers, logs and audit lines.
    pub fn name(&self) -> &str {
        match &self.caller {
            Caller::Service(principal) => principal.name(),
            Caller::Person(session) => &session.claims().user_id,
            Caller::ProcessTokenHolder => "dashboard",
        }
    }
}

/// Proof that a caller may drain, restart, and see what only operators see: a person with the role
/// `operator`, the holder of this process's token, or a service with the scope of the route.
/// [`Permit::to_operate`] alone makes one.
///
/// ```
/// use portcullis_auth::{OperatorPermit, Permit};
///
/// fn promoted(permit: &Permit) -> Option<OperatorPermit> {
///     permit.to_operate()
/// }
/// ```
///
/// A permit cannot be wrapped by hand, since the field is private:
///
/// ```compile_fail,E0423
/// use portcullis_auth::{OperatorPermit, Permit};
///
/// fn promoted(permit: &Permit) -> Option<OperatorPermit> {
///     Some(OperatorPermit(permit.clone()))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct OperatorPermit(Permit);

impl Deref for OperatorPermit {
    type Target = Permit;

    fn deref(&self) -> &Permit {
        &self.0
    }
}
