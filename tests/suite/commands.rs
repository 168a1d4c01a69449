//! The commands that a person types.

use portcullis_tests::{DRAIN_SECRET, Home, Process, SOON, eventually, get, guest};
use std::collections::BTreeSet;
use std::fs;

#[test]
fn bad_usage_and_bad_configuration_exit_64() {
    let home = Home::new();
    for arguments in [
        &["dance"][..],
        &[],
        &["serve", "--port", "x"],
        &["drain"],
        &["drain", "begin", "--ttl", "0"],
    ] {
        assert_eq!(
            Process::run(&home, arguments, &[]).code,
            Some(64),
            "{arguments:?}"
        );
    }
    let home = Home::with_config("dashboard:\n  prot: 1\n");
    for arguments in [
        &["serve"][..],
        &["gateway"],
        &["config", "check"],
        &["provider", "list"],
        &["drain", "status"],
    ] {
        let finished = Process::run(&home, arguments, &[]);
        assert_eq!(finished.code, Some(64), "{arguments:?}");
        let expected =
            "portcullis.yaml:2:3: unknown key `prot` in `dashboard`; did you mean `port`?";
        assert!(finished.stderr.contains(expected), "{}", finished.stderr);
    }
    let home = Home::new();
    let finished = Process::run(&home, &["serve", "--config", "/no/such/file"], &[]);
    assert_eq!(finished.code, Some(64), "{}", finished.stderr);
    assert_eq!(Process::run(&home, &["--help"], &[]).code, Some(0));
    assert_eq!(Process::run(&home, &["--version"], &[]).code, Some(0));
}

#[test]
fn public_address_without_a_sign_in_exits_64_also_where_it_cannot_be_bound() {
    let config = |guest_name: &str| {
        let component = guest(guest_name).display().to_string();
        format!("dashboard: {{providers: [{{name: a, component: {component}}}]}}")
    };
    let serve = |home: &Home, host: &str| {
        Process::run(home, &["serve", "--host", host, "--port", "0"], &[])
    };

    for host in ["192.0.2.1", "169.254.1.1", "no-such.test"] {
        let home = Home::new();
        let refused = serve(&home, host);
        assert_eq!(refused.code, Some(64), "{host}: {}", refused.stderr);
        let expected = "Add a password or redirect provider to dashboard.providers";
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
        assert!(!home.file("session_key").exists(), "nothing is made");
    }

    // What the component can do is known once it is loaded.
    let refused = serve(&Home::with_config(&config("known")), "192.0.2.1");
    assert_eq!(refused.code, Some(64), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("no provider can sign anyone in"),
        "{}",
        refused.stderr
    );
    let refused = serve(&Home::with_config(&config("people")), "192.0.2.1");
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("cannot listen on 192.0.2.1:0"),
        "{}",
        refused.stderr
    );
}

#[test]
fn generated_secrets_pass_the_gate() {
    let home = Home::new();
    let secrets: Vec<_> = (0..3)
        .map(|_| {
            Process::run(&home, &["secret", "generate"], &[])
                .stdout
                .trim()
                .to_owned()
        })
        .collect();
    assert!(secrets[0] != secrets[1] && secrets[1] != secrets[2]);
    for secret in secrets {
        let check = Process::run(
            &home,
            &["config", "check"],
            &[("HERMES_DASHBOARD_DRAIN_SECRET", &secret)],
        );
        assert!(
            check.stdout.contains("drain-secret: registered"),
            "{}",
            check.stdout
        );
    }
    let check = Process::run(&home, &["config", "check"], &[]);
    assert!(
        check
            .stdout
            .contains("drain-secret: skipped: HERMES_DASHBOARD_DRAIN_SECRET is not set"),
        "{}",
        check.stdout
    );
}

#[test]
fn generated_secret_is_as_long_as_the_home_wants_it() {
    let long = "dashboard: {drain_auth: {min_secret_chars: 90}}";
    let long_with_a_mistake = "dashboard: {prot: 1, drain_auth: {min_secret_chars: 90}}";
    for (yaml, chars) in [
        ("", 64),
        ("dashboard: {drain_auth: {min_secret_chars: 50}}", 64),
        (long, 90),
        (long_with_a_mistake, 90),
        ("dashboard: [\n", 64),
    ] {
        let home = Home::with_config(yaml);
        let made = Process::run(&home, &["secret", "generate"], &[]);
        assert_eq!(made.code, Some(0), "{yaml}: {}", made.stderr);
        assert_eq!(made.stdout.trim().len(), chars, "{yaml}");
    }

    let home = Home::with_config(long);
    let made = Process::run(&home, &["secret", "generate"], &[]);
    home.write("drain-secret", &made.stdout);
    let check = Process::run(&home, &["config", "check"], &[]);
    assert!(
        check.stdout.contains("drain-secret: registered"),
        "{}",
        check.stdout
    );
}

