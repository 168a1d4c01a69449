//! What a person sees during a wait, on stderr.

use super::client::shown;
use super::status::in_flight;
use super::wait::StatusLook;
use crate::commands::progress;
use std::io::{self, IsTerminal};

/// One line that is written over on a terminal; elsewhere a line whenever the state or the number
/// of turns changes.
#[derive(Default)]
pub(super) struct Progress {
    last: Option<(String, Option<u64>)>,
}

impl Progress {
    pub(super) fn show(&mut self, look: &StatusLook<'_>) {
        let now = (look.status.state().to_owned(), look.status.turns());
        let is_terminal = io::stderr().is_terminal();
        if !is_terminal && self.last.as_ref() == Some(&now) {
            return;
        }

        let turns = match look.status.turns() {
            Some(turns) => in_flight(turns, look.oldest),
            None => "turns in flight: unknown".to_owned(),
        };
        let line = format!(
            "{turns} ({}), waited {} s",
            shown(&now.0),
            look.waited.as_secs()
        );
        self.last = Some(now);

        match is_terminal {
            true => progress::show(&line),
            false => tell!("{line}"),
        }
    }

    /// Takes the line away, so that the result stands alone.
    pub(super) fn end(&mut self) {
        if self.last.take().is_some() {
            progress::clear();
        }
    }
}
