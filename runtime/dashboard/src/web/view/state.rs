//! States: each has a word, a colour, a shape and a sentence.

use maud::{Markup, PreEscaped, html};
use serde_json::{Value, json};

/// What is drawn for a state, in a square of 16 by 16.
const SHAPES: &[(&str, &str)] = &[
    (
        "disc",
        r#"<circle cx="8" cy="8" r="6" fill="currentColor"/>"#,
    ),
    (
        "hourglass",
        r#"<path fill="currentColor" d="M3 1h10v2.5L9.5 8l3.5 4.5V15H3v-2.5L6.5 8 3 3.5z"/>"#,
    ),
    (
        "pause",
        r#"<circle cx="8" cy="8" r="7" fill="currentColor"/><path stroke="var(--tone-ground)" stroke-width="2" d="M6 5v6m4-6v6"/>"#,
    ),
    (
        "dashes",
        r#"<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2.5" stroke-dasharray="3.2 3.1"/>"#,
    ),
    (
        "square",
        r#"<rect x="2" y="2" width="12" height="12" rx="1" fill="currentColor"/>"#,
    ),
    (
        "diamond",
        r#"<path fill="none" stroke="currentColor" stroke-width="2.5" d="M8 1.7 14.3 8 8 14.3 1.7 8z"/>"#,
    ),
    (
        "triangle",
        r#"<path fill="currentColor" d="M8 1 15.5 15H.5z"/><path stroke="var(--tone-ground)" stroke-width="2" d="M8 6v4m0 1.5v1.8"/>"#,
    ),
    (
        "cross",
        r#"<path fill="currentColor" d="M5 1h6l4 4v6l-4 4H5l-4-4V5z"/><path stroke="var(--tone-ground)" stroke-width="2" d="m5.5 5.5 5 5m0-5-5 5"/>"#,
    ),
    (
        "ring",
        r#"<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2.5"/>"#,
    ),
];

/// How one state looks, and what it means.
struct StateLook {
    word: &'static str,
    shape: &'static str,
    tone: &'static str,
    /// The sentence about the gateway. The counts of turns are shown beside it.
    sentence: &'static str,
}

const fn look(
    word: &'static str,
    shape: &'static str,
    tone: &'static str,
    sentence: &'static str,
) -> StateLook {
    StateLook {
        word,
        shape,
        tone,
        sentence,
    }
}

const LOOKS: &[StateLook] = &[
    look("running", "disc", "good", "Accepts new turns."),
    look(
        "draining",
        "hourglass",
        "wait",
        "Refuses new turns. Turns in flight run to their end.",
    ),
    look(
        "drained",
        "pause",
        "calm",
        "Refuses new turns, and no turn is in flight.",
    ),
    look(
        "starting",
        "dashes",
        "calm",
        "Starts, and accepts no turns yet.",
    ),
    look(
        "stopping",
        "hourglass",
        "wait",
        "Shuts down. Turns in flight get a grace.",
    ),
    look(
        "stopped",
        "square",
        "idle",
        "No gateway runs over this home.",
    ),
    look(
        "startup_failed",
        "cross",
        "bad",
        "The last start failed. The gateway's log says why.",
    ),
    look(
        "unknown",
        "diamond",
        "odd",
        "What the gateway does is not known.",
    ),
    look("serving", "disc", "good", ""),
    look("native", "disc", "good", ""),
    look("loading", "dashes", "calm", ""),
    look("quarantined", "triangle", "hot", ""),
    look("refused", "cross", "bad", ""),
    look("live", "disc", "good", ""),
    look("connecting", "dashes", "calm", ""),
    look("not live", "triangle", "wait", ""),
];

/// The look of a word that a gateway made up.
const OTHER: StateLook = look(
    "other",
    "ring",
    "odd",
    "The gateway's own word for what it does.",
);

fn look_of(word: &str) -> &'static StateLook {
    LOOKS
        .iter()
        .find(|look| look.word == word)
        .unwrap_or(&OTHER)
}

/// The looks for the page's script: shape, tone and sentence of each word. `other` stands for every
/// other word.
pub(in crate::web) fn looks() -> Value {
    let entry = |look: &StateLook| {
        (
            look.word.to_owned(),
            json!([look.shape, look.tone, look.sentence]),
        )
    };
    Value::Object(LOOKS.iter().chain([&OTHER]).map(entry).collect())
}

/// The sentence of a state of the gateway.
pub(super) fn sentence_of(word: &str) -> &'static str {
    look_of(word).sentence
}

/// The tone of a state, which the style sheet gives colours.
pub(super) fn tone_of(word: &str) -> &'static str {
    look_of(word).tone
}

/// Every shape once, for the page to refer to.
pub(in crate::web) fn shapes() -> Markup {
    let symbol = |(name, drawn): &(&str, &str)| {
        format!(r#"<symbol id="shape-{name}" viewBox="0 0 16 16">{drawn}</symbol>"#)
    };
    let symbols: String = SHAPES.iter().map(symbol).collect();
    html! { svg.symbols aria-hidden="true" { (PreEscaped(symbols)) } }
}

/// The shape of a state, without its word.
pub(in crate::web) fn shape(word: &str) -> Markup {
    PreEscaped(format!(
        r##"<svg aria-hidden="true"><use href="#shape-{}"/></svg>"##,
        look_of(word).shape
    ))
}

/// A state with its word, which the script finds by `id`.
pub(in crate::web) fn state(word: &str, id: Option<&str>, is_large: bool) -> Markup {
    html! {
        span.state.large[is_large] data-tone=(tone_of(word)) { (shape(word)) span id=[id] { (word) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_look_has_a_shape_that_is_drawn() {
        let drawn: BTreeSet<_> = SHAPES.iter().map(|(name, _)| *name).collect();
        assert!(
            LOOKS
                .iter()
                .chain([&OTHER])
                .all(|look| drawn.contains(look.shape))
        );
    }

    #[test]
    fn states_differ_by_shape_and_not_by_colour_alone() {
        let of_gateway = ["running", "draining", "drained", "unknown", "stopped"];
        let of_providers = ["serving", "loading", "quarantined", "refused"];
        for words in [of_gateway.as_slice(), of_providers.as_slice()] {
            let shapes: BTreeSet<_> = words.iter().map(|word| look_of(word).shape).collect();
            assert_eq!(shapes.len(), words.len(), "{words:?}");
        }
    }

    #[test]
    fn word_of_a_gateway_is_escaped() {
        let shown = state("<b>", Some("state"), false).into_string();
        assert!(
            shown.contains("&lt;b&gt;") && shown.contains("#shape-ring"),
            "{shown}"
        );
    }
}
