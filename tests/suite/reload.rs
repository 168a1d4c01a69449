//! Another set of providers, without a restart.

use portcullis_tests::{Home, Process, SOON, eventually, get, guest};
use rustix::process::Signal;
use std::fs;

const GOOD: &[(&str, &str)] = &[("authorization", "Bearer good-token")];

fn config(providers: &[(&str, &str)]) -> String {
    let entry = |(name, component): &(&str, &str)| {
        format!(
            "    - {{name: {name}, component: {component}, grants: {{scopes: [metrics.read]}}}}\n"
        )
    };
    let providers: String = providers.iter().map(entry).collect();
    format!("dashboard:\n  providers:\n{providers}")
}

fn known() -> String {
    guest("known").display().to_string()
}

fn vouches(dashboard: &Process) -> String {
    let who = get(&dashboard.url("/api/auth/whoami"), GOOD);
    who.json()["provider"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Waits until the log says so.
fn logged(dashboard: &Process, text: &str) {
    eventually(text, SOON, || dashboard.log().contains(text).then_some(()));
}

#[test]
fn changed_configuration_is_taken_over() {
    let home = Home::with_config(&config(&[("first", &known())]));
    let dashboard = home.dashboard();
    assert_eq!(vouches(&dashboard), "first");
    home.write("portcullis.yaml", &config(&[("second", &known())]));
    eventually("the second vouches", SOON, || {
        (vouches(&dashboard) == "second").then_some(())
    });
    // The log is written a moment after the event.
    eventually("both are audited, in this order", SOON, || {
        let lines = home
            .audit()
            .into_iter()
            .filter(|line| line["event"] == "provider_loaded");
        let loaded: Vec<_> = lines.map(|line| line["provider"].clone()).collect();
        (loaded == ["first", "second"]).then_some(())
    });
}

#[test]
fn changed_component_and_changed_secret_are_taken_over() {
    let home = Home::new();
    let component = home.file("provider.wasm");
    fs::copy(guest("minimal"), &component).expect("a file in the home");
    home.write("token", "first-token");
    home.write(
        "portcullis.yaml",
        "dashboard:\n  providers:\n    - {name: p, component: provider.wasm, config: {token: {file: token}}}\n",
    );
    let dashboard = home.dashboard();
    let who = |token: &str| {
        get(
            &dashboard.url("/api/auth/whoami"),
            &[("authorization", &format!("Bearer {token}"))],
        )
        .json()["principal"]
            .clone()
    };
    assert_eq!(who("first-token"), "demo");
    home.write("token", "second-token");
    eventually("the new secret holds", SOON, || {
        (who("second-token") == "demo").then_some(())
    });
    assert!(who("first-token").is_null());
    // Renamed into its place, as deployments do.
    fs::copy(guest("known"), home.file("next.wasm")).expect("a file in the home");
    fs::rename(home.file("next.wasm"), &component).expect("a rename in the home");
    eventually("the new component answers", SOON, || {
        (who("good-token") == "good-bot").then_some(())
    });
}

#[test]
fn any_mistake_keeps_what_serves_and_says_why() {
    let home = Home::with_config(&config(&[("first", &known())]));
    let dashboard = home.dashboard();
    for (text, why) in [
        ("dashboard: [".to_owned(), "is not closed"),
        (config(&[("Upper", &known())]), "is no provider name"),
        (config(&[("gone", "nowhere.wasm")]), "No such file"),
        (
            config(&[
                ("first", &known()),
                ("trips", &guest("trips").display().to_string()),
            ]),
            "asked what it supports",
        ),
        (
            config(&[("pretends", &guest("pretends").display().to_string())]),
            "the host had just made up",
        ),
        (
            config(&[("traps", &guest("traps").display().to_string())]),
            "asked about an unknown token: trapped",
        ),
        (
            config(&[("loops", &guest("loops").display().to_string())]),
            "asked about an unknown token: deadline",
        ),
        (
            format!(
                "{}  drain_auth: {{scope: stop}}\n",
                config(&[("first", &known())])
            ),
            "restart the dashboard",
        ),
    ] {
        home.write("portcullis.yaml", &text);
        logged(&dashboard, why);
        assert_eq!(vouches(&dashboard), "first", "{why}");
    }
    eventually("each is audited", SOON, || {
        let refused = home
            .audit()
            .into_iter()
            .filter(|line| line["event"] == "provider_refused")
            .count();
        (refused >= 7).then_some(())
    });
    home.write("portcullis.yaml", &config(&[("mended", &known())]));
    eventually("the mended one serves", SOON, || {
        (vouches(&dashboard) == "mended").then_some(())
    });
}

#[test]
fn hangup_reloads_and_ends_nothing() {
    let home = Home::with_config(&config(&[("first", &known())]));
    let dashboard = home.dashboard();
    dashboard.signal(Signal::HUP);
    logged(&dashboard, "providers reloaded");
    assert_eq!(vouches(&dashboard), "first");
}

#[test]
fn provider_that_stays_the_same_stays_in_quarantine() {
    let brittle = guest("brittle").display().to_string();
    let home = Home::with_config(&config(&[("brittle", &brittle)]));
    let dashboard = home.dashboard();
    for _ in 0..5 {
        get(
            &dashboard.url("/api/auth/whoami"),
            &[("authorization", "Bearer trap-token")],
        );
    }
    let quarantined =
        || get(&dashboard.url("/readyz"), &[]).json()["providers"]["quarantined"].clone();
    assert_eq!(quarantined(), 1);
    home.write(
        "portcullis.yaml",
        &config(&[("brittle", &brittle), ("known", &known())]),
    );
    eventually("the other serves", SOON, || {
        (vouches(&dashboard) == "known").then_some(())
    });
    assert_eq!(quarantined(), 1);
}

#[test]
fn no_request_is_lost_while_providers_are_swapped() {
    let home = Home::with_config(&config(&[("first", &known())]));
    let dashboard = home.dashboard();
    let url = dashboard.url("/api/auth/whoami");
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || (0..200).map(|_| get(&url, GOOD).status).collect::<Vec<_>>())
        })
        .collect();
    let mut reloads = 0;
    while calls.iter().any(|call| !call.is_finished()) {
        dashboard.signal(Signal::HUP);
        reloads += 1;
        let seen = format!("reload {reloads}");
        let done = || dashboard.log().matches("providers reloaded").count() >= reloads;
        eventually(&seen, SOON, || done().then_some(()));
    }
    let statuses: Vec<_> = calls
        .into_iter()
        .flat_map(|call| call.join().expect("answers"))
        .collect();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert!(reloads > 1, "{reloads} reloads");
}

