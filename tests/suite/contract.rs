//! Versions of the contract: a frozen one stays as it is, older ones still load, and unknown ones
//! are refused with the list of those that are not.

use portcullis_auth::{BearerToken, Claims, ProviderName, TokenVerdict};
use portcullis_sandbox::{
    CONTRACT_VERSIONS, Capabilities, ComponentSource, Limits, LoadError, ProviderSpec, Sandbox,
    SandboxSettings,
};
use portcullis_tests::{Home, Process};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A later version, as this test makes it up: the newest one and an interface more.
const LATER: &str = "0.3.0";
const HOST_OF_LATER: &[&str] = &[LATER, "0.2.0", "0.1.0"];

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")
}

fn frozen(version: &str) -> String {
    let path = wit().join(format!("frozen/portcullis-auth-{version}.wit"));
    fs::read_to_string(path).expect("the frozen contract")
}

/// The same contract under another number.
fn renumbered(contract: &str, from: &str, to: &str) -> String {
    contract.replace(
        &format!("portcullis:auth@{from}"),
        &format!("portcullis:auth@{to}"),
    )
}

/// The contract of a version: frozen, or made up.
fn contract(version: &str) -> String {
    if CONTRACT_VERSIONS.contains(&version) {
        return frozen(version);
    }
    let newest = CONTRACT_VERSIONS[0];
    renumbered(&frozen(newest), newest, version).replace(
        "world auth-provider {",
        "interface greeting { greet: func() -> string; }\nworld auth-provider {\n    export greeting;",
    )
}

/// The functions of a provider of this version that knows every token, as the service `old` of the
/// group `staff`.
fn functions(version: &str) -> String {
    let greeting = match CONTRACT_VERSIONS.contains(&version) {
        true => String::new(),
        false => format!(
            r#"(func (export "portcullis:auth/greeting@{version}#greet") (result i32) i32.const 160)"#
        ),
    };
    format!(
        r#"(func (export "portcullis:auth/provider@{version}#supports-token") (result i32) i32.const 1)
            (func (export "portcullis:auth/provider@{version}#verify-token") (param i32 i32) (result i32) i32.const 16)
            (func (export "portcullis:auth/provider@{version}#verify-session") (param i32 i32) (result i32) i32.const 80)
            {greeting}"#
    )
}

/// A component with these functions that exports `world` of the last of these packages.
fn component(functions: &str, packages: &[String], world: &str) -> Vec<u8> {
    let core = format!(
        r#"(module
            (memory (export "memory") 1)
            (global $free (mut i32) (i32.const 1024))
            ;; ok(some({{principal: "old", scopes: [], groups: ["staff"]}})); version 0.1.0 ends after the scopes.
            (data (i32.const 16) "\00\00\00\00\01\00\00\00\c0\00\00\00\03\00\00\00\00\00\00\00\00\00\00\00\c8\00\00\00\01\00\00\00")
            (data (i32.const 192) "old\00\00\00\00\00\d0\00\00\00\05\00\00\00staff")
            ;; At 80, of zeros: ok(none). At 160: a string that is empty.
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                global.get $free
                (global.set $free (i32.add (global.get $free) (local.get 3))))
            {functions})"#
    );
    let mut bytes = wat::parse_str(core).expect("the text is WebAssembly");
    let mut resolve = Resolve::default();
    for dependency in ["io", "clocks", "config", "keyvalue"] {
        resolve
            .push_file(wit().join(format!("deps/{dependency}.wit")))
            .expect("a package");
    }
    let mut last = None;
    for package in packages {
        last = Some(
            resolve
                .push_str("provider.wit", package)
                .expect("a package"),
        );
    }
    let world = resolve
        .select_world(last.as_slice(), Some(world))
        .expect("the world");
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).expect("metadata");
    let encoder = ComponentEncoder::default().module(&bytes);
    encoder
        .and_then(|mut encoder| encoder.encode())
        .expect("a component")
}

fn provider(version: &str) -> Vec<u8> {
    component(&functions(version), &[contract(version)], "auth-provider")
}

