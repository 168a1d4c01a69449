//! What operators get wrong in the configuration: each mistake gets one sentence, with the line of
//! the key itself.

use portcullis_tests::{Home, PROCESS_TOKEN, Process, get, guest};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// What `config check` says of a configuration that it refuses.
fn complaint(yaml: &str) -> String {
    let checked = Process::run(
        &Home::with_config(yaml),
        &["config", "check"],
        &[("WEAK", "hunter2hunter2")],
    );
    assert_eq!(
        checked.code,
        Some(64),
        "{yaml}\n{}{}",
        checked.stdout,
        checked.stderr
    );
    checked.stderr
}

#[test]
fn mistakes_are_named_with_their_line_and_the_right_form() {
    for (yaml, expected) in [
        (
            "dashboard:\n  session_key: ${SESSION_KEY}\n",
            "portcullis.yaml:2:16: `dashboard.session_key`: it looks like an unexpanded variable or a placeholder, not \
             like a secret: write {env: SESSION_KEY}",
        ),
        (
            "dashboard:\n  public_url: ${PUBLIC_URL}\n",
            "portcullis.yaml:2:15: `dashboard.public_url`: ${PUBLIC_URL} looks like an unexpanded variable: write {env: \
             PUBLIC_URL}",
        ),
        (
            "dashboard:\n  allowed_hosts: ['${HOST}']\n",
            "portcullis.yaml:2:19: `dashboard.allowed_hosts[0]`: ${HOST} looks like an unexpanded variable: write",
        ),
        (
            "dashboard:\n  token_routes:\n    - path: /metrics\n      scope: ${SCOPE}\n",
            "portcullis.yaml:4:14: `dashboard.token_routes[0].scope`: ${SCOPE} looks like an unexpanded variable",
        ),
        (
            "dashboard:\n  session_key: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
            "portcullis.yaml:2:16: `dashboard.session_key`: it has too few distinct characters (1 of 10): make one",
        ),
        (
            "dashboard:\n  session_key: {env: WEAK}\n",
            "portcullis.yaml:2:16: `dashboard.session_key`: the environment variable WEAK: it is too short (14 of",
        ),
        (
            "dashboard:\n  drain_auth:\n    secret: {file: drain}\n",
            "portcullis.yaml:3:13: `dashboard.drain_auth.secret`: cannot read ",
        ),
        (
            "dashboard:\n  providers:\n    - name: local\n      component: builtin:basic\n      config:\n        secret: \
             {evn: BASIC_SECRET}\n",
            "portcullis.yaml:6:18: `dashboard.providers[0].config.secret`: `evn` is no source of a value; did you mean \
             `env`?",
        ),
        (
            "dashboard:\n  providers:\n    - name: local\n      component: builtin:basic\n      config:\n        users: []\n        \
             session_ttl_second: 60\n",
            "portcullis.yaml:7:9: unknown key `session_ttl_second` in `dashboard.providers[0].config`; did you mean \
             `session_ttl_seconds`?",
        ),
        (
            "dashboard:\n  port: 1\n  host: localhost\n  port: 2\n",
            "portcullis.yaml:4:3: `port` is there twice (lines 2 and 4)",
        ),
        (
            "hello\n",
            "portcullis.yaml:1:1: the file must be a map, not a string",
        ),
        (
            "gateway:\n  command: my-agent --stdin\n",
            "portcullis.yaml:2:12: `gateway.command` must be a list, not a string: write [my-agent, --stdin]",
        ),
        (
            "dashboard:\n  providers:\n    - name: a\n      component: builtin:basik\n",
            "portcullis.yaml:4:18: `dashboard.providers[0].component`: no builtin is named `basik`",
        ),
        (
            "dashboard:\n  token_routes:\n    - path: /metrics\n      scope: metrics.read\n",
            "portcullis.yaml:4:14: no provider may hand out `metrics.read`, which /metrics needs",
        ),
        (
            "dashboard:\n  providers:\n    - name: a\n      component: builtin:service-keys\n      config:\n        \
             keys:\n          - {sha256: x, principal: p,\n             scopes: [metrics.read]}\n",
            "portcullis.yaml:8:23: the key has the scope `metrics.read`, which this provider may not hand out",
        ),
    ] {
        let says = complaint(yaml);
        assert!(says.contains(expected), "{expected}\n{says}");
        assert!(!says.contains("hunter2"), "{says}");
    }
}

