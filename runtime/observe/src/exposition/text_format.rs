use crate::accept::accept_quality;
use http::HeaderMap;
use std::borrow::Cow;
use std::collections::HashSet;

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// OpenMetrics 1.0.0, for clients that ask for it.
    OpenMetrics,
    /// Prometheus text 0.0.4, which every reader of metrics understands.
    Prometheus,
}

const OPEN_METRICS: &str = "application/openmetrics-text";

impl TextFormat {
    /// Returns the format that `Accept` asks for (RFC 9110, section 12.5.1): OpenMetrics where it
    /// is named, its quality is not zero, and `text/plain` has no higher one.
    pub fn accepted(headers: &HeaderMap) -> Self {
        let open_metrics = accept_quality(headers, OPEN_METRICS);
        if open_metrics > 0.0 && open_metrics >= accept_quality(headers, "text/plain") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// Returns the value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Converts what the crate writes, which is OpenMetrics. In the older format the lines HELP and
    /// TYPE name a counter with its suffix, and there is no end marker.
    pub(super) fn of_open_metrics(self, text: String) -> String {
        if self == Self::OpenMetrics {
            return text;
        }
        let counters: HashSet<&str> = text.lines().filter_map(counter_of_type_line).collect();
        let lines = text.lines().filter(|line| *line != "# EOF");
        let mut converted = String::with_capacity(text.len() + 1024);
        for line in lines {
            converted.push_str(&older(line, &counters));
            converted.push('\n');
        }
        converted
    }
}

fn counter_of_type_line(line: &str) -> Option<&str> {
    line.strip_prefix("# TYPE ")?.strip_suffix(" counter")
}

fn older<'a>(line: &'a str, counters: &HashSet<&str>) -> Cow<'a, str> {
    for start in ["# HELP ", "# TYPE "] {
        if let Some((name, rest)) = line
            .strip_prefix(start)
            .and_then(|line| line.split_once(' '))
            && counters.contains(name)
        {
            return Cow::Owned(format!("{start}{name}_total {rest}"));
        }
    }
    Cow::Borrowed(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::ACCEPT;

    #[test]
    fn open_metrics_is_sent_where_it_is_asked_for() {
        let of = |accept: &[&'static str]| {
            let values = accept.iter().map(|value| HeaderValue::from_static(value));
            let headers: HeaderMap = values.map(|value| (ACCEPT, value)).collect();
            TextFormat::accepted(&headers)
        };
        for accept in [
            &["application/openmetrics-text"][..],
            &[
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            ],
            &["text/plain;q=0.2", "Application/OpenMetrics-Text; q=0.9"],
        ] {
            assert_eq!(of(accept), TextFormat::OpenMetrics, "{accept:?}");
        }
        for accept in [
            &[][..],
            &["*/*"],
            &["text/plain"],
            &["text/html, application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=0.1, text/plain"],
            &["application/openmetrics-texts"],
            &["application/openmetrics-text;q=x"],
        ] {
            assert_eq!(of(accept), TextFormat::Prometheus, "{accept:?}");
        }
    }

    #[test]
    fn counters_have_their_suffix_in_every_line_of_the_older_format() {
        let text = "# HELP a Things.\n# TYPE a counter\na_total 1\n# HELP a_b About a thing.\n# TYPE a_b gauge\na_b 2\n# EOF\n";
        let expected = "# HELP a_total Things.\n# TYPE a_total counter\na_total 1\n# HELP a_b About a thing.\n# TYPE a_b gauge\na_b 2\n";
        assert_eq!(
            TextFormat::Prometheus.of_open_metrics(text.to_owned()),
            expected
        );
        assert_eq!(
            TextFormat::OpenMetrics.of_open_metrics(text.to_owned()),
            text
        );
    }
}