#[test]
fn inspect_shows_what_a_component_is() {
    let home = Home::new();
    let known = guest("known").display().to_string();
    let shown = Process::run(&home, &["provider", "inspect", &known], &[]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(
        shown
            .stdout
            .contains("export  portcullis:auth/provider@0.2.0"),
        "{}",
        shown.stdout
    );
    assert!(shown.stdout.contains("import  wasi:"), "{}", shown.stdout);
    let core = "core    3 instances  (2 once linked: `portcullis provider link`)\n";
    assert!(shown.stdout.contains(core), "{}", shown.stdout);
    let builtin = Process::run(
        &home,
        &["provider", "inspect", "--json", "builtin:service-keys"],
        &[],
    );
    let builtin: serde_json::Value = serde_json::from_str(&builtin.stdout).expect("JSON");
    let imports = builtin["imports"].to_string();
    assert!(
        imports.contains("wasi:config/store") && !imports.contains("wasi:filesystem"),
        "{imports}"
    );
    let broken = Process::run(&home, &["provider", "inspect", "/etc/hostname"], &[]);
    assert_eq!(broken.code, Some(1));
    assert!(
        broken
            .stderr
            .contains("/etc/hostname: it is not WebAssembly"),
        "{}",
        broken.stderr
    );
}

#[test]
fn call_asks_one_provider() {
    let home = Home::with_guests(&["known", "traps"]);
    let call = |name: &str, token: &str| {
        Process::run(&home, &["provider", "call", name, "--token", token], &[])
    };
    let good = call("known-0", "good-token");
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    assert!(
        good.stdout
            .contains(r#""verdict":"recognized","principal":"good-bot""#),
        "{}",
        good.stdout
    );
    assert!(call("known-0", "x").stdout.contains("not recognized"));
    let trapped = call("traps-1", "x");
    assert_eq!(trapped.code, Some(1));
    assert!(
        trapped.stdout.contains(r#""fault":"trapped""#),
        "{}",
        trapped.stdout
    );
    assert_eq!(call("nobody", "x").code, Some(64));
}

#[test]
fn drain_commands_do_what_the_platform_does() {
    let gate = crate::turns::Gate::new();
    let home = Home::with_config(&gate.config());
    let (dashboard, gateway) = (home.dashboard(), home.gateway());
    let url = dashboard.url("");
    let secret = [("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET)];
    let drain = |arguments: &[&str]| {
        let arguments: Vec<_> = ["drain"]
            .iter()
            .chain(arguments)
            .copied()
            .chain(["--url", &url])
            .collect();
        Process::run(&home, &arguments, &secret)
    };
    let in_flight = crate::turns::start_turn_in_background(&gateway, "s");
    eventually("the turn is counted", SOON, || {
        (get(&dashboard.url("/api/status"), &[]).json()["active_agents"] == 1).then_some(())
    });
    let begun = drain(&["begin", "--ttl", "600"]);
    assert_eq!(begun.code, Some(0), "{}", begun.stderr);
    assert!(
        begun.stdout.contains(r#""draining":true"#),
        "{}",
        begun.stdout
    );
    assert!(drain(&["status"]).stdout.contains("gateway_state"));

    let gave_up = drain(&["wait", "--timeout", "1", "--cancel-on-timeout"]);
    assert_eq!(gave_up.code, Some(2), "{}", gave_up.stderr);
    assert!(
        gave_up.stderr.contains("1 turn in flight"),
        "{}",
        gave_up.stderr
    );
    assert!(
        gave_up.stderr.contains("the drain is cancelled"),
        "{}",
        gave_up.stderr
    );
    assert!(!home.file(".drain_request.json").exists());

    assert_eq!(drain(&["begin"]).code, Some(0));
    gate.open();
    assert_eq!(in_flight.join().expect("an answer").status, 200);
    let waited = drain(&["wait", "--timeout", "30"]);
    assert_eq!(waited.code, Some(0), "{}", waited.stderr);
    assert!(
        waited.stdout.starts_with("drained after"),
        "{}",
        waited.stdout
    );
    assert!(drain(&["cancel"]).stdout.contains(r#""was_draining":true"#));
    eventually("running again", SOON, || {
        drain(&["status"])
            .stdout
            .contains(r#""running""#)
            .then_some(())
    });

    let no_drain = drain(&["wait", "--timeout", "30"]);
    assert_eq!(no_drain.code, Some(5));
    assert!(
        no_drain.stderr.contains("no drain is on"),
        "{}",
        no_drain.stderr
    );
}

#[test]
fn drain_commands_say_what_is_wrong() {
    let home = Home::new();
    let dashboard = home.dashboard();
    let url = dashboard.url("");
    let without = Process::run(&home, &["drain", "begin", "--url", &url], &[]);
    assert_eq!(without.code, Some(64));
    assert!(
        without.stderr.contains("no drain secret"),
        "{}",
        without.stderr
    );
    let wrong = [("HERMES_DASHBOARD_DRAIN_SECRET", "wrong")];
    let refused = Process::run(&home, &["drain", "begin", "--url", &url], &wrong);
    assert_eq!(refused.code, Some(3));
    assert!(
        refused.stderr.contains("does not accept the drain secret"),
        "{}",
        refused.stderr
    );
    let nobody = Process::run(
        &home,
        &["drain", "status", "--url", "http://127.0.0.1:1"],
        &[],
    );
    assert_eq!(nobody.code, Some(4));
    assert!(
        nobody.stderr.contains("cannot reach http://127.0.0.1:1"),
        "{}",
        nobody.stderr
    );
}

#[test]
fn commands_that_only_look_leave_the_home_as_it_is() {
    let home = Home::with_guests(&["known"]);
    fs::remove_file(home.file("cache")).expect("the link to the shared cache");
    let content = || {
        let entries = fs::read_dir(home.path()).expect("the home");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names
            .filter(|name| !name.to_string_lossy().starts_with("stderr."))
            .collect::<BTreeSet<_>>()
    };
    let before = content();
    for arguments in [["config", "check"], ["provider", "list"]] {
        let finished = Process::run(&home, &arguments, &[]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(content(), before, "{arguments:?}");
    }
}
