//! The time of a provider's last calls as a small chart.

use maud::{Markup, PreEscaped, html};
use serde_json::Value;
use std::fmt::Write;

/// Calls that fit the chart.
const CALLS: usize = 48;
/// Height of the chart, in its own units.
const HEIGHT: f64 = 28.0;
/// From one bar to the next.
const STEP: usize = 2;

/// A bar per call, the newest at the right. The longest call has the full height.
pub(super) fn chart(recent: &Value) -> Markup {
    let times: Vec<_> = super::list(recent)
        .iter()
        .filter_map(Value::as_f64)
        .collect();
    let times = &times[times.len().saturating_sub(CALLS)..];
    html! {
        svg data-is="chart" role="img" aria-label=(label(times)) viewBox="0 0 96 28" {
            (PreEscaped(format!(r#"<path stroke="currentColor" stroke-width="1.5" d="{}"/>"#, bars(times))))
        }
    }
}

fn longest(times: &[f64]) -> f64 {
    times.iter().copied().fold(0.0, f64::max)
}

fn label(times: &[f64]) -> String {
    match times.len() {
        0 => "No calls yet".to_owned(),
        1 => format!("The last call took {:.2} ms", longest(times) * 1e3),
        calls => {
            format!(
                "Times of the last {calls} calls, the newest at the right; the longest took {:.2} ms",
                longest(times) * 1e3
            )
        }
    }
}

/// The path of the bars. Digits, letters and signs alone.
fn bars(times: &[f64]) -> String {
    let longest = longest(times).max(f64::MIN_POSITIVE);
    let first = CALLS.saturating_sub(times.len());
    let mut path = String::new();

    for (number, time) in times.iter().enumerate() {
        let height = (HEIGHT * time / longest).clamp(1.0, HEIGHT);
        // Writing to a string cannot fail.
        let _ = write!(
            path,
            "M{} {HEIGHT}v-{height:.1}",
            (first + number) * STEP + 1
        );
    }

    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn longest_call_has_the_full_height_and_the_newest_is_last() {
        assert_eq!(bars(&[0.001, 0.002]), "M93 28v-14.0M95 28v-28.0");
        assert_eq!(bars(&[]), "");
        assert_eq!(bars(&[0.0]), "M95 28v-1.0");
        let many = vec![0.001; 100];
        let shown = chart(&json!(many)).into_string();
        assert_eq!(shown.matches("v-28.0").count(), CALLS);
        assert!(shown.contains("the longest took 1.00 ms"), "{shown}");
        assert!(chart(&Value::Null).into_string().contains("No calls yet"));
    }
}