#[test]
fn mistakes_of_a_provider_are_named_with_the_place_of_the_key() {
    let known = guest("known").display().to_string();
    let digest = "0".repeat(64);
    for (entry, place) in [
        (
            "component: no-such.wasm\n      config: {key: x}".to_owned(),
            "4:7",
        ),
        (format!("component: {known}\n      sha256: '{digest}'"), "5:7"),
        (
            "component: builtin:basic\n      grants: {keyvalue: true}\n      config:\n        users: []\n        \
             session_ttl_seconds: soon\n        secret: Jx3_8vTqk0ZrWm2yLhNcPd5uBfGa7sEoKi9tRb1XwQc"
                .to_owned(),
            "8:9",
        ),
        (
            "component: builtin:service-keys\n      config:\n        keys:\n          - sha256: x\n            \
             principle: p"
                .to_owned(),
            "8:13",
        ),
        (
            "component: builtin:service-keys\n      config: {keys: [{sha256: x, principal: p}]}".to_owned(),
            "5:24",
        ),
        (
            "component: builtin:service-keys\n      config:\n        keys:\n          - [x, p, [m], null]".to_owned(),
            "7:13",
        ),
    ] {
        let says = complaint(&format!("dashboard:\n  providers:\n    - name: a\n      {entry}\n"));
        let place = format!("portcullis.yaml:{place}: provider `a`: ");
        assert!(says.contains(&place), "{place}\n{says}");
    }
}

#[test]
fn mistakes_of_keys_hide_no_mistake_of_another_kind() {
    let known = guest("known").display().to_string();
    let digest = "0".repeat(64);
    let home = Home::with_config(&format!(
        "dashboard:\n  drain: {{max_age: 1}}\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n  \
         providers:\n    - {{name: one, component: {known}, limit: 1}}\n    - name: two\n      \
         component: none.wasm\n    - name: three\n      component: {known}\n      sha256: '{digest}'\n\
         gateway: {{listen: 0.0.0.0:8642}}\n"
    ));
    let checked = Process::run(&home, &["config", "check"], &[]);
    assert_eq!(checked.code, Some(64), "{}", checked.stderr);
    let doctor = Process::run(&home, &["doctor"], &[]);
    assert_eq!(doctor.code, Some(1), "{}", doctor.stdout);
    for expected in [
        "portcullis.yaml:2:11: unknown key `max_age` in `dashboard.drain`",
        "unknown key `limit` in `dashboard.providers[0]`",
        "no provider may hand out `metrics.read`, which /metrics needs",
        "portcullis.yaml:7:7: provider `two`: ",
        "portcullis.yaml:10:7: provider `three`: ",
        "portcullis.yaml:11:19: gateway.listen is 0.0.0.0:8642, which other machines reach",
    ] {
        for said in [&checked.stderr, &doctor.stdout] {
            assert_eq!(said.matches(expected).count(), 1, "{expected}\n{said}");
        }
    }
    assert!(!checked.stderr.contains("provider `one`"));
}

#[test]
fn mistakes_that_stop_the_gateway_are_named_with_their_place() {
    for (setting, place, expected) in [
        (
            "listen: 0.0.0.0:8642",
            "2:11",
            "gateway.listen is 0.0.0.0:8642, which other machines reach: set gateway.api_key",
        ),
        (
            "api_key: {file: /nonexist}",
            "2:12",
            "`gateway.api_key`: cannot read /nonexist",
        ),
        (
            "api_key: {env: NOPE}",
            "2:12",
            "`gateway.api_key`: the environment variable NOPE is not set",
        ),
    ] {
        let home = Home::with_config(&format!("gateway:\n  {setting}\n  command: [cat]\n"));
        let gateway = Process::run(&home, &["gateway"], &[]);
        assert_eq!(gateway.code, Some(64), "{}", gateway.stderr);
        assert!(gateway.stderr.contains(expected), "{}", gateway.stderr);

        let placed = format!("portcullis.yaml:{place}: {expected}");
        let checked = Process::run(&home, &["config", "check"], &[]);
        assert_eq!(checked.code, Some(64), "{}", checked.stderr);
        assert!(checked.stderr.contains(&placed), "{}", checked.stderr);
        let doctor = Process::run(&home, &["doctor"], &[]);
        assert_eq!(doctor.code, Some(1), "{}", doctor.stdout);
        assert!(doctor.stdout.contains(&placed), "{}", doctor.stdout);
    }
}

