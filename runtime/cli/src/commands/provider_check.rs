use super::output::UntilClosed;
use super::{Common, OutputFormat, UsageError, progress, runtime};
use anstyle::AnsiColor;
use anyhow::{Context, Result};
use clap::Args;
use portcullis_auth::ProviderName;
use portcullis_author::conformance::{CheckFinding, Level, Report, Subject, difference, examine};
use portcullis_dashboard::config::{Environment, unknown_builtin};
use portcullis_sandbox::{
    Buckets, Capabilities, CompilerProcess, ComponentSource, HttpGrant, Limits, Origin,
    ProviderSpec, Sandbox, SandboxSettings,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// A .wasm file, or builtin:NAME
    component: String,
    /// Token that the provider must recognize, and whose near misses it must not; may be repeated
    #[arg(long = "token", value_name = "TOKEN")]
    tokens: Vec<String>,
    /// Setting of the provider; may be repeated
    #[arg(long = "setting", value_name = "KEY=VALUE", value_parser = key_and_value)]
    settings: Vec<(String, String)>,
    /// Use the settings, grants, limits and `link_modules` of this provider in the configuration
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// Origin that the provider may call during the test; may be repeated
    #[arg(long = "http", value_name = "ORIGIN", value_parser = origin)]
    http: Vec<Origin>,
    /// Also report the differences from this older version
    #[arg(long, value_name = "OLD.wasm")]
    diff: Option<String>,
    /// Format of the result
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it must look like KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn origin(text: &str) -> Result<Origin, String> {
    Origin::parse(text).ok_or_else(|| "it must look like https://idp.example.com".to_owned())
}

/// The component of a file or of `builtin:NAME`.
pub(super) fn source_of(text: &str) -> Result<ComponentSource> {
    match text.strip_prefix("builtin:") {
        None => Ok(ComponentSource::File(PathBuf::from(text))),
        Some(name) => match portcullis_bundled::component(name) {
            Some(component) => Ok(ComponentSource::Bundled(component)),
            None => Err(UsageError(unknown_builtin(name)).into()),
        },
    }
}

pub(super) fn check(common: &Common, arguments: &CheckArgs) -> Result<ExitCode> {
    let spec = spec_of(common, arguments)?;
    let settings = SandboxSettings {
        max_memory_bytes: spec.limits.memory_bytes.max(Limits::default().memory_bytes),
        max_table_elements: spec
            .limits
            .table_elements
            .max(Limits::default().table_elements),
        max_core_instances: spec
            .limits
            .core_instances
            .max(Limits::default().core_instances),
        compiler: Some(CompilerProcess::of_this_program()),
        system_roots: Environment::read().system_roots,
        ..SandboxSettings::default()
    };

    let runtime = runtime()?;
    let sandbox = Sandbox::start(&settings)?;
    let subject = Subject {
        spec,
        known: arguments.tokens.clone(),
    };
    let report = runtime.block_on(examine(&sandbox, subject, |tried, count| {
        progress::show(&format!("token {tried} of {count} …"));
    }));
    progress::clear();
    let diff = arguments
        .diff
        .as_ref()
        .map(|old| runtime.block_on(diff_against(&sandbox, old, &report)))
        .transpose()?;

    match arguments.format {
        OutputFormat::Json => {
            let mut value = serde_json::to_value(&report)?;
            value["diff"] = json!(diff);
            out!("{}", serde_json::to_string_pretty(&value)?);
        }
        OutputFormat::Text => print(&arguments.component, &report, diff.as_deref())?,
    }

    Ok(ExitCode::from(u8::from(!report.passed)))
}

/// Every grant that it could ask for, none of which leads anywhere unless the author says so.
fn spec_of(common: &Common, arguments: &CheckArgs) -> Result<ProviderSpec> {
    let name = ProviderName::new("checked").expect("a constant that is a name");
    let nowhere = Origin::parse("https://nowhere.invalid").expect("a constant that is an origin");
    let http = arguments
        .http
        .iter()
        .cloned()
        .chain([nowhere])
        .map(HttpGrant::of)
        .collect();

    let mut spec = ProviderSpec {
        capabilities: Capabilities {
            http,
            bucket: Some(Buckets::in_memory().of(&name)),
        },
        name,
        source: source_of(&arguments.component)?,
        sha256: None,
        settings: BTreeMap::new(),
        limits: Limits::default(),
        link_modules: false,
    };

    if let Some(entry) = &arguments.entry {
        let config = common.load()?;
        let configured = config
            .dashboard
            .providers
            .into_iter()
            .find(|provider| provider.name.as_str() == entry);
        let configured = configured.ok_or_else(|| {
            UsageError(format!(
                "no provider is named `{entry}` in the configuration"
            ))
        })?;
        spec.settings = configured.settings;
        spec.limits = configured.limits;
        spec.link_modules = configured.link_modules;
        spec.capabilities.http.splice(0..0, configured.grants.http);
    }

    spec.settings.extend(arguments.settings.iter().cloned());
    Ok(spec)
}

async fn diff_against(sandbox: &Sandbox, old: &str, report: &Report) -> Result<Vec<String>> {
    let old = sandbox
        .inspect(&source_of(old)?)
        .await
        .with_context(|| old.to_owned())?;
    Ok(report
        .inspection
        .as_ref()
        .map(|new| difference(&old, new))
        .unwrap_or_default())
}

fn print(component: &str, report: &Report, diff: Option<&[String]>) -> Result<()> {
    let mut out = UntilClosed(anstream::stdout().lock());
    if let Some(inspection) = &report.inspection {
        writeln!(
            out,
            "{component}: {} bytes, sha256 {}",
            inspection.bytes, inspection.sha256
        )?;
        for export in &inspection.exports {
            writeln!(out, "  exports {export}")?;
        }
        for (import, need) in &inspection.imports {
            writeln!(
                out,
                "  imports {import}{}",
                super::provider::need_in_words(*need)
            )?;
        }
    }

    if let Some(timings) = report.timings {
        writeln!(
            out,
            "  loads in {} ms; peak memory of a call {} KiB",
            timings.load / 1000,
            report.peak_memory_bytes / 1024
        )?;
    }

    for line in diff.unwrap_or_default() {
        writeln!(out, "  diff: {line}")?;
    }

    writeln!(out)?;
    for CheckFinding { check, level, says } in &report.findings {
        let (mark, style) = match level {
            Level::Pass => ("✓", AnsiColor::Green.on_default()),
            Level::Warning => ("!", AnsiColor::Yellow.on_default()),
            Level::Failure => ("✗", AnsiColor::Red.on_default().bold()),
        };
        writeln!(out, "{style}{mark}{style:#} {check}: {says}")?;
    }
    let (style, verdict) = match report.passed {
        true => (AnsiColor::Green.on_default(), "It passes."),
        false => (AnsiColor::Red.on_default().bold(), "It does not pass."),
    };

    writeln!(out, "\n{style}{verdict}{style:#}")?;
    Ok(())
}
