//! The trace of a caller, in the processes and requests that this one starts. Spans are read in
//! `tests/interop`.

use portcullis_tests::{Home, Process, post};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const ANOTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn turn_gets_the_trace_of_its_caller_and_no_other() {
    let home = Home::with_config(
        "gateway: {command: [sh, -c, 'printf %s \"${TRACEPARENT-none} ${TRACESTATE-none}\"']}",
    );
    let variables = [("TRACEPARENT", ANOTHER), ("TRACESTATE", "outer=1")];
    let gateway =
        Process::start(&home, &["gateway", "--listen", "127.0.0.1:0"], &variables).ready("gateway");
    let seen = |headers: &[(&str, &str)]| {
        post(
            &gateway.url("/v1/turns"),
            headers,
            r#"{"session":"s","text":"x"}"#,
        )
        .body
    };
    let both = [("traceparent", PARENT), ("tracestate", "a=1,b=2")];
    assert_eq!(seen(&both), format!("{PARENT} a=1,b=2"));
    assert_eq!(seen(&both[..1]), format!("{PARENT} none"));
    assert_eq!(
        seen(&[("traceparent", PARENT), ("tracestate", "not valid")]),
        format!("{PARENT} none")
    );

    // Neither what is not valid nor the gateway's own.
    assert_eq!(seen(&[]), "none none");
    assert_eq!(seen(&both[1..]), "none none");
    assert_eq!(
        seen(&[("traceparent", &PARENT.to_uppercase())]),
        "none none"
    );
    assert_eq!(
        seen(&[("traceparent", PARENT), ("traceparent", ANOTHER)]),
        "none none"
    );
}

#[test]
fn protocol_that_is_not_spoken_is_refused_with_those_that_are() {
    let home = Home::with_config(
        "dashboard: {telemetry: {otlp: {endpoint: 'http://127.0.0.1:9411', protocol: zipkin}}}",
    );
    let checked = Process::run(&home, &["config", "check"], &[]);
    assert_eq!(checked.code, Some(64), "{}", checked.stderr);
    assert!(
        checked.stderr.contains("portcullis.yaml:1:"),
        "{}",
        checked.stderr
    );
    assert!(
        checked.stderr.contains("must be http or grpc"),
        "{}",
        checked.stderr
    );
}
