//! Metrics that are read where they are known, at the moment of the request for them. A series of a
//! provider that is no longer configured is gone with it.

use super::Labels;
use crate::web::live::Serving;
use crate::web::status::ObservedGateway;
use portcullis_auth::{ProviderState, Registered, Spent};
use portcullis_home::GatewayState;
use portcullis_observe::exposition::AlwaysListed;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

type FloatGauge = Gauge<f64, AtomicU64>;
type FloatCounter = Counter<f64, AtomicU64>;

/// The states of a provider.
const PROVIDER_STATES: [&str; 4] = ["serving", "quarantined", "loading", "refused"];

/// Registers what is known of the providers and of the sessions. `now` is in seconds since the Unix
/// epoch.
pub(super) fn register_serving(registry: &mut Registry, serving: &Serving, now: u64) {
    let states = Family::<Labels<2>, Gauge>::default();
    let refused = Family::<Labels<1>, Gauge>::default();
    let cpu = Family::<Labels<1>, FloatCounter>::default();
    let held_up = Family::<Labels<1>, FloatCounter>::default();
    let placed = Family::<Labels<2>, Counter>::default();
    let set_state = |provider: &str, present: &str| {
        for state in PROVIDER_STATES {
            let labels = [
                ("provider", provider.to_owned()),
                ("state", state.to_owned()),
            ];
            states.get_or_create(&labels).set((state == present).into());
        }
    };
    for provider in serving.gate.registry().iter() {
        set_state(provider.name.as_str(), state_of(provider));
        if let Some(health) = &provider.health {
            let report = health.report();
            let Spent {
                cpu: ran,
                held_up: waited,
            } = report.spent;
            let labels = [("provider", provider.name.to_string())];
            cpu.get_or_create(&labels).inc_by(ran.as_secs_f64());
            held_up.get_or_create(&labels).inc_by(waited.as_secs_f64());
            for (place, calls) in report.placements.by_place() {
                let labels = [
                    ("provider", provider.name.to_string()),
                    ("place", place.to_owned()),
                ];
                placed.get_or_create(&labels).inc_by(calls);
            }
        }
    }
    for provider in &serving.refused {
        set_state(provider.name.as_str(), "refused");
        refused
            .get_or_create(&[("reason", provider.reason.to_owned())])
            .inc();
    }
    let listed: Gauge = Gauge::default();
    listed.set(i64::try_from(serving.gate.people().known.count(now)).unwrap_or(i64::MAX));

    registry.register(
        "provider_state",
        "1 for the present state of a provider, 0 for the others",
        AlwaysListed(states),
    );
    registry.register(
        "providers_refused",
        "Configured providers that were not loaded, by reason",
        AlwaysListed(refused),
    );
    registry.register(
        "provider_cpu_seconds",
        "Processor time of the calls of a provider; a quick call counts by the wall clock",
        AlwaysListed(cpu),
    );
    registry.register(
        "provider_held_up_seconds",
        "Time in which calls of a provider were ready to run while others had the processor",
        AlwaysListed(held_up),
    );
    registry.register(
        "provider_calls_placed",
        "Calls of a provider by the threads that they ran on",
        AlwaysListed(placed),
    );
    registry.register(
        "sessions_listed",
        "Sessions of people that are listed",
        listed,
    );
}

fn state_of(provider: &Registered) -> &'static str {
    match &provider.health {
        Some(health) => match health.report().state {
            ProviderState::Serving => "serving",
            ProviderState::Quarantined => "quarantined",
        },
        // A component has a health as soon as it is loaded. What is no component cannot fail.
        None if provider.component.is_some() => "loading",
        None => "serving",
    }
}

/// Registers what the status file and the marker say of the gateway. A number that is not known is
/// NaN.
pub(super) fn register_gateway(registry: &mut Registry, observed: &ObservedGateway) {
    let present = observed.state_word();
    let states = Family::<Labels<1>, Gauge>::default();
    let known = GatewayState::ALL
        .map(GatewayState::as_str)
        .into_iter()
        .chain(["unknown"]);
    for state in known {
        states.get_or_create(&[("state", state.to_owned())]).set(0);
    }
    // Another gateway may have a word of its own.
    states.get_or_create(&[("state", present)]).set(1);
    let refused = Family::<Labels<1>, Counter>::default();
    for (reason, count) in &observed.reading.turns_refused {
        refused
            .get_or_create(&[("reason", reason.clone())])
            .inc_by(*count);
    }
    let holders = i64::try_from(observed.holders()).unwrap_or(i64::MAX);

    registry.register(
        "gateway_state",
        "1 for the present state of the gateway, 0 for the others",
        states,
    );
    registry.register(
        "turns_in_flight",
        "Turns in flight",
        float(observed.turns_in_flight().unwrap_or(f64::NAN)),
    );
    registry.register(
        "oldest_turn_seconds",
        "Age of the oldest turn in flight, 0 without one",
        float(observed.oldest_turn().unwrap_or(f64::NAN)),
    );
    registry.register(
        "drain_active",
        "1 while a drain is on, 0 otherwise",
        integer(observed.verdict.is_draining().into()),
    );
    registry.register("drain_holders", "Owners of the drain", integer(holders));
    registry.register(
        "turns_refused",
        "Refused turns by reason",
        AlwaysListed(refused),
    );
}

fn float(number: f64) -> FloatGauge {
    let gauge = FloatGauge::default();
    gauge.set(number);
    gauge
}

fn integer(number: i64) -> Gauge {
    let gauge: Gauge = Gauge::default();
    gauge.set(number);
    gauge
}