#[test]
fn secret_that_was_missing_is_taken_when_it_appears() {
    let home = Home::with_config(&config(&[("first", &known())]));
    let dashboard = home.dashboard();
    let entry = format!(
        "    - {{name: p, component: {}, config: {{token: {{file: token}}}}}}\n",
        guest("minimal").display()
    );
    home.write(
        "portcullis.yaml",
        &format!("{}{entry}", config(&[("first", &known())])),
    );
    logged(&dashboard, "cannot read");
    home.write("token", "late-token");
    let who = || {
        get(
            &dashboard.url("/api/auth/whoami"),
            &[("authorization", "Bearer late-token")],
        )
        .status
    };
    eventually("the late secret holds", SOON, || {
        (who() == 200).then_some(())
    });
}

#[test]
fn emptied_configuration_is_refused_and_an_explicit_empty_map_is_not() {
    let good = config(&[("first", &known())]);
    let home = Home::with_config(&good);
    let dashboard = home.dashboard();
    let refusals = || {
        let log = dashboard.log();
        log.matches("has no setting in it any more").count()
    };
    for blank in [
        "",
        "\n",
        "# every setting was removed\n",
        "---\n",
        "dashboard:\n",
        "dashboard:\n  providers:\n",
    ] {
        let before = refusals();
        home.write("portcullis.yaml", blank);
        eventually("the reload is refused", SOON, || {
            (refusals() > before).then_some(())
        });
        assert_eq!(vouches(&dashboard), "first", "{blank:?}");
        home.write("portcullis.yaml", &good);
    }
    logged(&dashboard, "reload refused");

    home.write("portcullis.yaml", "{}\n");
    eventually("the provider is gone", SOON, || {
        vouches(&dashboard).is_empty().then_some(())
    });
}

#[test]
fn empty_configuration_at_the_start_is_the_defaults() {
    for blank in ["", "# nothing yet\n"] {
        let home = Home::with_config(blank);
        let dashboard = home.dashboard();
        assert_eq!(get(&dashboard.url("/healthz"), &[]).status, 200);
        home.write("portcullis.yaml", "# still nothing\n");
        home.write("portcullis.yaml", &config(&[("first", &known())]));
        eventually("the first vouches", SOON, || {
            (vouches(&dashboard) == "first").then_some(())
        });
    }
}