#[test]
fn gate_that_nobody_can_pass_is_named_with_the_key_that_shuts_it() {
    for (yaml, expected) in [
        (
            "dashboard: {host: 0.0.0.0}\n",
            "portcullis.yaml:1:19: 0.0.0.0 is not a loopback address, but no provider",
        ),
        (
            "dashboard:\n  public_url: https://agent.test\n",
            "portcullis.yaml:2:15: dashboard.public_url names agent.test, which is",
        ),
        (
            "dashboard:\n  allowed_hosts: [localhost, agent.test]\n",
            "portcullis.yaml:2:30: dashboard.allowed_hosts names agent.test, which is",
        ),
    ] {
        let says = complaint(yaml);
        assert!(says.contains(expected), "{expected}\n{says}");
        let remedy = "`serve` will not start: add builtin:basic or builtin:oidc";
        assert!(says.contains(remedy), "{says}");
    }
    let variable = [("HERMES_DASHBOARD_PUBLIC_URL", "https://agent.test")];
    let checked = Process::run(&Home::new(), &["config", "check"], &variable);
    let expected = "HERMES_DASHBOARD_PUBLIC_URL: dashboard.public_url names agent.test";
    assert!(checked.stderr.contains(expected), "{}", checked.stderr);
}

#[test]
fn text_that_is_not_utf_8_is_named_with_its_line() {
    let home = Home::new();
    fs::write(home.file("portcullis.yaml"), b"dashboard:\n  host: \xff\n")
        .expect("a file in the home");
    let checked = Process::run(&home, &["config", "check"], &[]);
    assert_eq!(checked.code, Some(64));
    assert!(
        checked
            .stderr
            .contains("byte 19, in line 2, is no character"),
        "{}",
        checked.stderr
    );
}

#[test]
fn text_in_utf_16_is_named_as_such() {
    let text = "dashboard: {}\n";
    for mark in [true, false] {
        let mut bytes = if mark { vec![0xff, 0xfe] } else { Vec::new() };
        bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        let home = Home::new();
        fs::write(home.file("portcullis.yaml"), bytes).expect("a file in the home");
        let checked = Process::run(&home, &["config", "check"], &[]);
        assert_eq!(checked.code, Some(64));
        assert!(
            checked.stderr.contains("UTF-16 text: save it as UTF-8"),
            "{}",
            checked.stderr
        );
    }
}

