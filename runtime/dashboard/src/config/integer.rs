//! What stands in the place of an integer, and what the operator writes instead.

use crate::yaml::{Node, Yaml};

/// Units behind a number, in milliseconds.
const UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("sec", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// The end of a complaint about a value that is no integer in its range: what was found, and where
/// it is clear, what is right. `key` is the name of the key.
pub(super) fn found(key: &str, node: &Node) -> String {
    match &node.value {
        Yaml::Integer(value) => format!(", not {value}"),
        Yaml::Float(value) if value.fract() == 0.0 && value.abs() < 1e15 => {
            format!(
                ", not a float: write {value:.0}, without a decimal point, an exponent or a zero before it"
            )
        }
        Yaml::Float(value) if value.abs() < 1e15 => {
            ", not a fraction: write a whole number".to_owned()
        }
        Yaml::Float(_) => ", not so large a number".to_owned(),
        Yaml::Text(text) => format!(", not a string{}", hint(key, text.trim())),
        _ => format!(", not {}", node.kind()),
    }
}

/// What the operator writes in the place of text. Text that is no number is not repeated, since it
/// may be a secret.
fn hint(key: &str, text: &str) -> String {
    if let Ok(value) = text.parse::<i64>() {
        return match has_leading_zero(text) {
            true => format!(": write {value}, without zeros before it"),
            false => format!(": write {value} without quotes"),
        };
    }
    if text.parse::<f64>().is_ok_and(f64::is_finite) {
        return ": write a whole number without quotes".to_owned();
    }

    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .and_then(|end| text.split_at_checked(end));
    let Some((number, unit)) = split else {
        return String::new();
    };
    let unit = unit.trim().to_ascii_lowercase();
    let is_unit = !unit.is_empty() && unit.len() <= 3 && unit.chars().all(char::is_alphabetic);
    let Some(number) = number.parse::<u64>().ok().filter(|_| is_unit) else {
        return String::new();
    };
    in_unit_of(key, number, &unit).map_or_else(
        || ": write the number alone".to_owned(),
        |value| format!(": write {value}"),
    )
}

/// A duration in the unit that the name of the key ends with. `None`: it is no duration, or no whole
/// number of that unit.
fn in_unit_of(key: &str, number: u64, unit: &str) -> Option<u64> {
    let per_unit = match key {
        key if key.ends_with("_seconds") => 1_000,
        key if key.ends_with("_ms") => 1,
        _ => return None,
    };
    let (_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let total = number.checked_mul(*milliseconds)?;
    (total % per_unit == 0).then_some(total / per_unit)
}

fn has_leading_zero(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']);
    digits.len() > 1 && digits.starts_with('0')
}

#[cfg(test)]
mod tests {
    use super::super::tests::mistakes;

    #[test]
    fn complaint_says_what_to_write() {
        for (value, expected) in [
            ("-1", "from 0 to 31536000, not -1"),
            ("'80'", "not a string: write 80 without quotes"),
            ("'010'", "not a string: write 10, without zeros before it"),
            (
                "010",
                "not a float: write 10, without a decimal point, an exponent or a zero before it",
            ),
            (
                "80.0",
                "not a float: write 80, without a decimal point, an exponent or a zero before it",
            ),
            (
                "1e3",
                "not a float: write 1000, without a decimal point, an exponent or a zero before it",
            ),
            ("1.5", "not a fraction: write a whole number"),
            ("1e30", "not so large a number"),
            ("5m", "not a string: write 300"),
            ("'1 h'", "not a string: write 3600"),
            ("1500ms", "not a string: write the number alone"),
            ("64MiB", "not a string: write the number alone"),
            ("hunter2", "not a string"),
            ("true", "not a boolean"),
            ("[1]", "not a list"),
            ("{seconds: 1}", "not a map"),
        ] {
            let found = mistakes(&format!(
                "dashboard: {{drain: {{max_age_seconds: {value}}}}}"
            ));
            assert_eq!(found.len(), 1, "{value}: {found:?}");
            assert!(found[0].ends_with(expected), "{value}: {found:?}");
        }
    }
}
