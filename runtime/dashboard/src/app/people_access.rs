//! How people are let in, and what the home knows of their sessions.

use super::StartError;
use super::ended_people::EndedPeople;
use super::ended_sessions::EndedSessions;
use super::session_list;
use crate::config::{Config, DashboardConfig};
use portcullis_auth::{BearerToken, People, PeopleGate, SecretDigest, Sessions};
use std::sync::Arc;

/// How people are let in: settled when the process starts.
pub(super) struct PeopleAccess {
    pub(super) people: Arc<People>,
    pub(super) must_sign_in: bool,
    /// `--insecure` on an address where they would have to.
    pub(super) is_open: bool,
}

/// Returns whether people must sign in. `insecure`: the command line opened the gate.
pub(super) fn must_sign_in(dashboard: &DashboardConfig, insecure: bool) -> bool {
    dashboard.is_gated() && !insecure
}

/// The people of a dashboard, and what keeps the ends of their sessions.
pub(super) struct OpenedPeople {
    pub(super) people_access: PeopleAccess,
    pub(super) ended: EndedSessions,
    pub(super) ended_people: EndedPeople,
}

impl OpenedPeople {
    /// Reads from the home which sessions there are and which have ended.
    pub(super) fn open(
        config: &Config,
        insecure: bool,
        process_token: &BearerToken,
    ) -> Result<Self, StartError> {
        let must_sign_in = must_sign_in(&config.dashboard, insecure);
        let gate = match must_sign_in {
            true => PeopleGate::Sessions,
            false => PeopleGate::ProcessToken(SecretDigest::of(process_token.expose().as_bytes())),
        };

        let (over, ended) = EndedSessions::open(&config.home).map_err(StartError::Thread)?;
        let (cut_offs, ended_people) = EndedPeople::open(&config.home);
        let sessions = Sessions::with_ended(over, cut_offs);
        let people = Arc::new(People::with_sessions(
            gate,
            sessions,
            session_list::open(&config.home),
        ));

        let people_access = PeopleAccess {
            people,
            must_sign_in,
            is_open: config.dashboard.is_gated() && insecure,
        };
        Ok(Self {
            people_access,
            ended,
            ended_people,
        })
    }
}