#[test]
fn log_filter_that_is_none_is_named() {
    let home = Home::new();
    let checked = Process::run(&home, &["config", "check"], &[("RUST_LOG", "a=b=c,,=")]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(
        checked
            .stderr
            .contains("RUST_LOG is not used: write a level"),
        "{}",
        checked.stderr
    );
    assert!(!checked.stderr.contains("directive"), "{}", checked.stderr);
}

#[test]
fn weak_drain_secret_fails_the_check_although_the_dashboard_starts() {
    let weak = [("HERMES_DASHBOARD_DRAIN_SECRET", "hunter2")];
    let home = Home::new();
    let checked = Process::run(&home, &["config", "check"], &weak);
    assert_eq!(checked.code, Some(64), "{}", checked.stdout);
    assert!(
        checked
            .stdout
            .contains("drain-secret: skipped: HERMES_DASHBOARD_DRAIN_SECRET is refused")
    );
    let dashboard = home.dashboard_with(&["--port", "0"], &weak);
    assert_eq!(get(&dashboard.url("/healthz"), &[]).status, 200);
}

#[test]
fn route_that_no_caller_can_use_is_logged_and_stays_shut() {
    let home =
        Home::with_config("dashboard: {token_routes: [{path: /metrics, scope: metrics.read}]}");
    let dashboard = home.dashboard();
    assert!(
        dashboard
            .log()
            .contains("no provider may hand out `metrics.read`"),
        "{}",
        dashboard.log()
    );
    assert_eq!(get(&dashboard.url("/metrics"), &[]).status, 401);
}

#[test]
fn link_that_leads_nowhere_is_an_error_and_not_the_defaults() {
    let home = Home::new();
    symlink("no-such", home.file("portcullis.yaml")).expect("a link in the home");
    for command in [
        &["config", "check"][..],
        &["serve", "--port", "0"],
        &["gateway"],
        &["up"],
    ] {
        let refused = Process::run(&home, command, &[]);
        assert_eq!(refused.code, Some(64), "{command:?}: {}", refused.stderr);
        assert!(
            refused
                .stderr
                .contains("portcullis.yaml: the symbolic link cannot be read"),
            "{refused:?}"
        );
    }
}

#[test]
fn files_with_secrets_that_others_may_read_or_write_are_named() {
    let home = Home::with_config(&format!("dashboard: {{session_key: {PROCESS_TOKEN}}}"));
    home.write("drain-secret", portcullis_tests::DRAIN_SECRET);
    let set_mode = |name: &str, mode| {
        fs::set_permissions(home.file(name), fs::Permissions::from_mode(mode))
            .expect("a file of our own");
    };
    let warnings = || {
        let checked = Process::run(&home, &["config", "check"], &[]);
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        checked.stderr
    };
    set_mode("portcullis.yaml", 0o600);
    set_mode("drain-secret", 0o600);
    assert!(!warnings().contains("has mode"), "{}", warnings());
    for (name, mode, shown) in [
        ("portcullis.yaml", 0o644, "0644"),
        ("drain-secret", 0o666, "0666"),
    ] {
        set_mode(name, mode);
        let expected = format!("warning: {} has mode {shown}: ", home.file(name).display());
        assert!(warnings().contains(&expected), "{expected}\n{}", warnings());
        assert!(warnings().contains(&format!("chmod 600 {}", home.file(name).display())));
    }
    let log = home.dashboard_with(&["--port", "0"], &[]).log();
    assert!(
        log.contains("has mode 0644") && log.contains("has mode 0666"),
        "{log}"
    );
}

#[test]
fn token_route_that_an_application_covers_is_a_warning() {
    let home = Home::with_config(
        "dashboard:\n  token_routes: [{path: /metrics, scope: drain}]\n  apps: [{name: wiki, path: /, upstream: 'http://127.0.0.1:1'}]\n",
    );
    let checked = Process::run(&home, &["config", "check"], &[]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let expected = "/metrics belongs to the application `wiki`, so no token opens the token route \
                    there: use /_portcullis/metrics";
    let is_named = |line: &str| line.starts_with("warning: ") && line.ends_with(expected);
    assert!(checked.stderr.lines().any(is_named), "{}", checked.stderr);

    let dashboard = home.dashboard();
    assert!(dashboard.log().contains(expected), "{}", dashboard.log());
    let secret = format!("Bearer {}", portcullis_tests::DRAIN_SECRET);
    let metrics = get(
        &dashboard.url("/_portcullis/metrics"),
        &[("authorization", secret.as_str())],
    );
    assert_eq!(metrics.status, 200, "{metrics:?}");
}

#[test]
fn rule_that_people_of_two_providers_match_by_one_name_is_a_warning() {
    let people = guest("people").display().to_string();
    let entry = |name: &str| format!("    - {{name: {name}, component: {people}}}\n");
    let (one, two) = (entry("local"), entry("corp"));
    for (providers, rule, expected) in [
        (
            format!("{one}{two}"),
            "{role: operator, users: [ada]}",
            Some("`dashboard.access[0]` matches users of every"),
        ),
        (
            format!("{one}{two}"),
            "{role: viewer, groups: [all]}",
            Some("`dashboard.access[0]` matches groups of every"),
        ),
        (
            format!("{one}{two}"),
            "{role: operator, provider: corp, users: [ada]}",
            None,
        ),
        (format!("{one}{two}"), "{role: none, users: [ada]}", None),
        (one.clone(), "{role: operator, users: [ada]}", None),
    ] {
        let yaml = format!(
            "dashboard:\n  public_url: http://agent.test\n  access:\n    - {rule}\n  providers:\n{providers}"
        );
        let home = Home::with_config(&yaml);
        let checked = Process::run(&home, &["config", "check"], &[]);
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        let warning = checked
            .stderr
            .lines()
            .find(|line| line.contains("dashboard.access["));
        assert_eq!(
            warning.is_some(),
            expected.is_some(),
            "{rule}: {}",
            checked.stderr
        );
        let fits =
            |text| warning.is_some_and(|line| line.starts_with("warning: ") && line.contains(text));
        assert!(expected.is_none_or(fits), "{rule}: {}", checked.stderr);
    }
}
