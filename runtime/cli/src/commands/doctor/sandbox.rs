//! Whether the sandbox of the providers works on this machine, and whether the providers do in it.

use super::Finding;
use crate::commands::{runtime, shared_names};
use anyhow::Result;
use portcullis_auth::Registered;
use portcullis_dashboard::app::{
    COMPONENT_CACHE, ProviderReport, Providers, Touch, load_providers,
};
use portcullis_dashboard::config::Config;
use portcullis_observe::WASMTIME_VERSION;
use portcullis_sandbox::{Examination, SandboxSettings, check_private, examine};
use std::io::ErrorKind;
use std::path::Path;

const CHECK: &str = "sandbox";

/// The result of loading the providers.
pub(super) struct LoadedProviders {
    pub(super) findings: Vec<Finding>,
    /// Those that were loaded.
    pub(super) registered: Vec<Registered>,
    /// Rules of `dashboard.access` that people of several of them match by one name.
    pub(super) shared_names: Vec<String>,
}

pub(super) fn check_machine(config: &Config) -> Vec<Finding> {
    let settings = SandboxSettings {
        providers: config.dashboard.providers.len(),
        ..SandboxSettings::default()
    };
    let found = examine(&settings);
    vec![
        native_code(&found),
        newest(),
        address_space(&found),
        pagemap_scan(&found),
        memory(&found),
    ]
}

fn native_code(found: &Examination) -> Finding {
    match &found.native_code {
        Ok(()) => Finding::ok(
            CHECK,
            format!("wasmtime {WASMTIME_VERSION} compiles and runs native code"),
        ),
        Err(why) => Finding::error(
            CHECK,
            format!("wasmtime {WASMTIME_VERSION} cannot make native code executable"),
        )
        .because(why)
        .mended_by(
            "remove MemoryDenyWriteExecute= from the unit, and rules of SELinux against execmem",
        ),
    }
}

fn newest() -> Finding {
    Finding::unknown(
        CHECK,
        format!("whether a patch of wasmtime {WASMTIME_VERSION} is out cannot be seen here"),
    )
    .because("the engine is part of this program")
    .mended_by(
        "compare with the security advisories of wasmtime, and install the Portcullis that has the patch",
    )
}

fn address_space(found: &Examination) -> Finding {
    let (wanted, possible) = (found.wanted_calls, found.possible_calls);
    if possible >= wanted {
        return Finding::ok(
            CHECK,
            format!("the address space has room for {wanted} calls at once"),
        );
    }

    Finding::warn(
        CHECK,
        format!("the address space has room for {possible} of {wanted} calls at once"),
    )
    .because("each reserves 4 GiB of addresses; without room, calls take longer or wait")
    .mended_by("remove the limit: LimitAS= or `ulimit -v`")
}

fn pagemap_scan(found: &Examination) -> Finding {
    match found.pagemap_scan {
        Some(true) => Finding::ok(CHECK, "the kernel has PAGEMAP_SCAN"),
        Some(false) => Finding::warn(
            CHECK,
            "the kernel has no PAGEMAP_SCAN, or a filter refuses it",
        )
        .because("each call costs some page faults more")
        .mended_by("Linux 6.7 or later"),
        None => Finding::unknown(CHECK, "whether the kernel has PAGEMAP_SCAN was not tried")
            .because("the address space has no room for a pool of instances"),
    }
}

fn memory(found: &Examination) -> Finding {
    Finding::ok(
        CHECK,
        format!(
            "this process may use {} MiB of memory",
            found.memory_bytes >> 20
        ),
    )
}

/// Loads every provider as `serve` would, and writes nothing.
pub(super) fn check_providers(config: &Config) -> LoadedProviders {
    match load(config) {
        Ok(providers) => LoadedProviders {
            findings: providers.reports.iter().map(of_report).collect(),
            shared_names: shared_names::warnings(config, &providers.registered),
            registered: providers.registered,
        },
        Err(error) => LoadedProviders {
            findings: vec![
                Finding::error("providers", "no provider can be loaded")
                    .because(format!("{error:#}")),
            ],
            registered: Vec::new(),
            shared_names: Vec::new(),
        },
    }
}

fn load(config: &Config) -> Result<Providers> {
    Ok(runtime()?.block_on(load_providers(config, Touch::Nothing))?)
}

fn of_report(report: &ProviderReport) -> Finding {
    match &report.outcome {
        Ok(found) => Finding::ok(
            "providers",
            format!("{}: loaded, sha256 {}", report.name, found.sha256),
        ),
        Err(error) => Finding::error(
            "providers",
            format!("{}: provider `{}`", report.place, report.name),
        )
        .because(error),
    }
}

pub(super) fn check_cache(home: &Path) -> Vec<Finding> {
    let folder = home.join(COMPONENT_CACHE);
    let shown = folder.display();
    let finding = match check_private(&folder) {
        Ok(()) => Finding::ok("cache", format!("{shown} belongs to this user alone")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Finding::ok("cache", format!("{shown} is made at the first start"))
        }
        Err(error) => Finding::warn("cache", format!("{shown} is not used"))
            .because(format!("{error}; components are compiled at every start"))
            .mended_by(format!("remove {shown}: it is made again")),
    };
    vec![finding]
}
