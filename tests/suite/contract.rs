//! Versions of the contract: a frozen one stays as it is, older ones go on loading, and unknown ones are refused with
//! the list of those that are not.

use portcullis::auth::{BearerToken, ProviderName, TokenVerdict};
use portcullis::sandbox::{
    CONTRACT_VERSIONS, ComponentSource, Limits, LoadError, Powers, ProviderSpec, Sandbox, SandboxSettings,
};
use portcullis_tests::{Home, Process};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A later version, as this test makes it up: the newest one and an interface more.
const LATER: &str = "0.2.0";
const HOST_OF_LATER: &[&str] = &[LATER, "0.1.0"];

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")
}

fn contract(version: &str) -> String {
    let text =
        fs::read_to_string(wit().join("frozen/portcullis-auth-0.1.0.wit")).expect("the frozen contract");
    let text = text.replace("portcullis:auth@0.1.0", &format!("portcullis:auth@{version}"));
    match version {
        "0.1.0" => text,
        _ => text.replace(
            "world auth-provider {",
            "interface greeting { greet: func() -> string; }\nworld auth-provider {\n    export greeting;",
        ),
    }
}

/// A provider of this version that knows every token.
fn provider(version: &str) -> Vec<u8> {
    let greeting = match version {
        "0.1.0" => String::new(),
        _ => {
            format!(r#"(func (export "portcullis:auth/greeting@{version}#greet") (result i32) i32.const 48)"#)
        }
    };
    let core = format!(
        r#"(module
            (memory (export "memory") 1)
            (global $free (mut i32) (i32.const 1024))
            ;; ok(some({{principal: "old", scopes: []}})), then the name, then a string that is empty.
            (data (i32.const 16) "\00\00\00\00\01\00\00\00\28\00\00\00\03\00\00\00\00\00\00\00\00\00\00\00old\00\00\00\00\00\00\00\00\00")
            ;; ok(none)
            (data (i32.const 80) "\00\00\00\00\00\00\00\00")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                global.get $free
                (global.set $free (i32.add (global.get $free) (local.get 3))))
            (func (export "portcullis:auth/provider@{version}#supports-token") (result i32) i32.const 1)
            (func (export "portcullis:auth/provider@{version}#verify-token") (param i32 i32) (result i32) i32.const 16)
            (func (export "portcullis:auth/provider@{version}#verify-session") (param i32 i32) (result i32) i32.const 80)
            {greeting})"#
    );
    let mut bytes = wat::parse_str(core).expect("the text is WebAssembly");
    let mut resolve = Resolve::default();
    for dependency in ["io", "clocks", "config", "keyvalue"] {
        resolve.push_file(wit().join(format!("deps/{dependency}.wit"))).expect("a package");
    }
    let package = resolve.push_str("provider.wit", &contract(version)).expect("the contract");
    let world = resolve.select_world(&[package], Some("auth-provider")).expect("the world");
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).expect("metadata");
    let encoder = ComponentEncoder::default().module(&bytes);
    encoder.and_then(|mut encoder| encoder.encode()).expect("a component")
}

fn load(version: &str, contracts: &'static [&'static str]) -> Result<TokenVerdict, LoadError> {
    let sandbox =
        Sandbox::start(&SandboxSettings { contracts, ..SandboxSettings::default() }).expect("a sandbox");
    let spec = ProviderSpec {
        name: ProviderName::new("old").expect("a name"),
        source: ComponentSource::Bundled(Vec::leak(provider(version))),
        sha256: None,
        settings: BTreeMap::new(),
        powers: Powers::default(),
        limits: Limits::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let loaded = sandbox.load(spec).await?;
        let token = BearerToken::by_hand("any".into());
        let observed = loaded.provider.observe(&token, loaded.provider.own_deadline()).await;
        Ok(observed.verdict.expect("an answer"))
    })
}

#[test]
fn frozen_contract_is_the_one_that_is_built_for() {
    let newest = CONTRACT_VERSIONS[0];
    let current = fs::read_to_string(wit().join("provider.wit")).expect("the contract");
    assert_eq!(current, contract(newest), "a frozen version never changes: give the contract a new number");
    for version in CONTRACT_VERSIONS {
        assert!(wit().join(format!("frozen/portcullis-auth-{version}.wit")).is_file(), "{version}");
    }
}

#[test]
fn components_of_an_older_contract_go_on_loading() {
    for version in HOST_OF_LATER {
        let verdict = load(version, HOST_OF_LATER).expect(version);
        assert!(
            matches!(verdict, TokenVerdict::Recognized(claims) if claims.principal() == "old"),
            "{version}"
        );
    }
}

#[test]
fn unknown_contract_is_refused_with_the_list() {
    let refusal = load("0.3.0", HOST_OF_LATER).expect_err("an unknown version");
    assert_eq!(
        refusal.to_string(),
        "it is built for version 0.3.0 of portcullis:auth; this binary accepts 0.2.0, 0.1.0"
    );
    let refusal = load(LATER, CONTRACT_VERSIONS).expect_err("a version of the future");
    assert!(matches!(refusal, LoadError::UnknownContract { .. }), "{refusal}");
}

#[test]
fn binary_says_which_versions_it_accepts() {
    let help = Process::run(&Home::new(), &["--help"], &[]).stdout;
    for accepted in CONTRACT_VERSIONS {
        assert!(help.contains(&format!("portcullis:auth@{accepted}")), "{help}");
    }
}
