//! One action at many agents.
//!
//! **Invariant:** every agent of the file gets exactly one result. The failure of one does not
//! affect the others.

use super::action::{Action, Done};
use super::client::{RequestSlots, shown};
use super::failure::{DrainFailure, FailureKind};
use super::fleet_file::{self, Agent};
use super::status::in_flight;
use crate::commands::{say, table};
use serde_json::{Map, Value};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, Sender};
use std::thread;

/// Stack of the thread of one agent.
const STACK_BYTES: usize = 1024 * 1024;
/// Most rows of the live table. A table that is longer than the screen cannot be written over.
const MAX_ROWS: usize = 20;
/// Longest result in the live table, in characters, so that a row stays on one line.
const MAX_RESULT: usize = 60;

/// What a worker found out about the agent at this index.
struct AgentEvent {
    agent: usize,
    news: News,
}

enum News {
    Look { state: String, turns: Option<u64> },
    End(Result<Done, DrainFailure>),
}

/// What is known of one agent.
#[derive(Default)]
struct AgentRow {
    name: String,
    look: Option<(String, Option<u64>)>,
    end: Option<AgentEnd>,
}

/// How the action ended at one agent.
struct AgentEnd {
    code: u8,
    failure: Option<DrainFailure>,
}

/// Acts on every agent of the file. Mistakes in the file or the flags end the command before it
/// acts on any.
pub(super) fn run(file: &Path, parallel: u16, action: &Action) -> ExitCode {
    let target = action.target();
    if target.url.is_some() || target.secret_file.is_some() {
        let mistake = "--url and --secret-file cannot be used with --fleet: its file names both for each agent";
        return super::fail(&DrainFailure::usage(mistake), target.json);
    }

    let agents = match fleet_file::read(file, target.cacert.as_deref()) {
        Ok(agents) => agents,
        Err(mistake) => return super::fail(&DrainFailure::usage(mistake), target.json),
    };
    let is_terminal = io::stdout().is_terminal() && io::stderr().is_terminal();
    let mut view = View::new(&agents, is_terminal && !target.json);
    let slots = RequestSlots::new(usize::from(parallel));
    let share = |agent: Agent| Agent {
        client: agent.client.with_slots(&slots),
        ..agent
    };
    let agents: Vec<_> = agents.into_iter().map(share).collect();
    drive(&agents, action, &mut view);

    view.finish(action.goal())
}

/// Acts on every agent on a thread of its own, and shows what the threads report. An agent that is
/// waited for so holds up no other; the slots bound the requests.
fn drive(agents: &[Agent], action: &Action, view: &mut View) {
    let (sender, events) = mpsc::channel();
    thread::scope(|scope| {
        for (index, agent) in agents.iter().enumerate() {
            let sender = sender.clone();
            let worker = move || work(index, agent, action, &sender);
            // An agent without a thread gets its result in `View::finish`.
            let _ = thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, worker);
        }
        // The loop ends when the last worker drops its sender.
        drop(sender);
        for event in events {
            view.take(event);
        }
    });
}

fn work(index: usize, agent: &Agent, action: &Action, events: &Sender<AgentEvent>) {
    let done = action.perform(&agent.client, &mut |look| {
        let state = look.status.state().to_owned();
        let news = News::Look {
            state,
            turns: look.status.turns(),
        };
        let _ = events.send(AgentEvent { agent: index, news });
    });
    let _ = events.send(AgentEvent {
        agent: index,
        news: News::End(done),
    });
}

/// Shows the agents: a table that is redrawn on a terminal, elsewhere one JSON line per change on
/// stdout.
struct View {
    rows: Vec<AgentRow>,
    is_table: bool,
    /// Lines of the table that stands on the terminal.
    drawn: usize,
}

impl View {
    fn new(agents: &[Agent], is_table: bool) -> Self {
        let row = |agent: &Agent| AgentRow {
            name: agent.name.clone(),
            ..AgentRow::default()
        };
        Self {
            rows: agents.iter().map(row).collect(),
            is_table,
            drawn: 0,
        }
    }

    fn take(&mut self, event: AgentEvent) {
        let Some(row) = self.rows.get_mut(event.agent) else {
            return;
        };
        let line = match event.news {
            News::Look { state, turns } => {
                let look = Some((state, turns));
                if row.look == look {
                    return;
                }
                row.look = look;
                row.change()
            }
            News::End(done) => row.end(done),
        };

        match self.is_table {
            true => self.draw(),
            false => say(&format!("{}\n", Value::Object(line))),
        }
    }

