//! The binary exists and knows its name. (Cargo builds a package's binary with its integration
//! tests, which is how the suites in `tests/` find a fresh one.)

use std::process::Command;

#[test]
fn binary_tells_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("--version")
        .output()
        .expect("it runs");
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("portcullis {}\n", env!("CARGO_PKG_VERSION"))
    );
}