/// Loads a component and asks it about a token.
fn load(component: Vec<u8>, contracts: &'static [&'static str]) -> Result<TokenVerdict, LoadError> {
    let sandbox = Sandbox::start(&SandboxSettings {
        contracts,
        ..SandboxSettings::default()
    })
    .expect("a sandbox");
    let spec = ProviderSpec {
        name: ProviderName::new("old").expect("a name"),
        source: ComponentSource::Bundled(Vec::leak(component)),
        sha256: None,
        settings: BTreeMap::new(),
        capabilities: Capabilities::default(),
        limits: Limits::default(),
        link_modules: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let loaded = sandbox.load(spec).await?;
        let token = BearerToken::by_hand("any".into());
        let observed = loaded
            .provider
            .observe(&token, loaded.provider.own_deadline())
            .await;
        Ok(observed.verdict.expect("an answer"))
    })
}

/// The service that a provider of this file names.
fn claims(verdict: TokenVerdict) -> Option<Claims> {
    match verdict {
        TokenVerdict::Recognized(claims) => Some(claims),
        TokenVerdict::NotRecognized | TokenVerdict::Unusable(_) => None,
    }
}

#[test]
fn frozen_contract_is_the_one_that_is_built_for() {
    let newest = CONTRACT_VERSIONS[0];
    let current = fs::read_to_string(wit().join("provider.wit")).expect("the contract");
    assert_eq!(
        current,
        frozen(newest),
        "a frozen version never changes: give the contract a new number"
    );
    for version in CONTRACT_VERSIONS {
        assert!(
            wit()
                .join(format!("frozen/portcullis-auth-{version}.wit"))
                .is_file(),
            "{version}"
        );
    }
}

#[test]
fn components_of_an_older_contract_go_on_loading() {
    for version in HOST_OF_LATER {
        let verdict = load(provider(version), HOST_OF_LATER).expect(version);
        let claims = claims(verdict).expect(version);
        let groups: &[&str] = if *version == "0.1.0" { &[] } else { &["staff"] };
        assert_eq!(
            (claims.principal(), claims.groups().len()),
            ("old", groups.len()),
            "{version}"
        );
        assert!(claims.groups().iter().eq(groups), "{version}: {claims:?}");
    }
}

#[test]
fn component_of_two_versions_is_asked_by_the_newest() {
    let world = "package test:both;
        world both {
            include portcullis:auth/auth-provider@0.1.0;
            include portcullis:auth/auth-provider@0.2.0;
        }";
    let functions = functions("0.1.0") + &functions("0.2.0");
    let packages = [contract("0.1.0"), contract("0.2.0"), world.to_owned()];
    let verdict =
        load(component(&functions, &packages, "both"), CONTRACT_VERSIONS).expect("a provider");
    let claims = claims(verdict).expect("a service");
    assert_eq!(claims.groups(), ["staff"]);
}

#[test]
fn component_with_the_types_of_another_version_is_refused_with_a_sentence() {
    for (types, claimed) in [("0.1.0", "0.2.0"), ("0.2.0", "0.1.0")] {
        let contract = renumbered(&frozen(types), types, claimed);
        let built = component(&functions(claimed), &[contract], "auth-provider");
        let refusal = load(built, CONTRACT_VERSIONS)
            .expect_err("other types")
            .to_string();
        let function = format!("`portcullis:auth/provider@{claimed}`, function `verify-token`");
        assert!(
            refusal.starts_with("it does not fit the host") && refusal.contains(&function),
            "{refusal}"
        );
    }
}

#[test]
fn unknown_contract_is_refused_with_the_list() {
    let refusal = load(provider("0.4.0"), HOST_OF_LATER).expect_err("an unknown version");
    assert_eq!(
        refusal.to_string(),
        "it is built for version 0.4.0 of portcullis:auth; this binary accepts 0.3.0, 0.2.0, 0.1.0"
    );
    let refusal = load(provider(LATER), CONTRACT_VERSIONS).expect_err("a version of the future");
    assert!(
        matches!(refusal, LoadError::UnknownContract { .. }),
        "{refusal}"
    );
}

#[test]
fn binary_says_which_versions_it_accepts() {
    let help = Process::run(&Home::new(), &["--help"], &[]).stdout;
    for accepted in CONTRACT_VERSIONS {
        assert!(
            help.contains(&format!("portcullis:auth@{accepted}")),
            "{help}"
        );
    }
}