    /// Agents that are under way come first, since the table may not hold all.
    fn draw(&mut self) {
        let mut rows: Vec<&AgentRow> = self.rows.iter().collect();
        rows.sort_by_key(|row| (row.end.is_some(), row.look.is_none()));
        let heading = ["AGENT", "STATE", "TURNS", "RESULT"]
            .map(str::to_owned)
            .to_vec();
        let cells: Vec<Vec<String>> = std::iter::once(heading)
            .chain(rows.iter().take(MAX_ROWS).map(|row| row.cells()))
            .collect();
        let mut text = table::render(&cells);

        if rows.len() > MAX_ROWS {
            text += &format!("\nand {} more", rows.len() - MAX_ROWS);
        }

        let up = match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        };
        self.drawn = text.lines().count();
        let _ = writeln!(io::stderr(), "{up}\r\x1b[J{text}");
    }

    /// Prints the summary and returns the exit code: the highest among the agents.
    fn finish(mut self, goal: &str) -> ExitCode {
        for row in self.rows.iter_mut().filter(|row| row.end.is_none()) {
            // No worker thread could be started.
            let line = row.end(Err(DrainFailure::new(
                FailureKind::Failed,
                "no thread could be started for this agent",
            )));
            if !self.is_table {
                say(&format!("{}\n", Value::Object(line)));
            }
        }

        let ends = || {
            self.rows
                .iter()
                .filter_map(|row| Some((&row.name, row.end.as_ref()?)))
        };
        for (name, failure) in ends().filter_map(|(name, end)| Some((name, end.failure.as_ref()?)))
        {
            if self.is_table {
                tell!("portcullis: {name}: {}", failure.detail);
            }
        }

        let done = ends().filter(|(_, end)| end.code == 0).count();
        tell!("{done} of {} agents are {goal}", self.rows.len());
        ExitCode::from(ends().map(|(_, end)| end.code).max().unwrap_or_default())
    }
}

impl AgentRow {
    /// The JSON line for a look that differs from the one before.
    fn change(&self) -> Map<String, Value> {
        let mut line = Map::new();
        line.insert("name".to_owned(), self.name.as_str().into());
        if let Some((state, turns)) = &self.look {
            line.insert("gateway_state".to_owned(), state.as_str().into());
            line.insert("active_agents".to_owned(), (*turns).into());
        }
        line
    }

    /// Notes the end and returns its JSON line.
    fn end(&mut self, done: Result<Done, DrainFailure>) -> Map<String, Value> {
        let (code, result, failure) = match done {
            Ok(done) => (0, done.to_json(), None),
            Err(failure) => (failure.kind.exit_code(), failure.to_json(), Some(failure)),
        };
        let mut line = Map::new();
        line.insert("name".to_owned(), self.name.as_str().into());
        line.insert("ok".to_owned(), (code == 0).into());
        line.insert("exit".to_owned(), code.into());

        // What a dashboard sends cannot stand in for the name or the result.
        for (key, value) in result {
            line.entry(key).or_insert(value);
        }

        self.end = Some(AgentEnd { code, failure });
        line
    }

    fn cells(&self) -> Vec<String> {
        let (state, turns) = match &self.look {
            Some((state, Some(turns))) => (shown(state), in_flight(*turns, None)),
            Some((state, None)) => (shown(state), "unknown".to_owned()),
            None => (String::new(), String::new()),
        };
        let result = match &self.end {
            None => String::new(),
            Some(AgentEnd { failure: None, .. }) => "done".to_owned(),
            Some(AgentEnd {
                failure: Some(failure),
                ..
            }) => failure.detail.chars().take(MAX_RESULT).collect(),
        };

        vec![self.name.clone(), state, turns, result]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_an_end_names_the_agent_and_its_exit_code() {
        let mut row = AgentRow {
            name: "a".to_owned(),
            ..AgentRow::default()
        };
        let line = row.end(Err(DrainFailure::new(FailureKind::Refused, "no")));
        let expected = r#"{"name":"a","ok":false,"exit":3,"error":"refused","detail":"no"}"#;
        assert_eq!(Value::Object(line).to_string(), expected);
        assert_eq!(row.end.map(|end| end.code), Some(3));
    }

    #[test]
    fn look_that_changes_nothing_is_not_shown() {
        let mut row = AgentRow {
            name: "a".to_owned(),
            ..AgentRow::default()
        };
        row.look = Some(("draining".to_owned(), Some(2)));
        let expected = r#"{"name":"a","gateway_state":"draining","active_agents":2}"#;
        assert_eq!(Value::Object(row.change()).to_string(), expected);
    }
}
