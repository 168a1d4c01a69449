//! Two kinds of calls that must not delay each other: checks of tokens and sessions, and sign-ins.

/// Which kind a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Checks of tokens and sessions: quick, and part of every request.
    Checks,
    /// Sign-ins with a password or a code: as slow as a hash or an identity provider, and begun by
    /// strangers.
    SignIns,
}

/// One value per lane.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    checks: T,
    sign_ins: T,
}

impl<T> Lanes<T> {
    /// Makes a value for each lane.
    pub(crate) fn new(make: impl Fn(Lane) -> T) -> Self {
        Self::of(make(Lane::Checks), make(Lane::SignIns))
    }

    /// Makes the pair from its two values.
    pub(crate) fn of(checks: T, sign_ins: T) -> Self {
        Self { checks, sign_ins }
    }

    pub(crate) fn get(&self, lane: Lane) -> &T {
        match lane {
            Lane::Checks => &self.checks,
            Lane::SignIns => &self.sign_ins,
        }
    }

    pub(crate) fn both(&self) -> [&T; 2] {
        [&self.checks, &self.sign_ins]
    }
}
