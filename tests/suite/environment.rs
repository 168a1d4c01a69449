//! The variables that the dashboard reads: the original's below the file, secrets by the gate, and
//! all others by name.

use portcullis_tests::{Browser, Home, PROCESS_TOKEN, Process, SOON, eventually, get};
use serde_json::json;

/// Of the password `lovelace`, as the original makes it.
const HASH: &str =
    "scrypt$16384$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$gD8IXXHpabjWAMLyLJhnuG0U29ZDOOfkM9wHxKgNrYc=";
const BASIC: [(&str, &str); 3] = [
    ("HERMES_DASHBOARD_BASIC_AUTH_USERNAME", "ada"),
    ("HERMES_DASHBOARD_BASIC_AUTH_PASSWORD_HASH", HASH),
    ("HERMES_DASHBOARD_BASIC_AUTH_SECRET", PROCESS_TOKEN),
];
const OIDC: [(&str, &str); 2] = [
    ("HERMES_DASHBOARD_OIDC_ISSUER", "https://idp.example.com"),
    ("HERMES_DASHBOARD_OIDC_CLIENT_ID", "portcullis"),
];

/// The answer to ada's password. On a busy machine a hash may take longer than the provider's
/// deadline: such an answer is none.
fn sign_in(dashboard: &Process, password: &str) -> u16 {
    let body = json!({"provider": "basic", "username": "ada", "password": password}).to_string();
    eventually("the provider answers", SOON, || {
        let status = Browser::default()
            .post(&dashboard.url("/auth/password-login"), &body)
            .status;
        (status != 503).then_some(status)
    })
}

#[test]
fn variables_of_the_original_gate_a_dashboard_and_sign_people_in() {
    let home = Home::new();
    let url = ("HERMES_DASHBOARD_PUBLIC_URL", "http://agent.test");
    let variables: Vec<_> = BASIC.into_iter().chain([url]).collect();
    let dashboard = home.dashboard_with(&["--port", "0"], &variables);
    assert_eq!(sign_in(&dashboard, "lovelace"), 200);
    assert_eq!(sign_in(&dashboard, "Lovelace"), 401);
    assert_eq!(get(&dashboard.url("/api/auth/me"), &[]).status, 401);
}

#[test]
fn file_takes_precedence_and_variables_fill_what_it_leaves_open() {
    let home = Home::with_config(&format!(
        "dashboard:\n  public_url: http://agent.test\n  providers:\n    - name: basic\n      component: \
         builtin:basic\n      config: {{users: [{{username: ada, password_hash: \"{HASH}\"}}]}}\n      grants: {{keyvalue: \
         true}}\n"
    ));
    let variables = [
        ("HERMES_DASHBOARD_PUBLIC_URL", "http://other.test"),
        ("HERMES_DASHBOARD_BASIC_AUTH_USERNAME", "eve"),
        ("HERMES_DASHBOARD_BASIC_AUTH_PASSWORD_HASH", HASH),
        ("HERMES_DASHBOARD_BASIC_AUTH_SECRET", PROCESS_TOKEN),
    ];
    let dashboard = home.dashboard_with(&["--port", "0"], &variables);
    assert_eq!(sign_in(&dashboard, "lovelace"), 200);
    let body = json!({"provider": "basic", "username": "eve", "password": "lovelace"}).to_string();
    let refused = Browser::default().post(&dashboard.url("/auth/password-login"), &body);
    assert_eq!(refused.status, 401, "the users of the file are all");
    let log = dashboard.log();
    for unused in [
        "HERMES_DASHBOARD_PUBLIC_URL.",
        "HERMES_DASHBOARD_BASIC_AUTH_USERNAME, HERMES_DASHBOARD_BASIC_AUTH_PASSWORD_HASH.",
    ] {
        let warning = format!("set in the environment, but not used: {unused}");
        assert_eq!(log.matches(&warning).count(), 1, "{unused}\n{log}");
    }
}

#[test]
fn start_that_is_refused_names_the_variables_that_are_not_used() {
    for variable in [
        "HERMES_DASHBOARD_BASIC_AUTH_USERNAME",
        "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD_HASH",
        "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD",
        "HERMES_DASHBOARD_OIDC_ISSUER",
    ] {
        let arguments = ["serve", "--host", "127.0.0.2", "--port", "0"];
        let variables = [(variable, "https://canary.example")];
        let refused = Process::run(&Home::new(), &arguments, &variables);
        assert_eq!(refused.code, Some(64), "{variable}: {}", refused.stderr);
        let named = refused.stderr.find(variable);
        let end = refused.stderr.find("no provider can sign anyone in");
        assert!(
            named.is_some() && named < end,
            "{variable}: {}",
            refused.stderr
        );
        assert!(!refused.stderr.contains("canary"), "{}", refused.stderr);
    }
}

