//! Two kinds of calls that must not stand in each other's way: checks of tokens and sessions, and sign-ins.

/// Which kind a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Of a token or a session: quick, and on the way of every request.
    Checks,
    /// Of a password or a code: as slow as a hash or an identity provider, and begun by strangers.
    SignIns,
}

/// One value per lane.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    checks: T,
    sign_ins: T,
}

impl<T> Lanes<T> {
    /// What is made for each.
    pub(super) fn new(make: impl Fn(Lane) -> T) -> Self {
        Self::of(make(Lane::Checks), make(Lane::SignIns))
    }

    /// Makes the pair from its two values.
    pub(super) fn of(checks: T, sign_ins: T) -> Self {
        Self { checks, sign_ins }
    }

    pub(super) fn get(&self, lane: Lane) -> &T {
        match lane {
            Lane::Checks => &self.checks,
            Lane::SignIns => &self.sign_ins,
        }
    }

    pub(super) fn both(&self) -> [&T; 2] {
        [&self.checks, &self.sign_ins]
    }
}
