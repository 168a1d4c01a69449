//! The providers: which there are, how they fare, and why one does not serve.

use super::chart::chart;
use super::moment::{As, moment};
use super::state::state;
use super::{cut, list, text};
use maud::{Markup, html};
use serde_json::Value;

pub(in crate::web) fn providers(providers: &Value, now: u64) -> Markup {
    let providers = list(providers);
    html! {
        section.panel aria-labelledby="providers-title" {
            div.apart { h2 #providers-title { "Providers" } p.muted.small { "asked in this order" } }
            ul.providers #providers { @for provider in providers { (row(provider, now)) } }
            p.muted #providers-none hidden[!providers.is_empty()] { "None." }
            template #provider-row { (row(&Value::Null, now)) }
        }
    }
}

fn row(provider: &Value, now: u64) -> Markup {
    let latency = &provider["health"]["latency"];
    let spent = &provider["health"]["spent"];
    let fault = Fault::of(provider);

    html! {
        li {
            div { h3 data-is="name" { (text(&provider["display_name"])) } p.muted.small data-is="kinds" { (kinds(provider)) } }
            div { (state(provider["state"].as_str().unwrap_or("unknown"), None, false)) }
            div.calls {
                div.latency data-is="latency" hidden[latency.is_null()] {
                    (chart(&latency["recent_seconds"]))
                    p.small {
                        span { "median " span data-is="median" { (milliseconds(&latency["median_seconds"])) } } ", "
                        span { "p99 " span data-is="p99" { (milliseconds(&latency["p99_seconds"])) } }
                        br;
                        span.muted { "CPU " span data-is="cpu" { (seconds(&spent["cpu_seconds"])) } } ", "
                        span.muted { "held up " span data-is="held" { (seconds(&spent["held_up_seconds"])) } }
                    }
                }
                p.muted.small data-is="idle" hidden[!latency.is_null()] { "no calls measured" }
            }
            div.fault {
                p data-is="fault" class=[fault.is_none().then_some("muted")] { (fault.says()) }
                p.muted.small data-is="when" hidden[fault.at.is_null()] { (moment("at", fault.at, now, As::Ago)) }
            }
        }
    }
}

/// What last went wrong with a provider.
struct Fault<'a> {
    reason: Option<&'a str>,
    at: &'a Value,
}

impl<'a> Fault<'a> {
    fn of(provider: &'a Value) -> Self {
        let refused = provider["refused"]["detail"].as_str();
        let last = &provider["health"]["faults"][0];
        Self {
            reason: refused.or_else(|| last["reason"].as_str()),
            at: &last["at"],
        }
    }

    fn is_none(&self) -> bool {
        self.reason.is_none()
    }

    fn says(&self) -> &'a str {
        self.reason.map_or("no faults", cut)
    }
}

/// What a provider is asked for, and its name in the configuration.
fn kinds(provider: &Value) -> String {
    let kinds = [("signs_people_in", "sign-in"), ("takes_tokens", "tokens")];
    let kinds = kinds
        .into_iter()
        .filter(|(key, _)| provider[*key] == true)
        .map(|(_, kind)| kind.to_owned());
    kinds
        .chain([text(&provider["name"])])
        .collect::<Vec<_>>()
        .join(" · ")
}

fn seconds(seconds: &Value) -> String {
    seconds
        .as_f64()
        .map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"))
}

fn milliseconds(seconds: &Value) -> String {
    seconds.as_f64().map_or_else(
        || "-".to_owned(),
        |seconds| format!("{:.2} ms", seconds * 1e3),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refused_provider_is_listed_with_its_reason() {
        let refused = json!({"name": "ldap", "display_name": "Directory", "state": "refused",
            "refused": {"reason": "not_granted", "detail": "it imports <wasi:keyvalue/store>"}});
        let shown = row(&refused, 0).into_string();
        assert!(
            shown.contains("it imports &lt;wasi:keyvalue/store&gt;"),
            "{shown}"
        );
        assert!(
            shown.contains("#shape-cross") && shown.contains("Directory") && shown.contains("ldap"),
            "{shown}"
        );
    }

    #[test]
    fn last_fault_is_shown_in_words_and_cut() {
        let faulty = json!({"name": "a", "display_name": "A", "state": "quarantined", "takes_tokens": true,
            "health": {"faults": [{"at": "1970-01-01T00:00:00Z", "reason": "x".repeat(5_000)}, {"reason": "older"}]}});
        let shown = row(&faulty, 60).into_string();
        assert!(
            shown.contains("1 min ago") && shown.contains("tokens · a") && !shown.contains("older"),
            "{shown}"
        );
        assert!(shown.len() < 3_000);
        assert!(
            row(&json!({"name": "a"}), 0)
                .into_string()
                .contains("no faults")
        );
    }
}
