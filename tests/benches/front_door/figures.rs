//! Figures over rounds, and tables in Markdown.

use std::time::Duration;

/// The least, the middle and the most of one figure over all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    least: f64,
    pub(crate) median: f64,
    most: f64,
}

impl Spread {
    /// Of one value per round. Of an even number of rounds, the median is the upper one of the
    /// middle two.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        Self {
            least: at(0),
            median: at(sorted.len() / 2),
            most: at(sorted.len().saturating_sub(1)),
        }
    }

    /// `MEDIAN (LEAST to MOST)`.
    pub(crate) fn show(self, decimals: usize) -> String {
        let Self {
            least,
            median,
            most,
        } = self;
        if median.is_nan() {
            return "not measured".to_owned();
        }
        format!("{median:.decimals$} ({least:.decimals$} to {most:.decimals$})")
    }
}

/// Spread of the ratio of two figures within each round, which a slow minute of the machine changes
/// least.
pub(crate) fn ratio<T>(ours: &[T], theirs: &[T], figure: impl Fn(&T) -> f64) -> Spread {
    Spread::of(
        ours.iter()
            .zip(theirs)
            .map(|(ours, theirs)| figure(ours) / figure(theirs)),
    )
}

/// This percentile of durations that are sorted, in milliseconds. NaN: there are none.
pub(crate) fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    sorted
        .get(sorted.len() * percent / 100)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// A table in Markdown.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut text = line(&head.map(str::to_owned));
    text.push_str(&line(&["---"; N].map(str::to_owned)));
    for row in rows {
        text.push_str(&line(&row));
    }
    text
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}