#[test]
fn issuer_of_the_variables_is_loaded_and_its_secret_printed_nowhere() {
    let canary = "canary-client-secret-7Qx";
    let variables: Vec<_> = OIDC
        .into_iter()
        .chain([("HERMES_DASHBOARD_OIDC_CLIENT_SECRET", canary)])
        .collect();
    let check = Process::run(&Home::new(), &["config", "check"], &variables);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
    assert!(check.stdout.contains("oidc: loaded"), "{}", check.stdout);
    assert!(!check.stdout.contains(canary) && !check.stderr.contains(canary));
}

#[test]
fn half_a_pair_and_unread_variables_are_named_once_and_never_their_values() {
    let canary = "canary-value-of-a-variable";
    let home = Home::with_config("dashboard: {session_key: {env: HERMES_DASHBOARD_SESSION_KEY}}");
    let variables = [
        (
            "HERMES_DASHBOARD_OIDC_ISSUER",
            "https://canary-value-of-a-variable.example",
        ),
        ("HERMES_DASHBOARD_BASIC_AUTH_PASSWORD", canary),
        ("HERMES_DASHBOARD_FILES_ROOT", canary),
        ("HERMES_DASHBOARD_SESSION_KEY", PROCESS_TOKEN),
        ("HERMES_DASHBOARD_SESSION_TOKEN", PROCESS_TOKEN),
    ];
    let check = Process::run(&home, &["config", "check"], &variables);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
    let half =
        "HERMES_DASHBOARD_OIDC_ISSUER is not used: set HERMES_DASHBOARD_OIDC_CLIENT_ID as well";
    let unread = "not read: HERMES_DASHBOARD_BASIC_AUTH_PASSWORD, HERMES_DASHBOARD_FILES_ROOT.";
    let dashboard = home.dashboard_with(&["--port", "0"], &variables);
    for said in [check.stderr, dashboard.log()] {
        for warning in [half, unread] {
            assert_eq!(said.matches(warning).count(), 1, "{warning}\n{said}");
        }
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn secrets_of_the_environment_pass_the_gate_or_stop_the_start() {
    let all_a = "a".repeat(40);
    for (variable, value) in [
        (
            "HERMES_DASHBOARD_SESSION_TOKEN",
            "${DASHBOARD_SESSION_TOKEN_OF_PRODUCTION}",
        ),
        ("HERMES_DASHBOARD_BASIC_AUTH_SECRET", all_a.as_str()),
        (
            "HERMES_DASHBOARD_OIDC_CLIENT_SECRET",
            "{{ oidc.client_secret }}",
        ),
    ] {
        for command in [&["config", "check"][..], &["serve", "--port", "0"]] {
            let refused = Process::run(&Home::new(), command, &[(variable, value)]);
            assert_eq!(
                refused.code,
                Some(64),
                "{variable} {command:?}: {}",
                refused.stderr
            );
            assert!(
                refused
                    .stderr
                    .contains(&format!("{variable} is refused: it")),
                "{}",
                refused.stderr
            );
            assert!(!refused.stderr.contains(value), "{}", refused.stderr);
        }
    }
}

#[test]
fn weak_session_token_is_a_warning() {
    let home = Home::new();
    let checked = Process::run(
        &home,
        &["config", "check"],
        &[("HERMES_DASHBOARD_SESSION_TOKEN", "aaaaaaaa")],
    );
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(
        said.contains("HERMES_DASHBOARD_SESSION_TOKEN is weak: it is too short"),
        "{said}"
    );
    assert!(!said.contains("aaaaaaaa"), "{said}");
    let dashboard = home.dashboard_with(
        &["--port", "0"],
        &[("HERMES_DASHBOARD_SESSION_TOKEN", "aaaaaaaa")],
    );
    assert!(
        dashboard
            .log()
            .contains("HERMES_DASHBOARD_SESSION_TOKEN is weak"),
        "{}",
        dashboard.log()
    );
}
