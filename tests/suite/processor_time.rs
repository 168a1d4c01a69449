//! How much of the processor each provider has had: `/readyz`, the metrics and `provider list`.

use portcullis_tests::{Home, Process, SOON, eventually, get};

/// A time that `provider list` shows as more than 0.0 s.
const MUCH_SECONDS: f64 = 0.1;

/// Asks both providers about a token: the first does not know it, and the second burns its time.
fn ask_both(dashboard: &Process) {
    get(
        &dashboard.url("/metrics"),
        &[("authorization", "Bearer unknown-token")],
    );
}

/// Seconds of processor time by `/readyz`.
fn seconds(dashboard: &Process, index: usize) -> f64 {
    let ready = get(&dashboard.url("/readyz"), &[]).json();
    let seconds = ready["providers"]["detail"][index]["health"]["spent"]["cpu_seconds"].as_f64();
    seconds.expect("a number of seconds")
}

/// The cell of a provider in the column `CPU`.
fn listed(home: &Home, name: &str, more: &[&str]) -> String {
    let arguments: Vec<_> = ["provider", "list"].iter().chain(more).copied().collect();
    let list = Process::run(home, &arguments, &[]);
    assert_eq!(list.code, Some(0), "{list:?}");
    let mut lines = list.stdout.lines();
    let column = lines
        .next()
        .and_then(|head| head.find("CPU"))
        .expect("a column for the time");
    let line = lines
        .find(|line| line.starts_with(name))
        .expect("a line of the provider");
    line[column..]
        .split("  ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn time_of_each_provider_is_shown_apart() {
    let home = Home::with_guests(&["known", "loops"]);
    let dashboard = home.dashboard();
    eventually("the loop has had much of the processor", SOON, || {
        ask_both(&dashboard);
        (seconds(&dashboard, 1) >= MUCH_SECONDS).then_some(())
    });
    let (quick, burning) = (seconds(&dashboard, 0), seconds(&dashboard, 1));
    assert!(
        quick > 0.0 && quick < burning,
        "quick calls count as well: {quick}, {burning}"
    );

    let metrics = get(
        &dashboard.url("/metrics"),
        &[("authorization", "Bearer good-token")],
    )
    .body;
    let line = metrics.lines().find_map(|line| {
        line.strip_prefix("portcullis_provider_cpu_seconds_total{provider=\"loops-1\"} ")
    });
    let counted: f64 = line
        .and_then(|value| value.parse().ok())
        .expect("a counter of the provider");
    assert!(counted >= burning, "{counted} {burning}");

    let url = dashboard.url("");
    let shown = listed(&home, "loops-1", &["--url", &url]);
    let shown = shown
        .strip_suffix(" s")
        .and_then(|seconds| seconds.parse::<f64>().ok());
    assert!(
        shown.is_some_and(|seconds| seconds >= MUCH_SECONDS),
        "{shown:?}"
    );
    assert_eq!(listed(&home, "drain-secret", &["--url", &url]), "-");
}

/// Calls of a provider that ran at this place, by the metrics.
fn placed(dashboard: &Process, provider: &str, place: &str) -> u64 {
    let metrics = get(
        &dashboard.url("/metrics"),
        &[("authorization", "Bearer good-token")],
    )
    .body;
    let series = format!(
        "portcullis_provider_calls_placed_total{{provider=\"{provider}\",place=\"{place}\"}} "
    );
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(&series)?.parse().ok());
    value.expect("a counter of the place")
}

#[test]
fn calls_of_each_provider_are_counted_by_where_they_ran() {
    let home = Home::with_guests(&["known", "loops"]);
    let dashboard = home.dashboard();
    eventually("both kinds of providers have made calls", SOON, || {
        ask_both(&dashboard);
        let is_quick_here = placed(&dashboard, "known-0", "request_thread") > 0;
        let loops_elsewhere =
            ["moved", "guest_thread"].map(|place| placed(&dashboard, "loops-1", place));
        (is_quick_here && loops_elsewhere.iter().sum::<u64>() > 0).then_some(())
    });
    assert_eq!(placed(&dashboard, "known-0", "sign_in_thread"), 0);
}

#[test]
fn time_is_unknown_without_an_answer_about_the_provider() {
    let home = Home::with_guests(&["known"]);
    assert_eq!(listed(&home, "known-0", &[]), "-");
    assert_eq!(
        listed(&home, "known-0", &["--url", "http://127.0.0.1:1"]),
        "-"
    );

    let other = Home::with_guests(&["loops"]);
    let dashboard = other.dashboard();
    assert_eq!(
        listed(&home, "known-0", &["--url", &dashboard.url("")]),
        "-"
    );

    let wrong = Process::run(&home, &["provider", "list", "--url", "127.0.0.1:1"], &[]);
    assert_eq!(wrong.code, Some(64), "{wrong:?}");
    assert!(wrong.stderr.contains("--url"), "{wrong:?}");
}
