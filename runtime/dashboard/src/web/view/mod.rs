//! The parts that pages are put together from. Each is one piece of markup with its first content;
//! a row is also the template from which the page's script makes more of them.
//!
//! **Invariant:** every text that a component, a caller or a person chose is escaped, and cut where
//! nothing else bounds it.

mod actions;
mod banner;
mod chart;
mod client_name;
mod gateway;
mod moment;
mod providers;
mod sessions;
mod state;

pub(super) use actions::{Actions, Shown, actions};
pub(super) use banner::banner;
pub(super) use client_name::client_name;
pub(super) use gateway::{gateway, turns, word_of};
pub(super) use providers::providers;
pub(super) use sessions::sessions;
pub(super) use state::{looks, shape, shapes, state};

use serde_json::Value;

/// Longest text that is shown where nothing else bounds it, in characters.
const MAX_SHOWN: usize = 600;

/// A value as text; `unknown` for none.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        Value::String(text) => cut(text).to_owned(),
        other => cut(&other.to_string()).to_owned(),
    }
}

/// The start of a text, of [`MAX_SHOWN`] characters at most.
fn cut(text: &str) -> &str {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
