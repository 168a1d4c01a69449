//! The status file against a disk that does not cooperate.

use portcullis_tests::{Home, SOON, eventually, get};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn status_is_written_once_the_disk_lets_it() {
    let home = Home::with_config("");
    let gateway = home.gateway();
    eventually("running", SOON, || {
        (home.json("gateway_state.json")["gateway_state"] == "running").then_some(())
    });
    home.block("gateway_state.json");
    home.write(".drain_request.json", "{}");
    eventually("the failure is told", SOON, || {
        gateway.log().contains("trying again").then_some(())
    });
    fs::remove_dir(home.file("gateway_state.json")).expect("the folder is empty");
    eventually("draining", SOON, || {
        (home.json("gateway_state.json")["gateway_state"] == "draining").then_some(())
    });
}

#[test]
fn keys_of_other_programs_are_kept() {
    let home = Home::with_config("");
    home.write(
        "gateway_state.json",
        r#"{"platforms":{"telegram":{"state":"up"}},"somebody":"else"}"#,
    );
    let mut gateway = home.gateway();
    gateway.terminate();
    let status = home.json("gateway_state.json");
    assert_eq!(
        (
            &status["somebody"],
            &status["platforms"]["telegram"]["state"]
        ),
        (&"else".into(), &"up".into())
    );
    assert_eq!(
        (&status["gateway_state"], &status["kind"]),
        (&"stopped".into(), &"hermes-gateway".into())
    );
    let mode = fs::metadata(home.file("gateway_state.json"))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn dead_gateway_is_stopped_whatever_the_file_says() {
    let home = Home::with_config("");
    let (dashboard, mut gateway) = (home.dashboard(), home.gateway());
    let state = || get(&dashboard.url("/api/status"), &[]).json();
    eventually("running", SOON, || {
        (state()["gateway_running"] == true).then_some(())
    });
    gateway.kill();
    assert_eq!(home.json("gateway_state.json")["gateway_state"], "running");
    assert_eq!(
        (&state()["gateway_state"], &state()["gateway_running"]),
        (&"stopped".into(), &false.into())
    );
}

#[test]
fn failed_start_is_told() {
    let home = Home::with_config("");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let finished = portcullis_tests::Process::run(&home, &["gateway", "--listen", &address], &[]);
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stderr.contains("gateway.listen"),
        "{}",
        finished.stderr
    );
    assert_eq!(
        home.json("gateway_state.json")["gateway_state"],
        "startup_failed"
    );
}
