//! `cache_ttl_ms`: a provider's "yes" is believed for a while, if the operator says so.

use portcullis_tests::{Home, Process, SOON, eventually, get, guest};

const GOOD: &[(&str, &str)] = &[("authorization", "Bearer good-token")];

fn home(more: &str) -> Home {
    let component = guest("brittle").display().to_string();
    Home::with_config(&format!(
        "dashboard:\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n  providers:\n    - {{name: brittle, component: {component}, grants: {{scopes: [metrics.read]}}{more}}}\n"
    ))
}

fn whoami(dashboard: &Process, token: &str) -> u16 {
    get(
        &dashboard.url("/api/auth/whoami"),
        &[("authorization", &format!("Bearer {token}"))],
    )
    .status
}

/// One figure of `/metrics`, asked for with the good token, which is a call or a hit as well.
fn figure(dashboard: &Process, name: &str) -> u64 {
    let text = get(&dashboard.url("/metrics"), GOOD).body;
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("portcullis_{name}{{provider=\"brittle\"}}")));
    let figure = line
        .and_then(|line| line.rsplit(' ').next())
        .expect("a figure of the provider");
    figure.parse().expect("a number")
}

fn calls(dashboard: &Process) -> u64 {
    figure(dashboard, "provider_call_seconds_count")
}

#[test]
fn by_default_every_request_is_a_call() {
    let home = home("");
    let dashboard = home.dashboard();
    let before = calls(&dashboard);
    (0..3).for_each(|_| assert_eq!(whoami(&dashboard, "good-token"), 200));
    assert_eq!(
        calls(&dashboard) - before,
        4,
        "three, and the one for the figures"
    );
}

#[test]
fn yes_is_remembered_until_a_reload_and_a_no_never() {
    let home = home(", cache_ttl_ms: 300000");
    let dashboard = home.dashboard();
    let (before, hits) = (
        calls(&dashboard),
        figure(&dashboard, "provider_cache_hits_total"),
    );
    (0..3).for_each(|_| assert_eq!(whoami(&dashboard, "good-token"), 200));
    assert_eq!(calls(&dashboard), before);
    assert!(figure(&dashboard, "provider_cache_hits_total") >= hits + 3);
    (0..3).for_each(|_| assert_eq!(whoami(&dashboard, "unknown-token"), 401));
    assert_eq!(calls(&dashboard), before + 3, "a no is never remembered");
    dashboard.signal(rustix::process::Signal::HUP);
    eventually("the provider is asked anew", SOON, || {
        (calls(&dashboard) > before + 3).then_some(())
    });
}

#[test]
fn quarantine_shuts_out_whom_the_cache_knows() {
    let home = home(", cache_ttl_ms: 300000");
    let dashboard = home.dashboard();
    assert_eq!(whoami(&dashboard, "good-token"), 200);
    (0..5).for_each(|_| assert_eq!(whoami(&dashboard, "trap-token"), 401));
    assert_eq!(whoami(&dashboard, "good-token"), 503);
}

#[test]
fn yes_that_is_too_old_is_asked_for_anew() {
    let home = home(", cache_ttl_ms: 100");
    let dashboard = home.dashboard();
    let before = calls(&dashboard);
    eventually("it is asked anew", SOON, || {
        (calls(&dashboard) > before + 1).then_some(())
    });
}
