use super::drain::check_address;
use super::running::Running;
use super::{
    Common, USAGE, UsageError, new_password, provider_check, provider_link, provider_new, runtime,
    table,
};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use portcullis_auth::{BearerToken, CallFault, TokenVerdict};
use portcullis_dashboard::app::{DrainRegistration, Touch, drain_registration, load_providers};
use portcullis_dashboard::audit::last_faults;
use portcullis_sandbox::{
    CompilerProcess, Inspection, LoadError, Need, Sandbox, SandboxSettings, Unloadable,
};
use serde_json::{Value, json};
use std::fmt;
use std::io::Read;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Debug, Subcommand)]
pub(super) enum ProviderCommand {
    /// List the configured providers and whether each one loads
    List(ListArgs),
    /// Show what a component exports and imports, without running it
    Inspect(InspectArgs),
    /// Test a component against the contract before shipping it. Exits with 1 when it fails
    Check(provider_check::CheckArgs),
    /// Verify one token with one configured provider
    Call(CallArgs),
    /// Create a new provider: a directory that builds without changes
    New(provider_new::NewArgs),
    /// Link the core modules of a component into one, so that each call takes less time to begin
    Link(provider_link::LinkArgs),
    /// Hash a password for `builtin:basic`, from a hidden prompt or from standard input
    HashPassword,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// URL of the running dashboard, which is asked for processor time [default: the address in the
    /// configuration]
    #[arg(long)]
    url: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// A .wasm file, or builtin:NAME
    component: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CallArgs {
    /// The provider's name in the configuration
    name: String,
    /// The token. Other users of this machine can see it; without the flag, the token is read from
    /// standard input
    #[arg(long)]
    token: Option<String>,
}

pub(super) fn run(common: &Common, command: ProviderCommand) -> Result<ExitCode> {
    match command {
        ProviderCommand::List(arguments) => list(common, &arguments),
        ProviderCommand::Inspect(arguments) => inspect(&arguments),
        ProviderCommand::Check(arguments) => provider_check::check(common, &arguments),
        ProviderCommand::Call(arguments) => call(common, arguments),
        ProviderCommand::New(arguments) => provider_new::new(&arguments),
        ProviderCommand::Link(arguments) => provider_link::link_modules(&arguments),
        ProviderCommand::HashPassword => hash_password(),
    }
}

/// Prints what `builtin:basic` wants as a user's `password_hash`.
fn hash_password() -> Result<ExitCode> {
    out!("{}", new_password::read_and_hash()?);
    Ok(ExitCode::SUCCESS)
}

fn list(common: &Common, arguments: &ListArgs) -> Result<ExitCode> {
    if let Some(url) = &arguments.url {
        check_address(url).map_err(|mistake| UsageError(format!("--url: {mistake}")))?;
    }

    let config = common.load()?;
    let providers = runtime()?.block_on(load_providers(&config, Touch::Nothing))?;
    let mut rows = vec![
        [
            "NAME",
            "STATE",
            "TOKENS",
            "SCOPES",
            "SHA-256",
            "CPU",
            "LAST FAULT",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];

    let scope = config.dashboard.drain_scope.to_string();
    let state = match drain_registration(&config) {
        DrainRegistration::Registered => "native".to_owned(),
        DrainRegistration::Skipped(reason) => format!("skipped: {reason}"),
    };
    rows.push(vec![
        "drain-secret".to_owned(),
        state,
        "yes".to_owned(),
        scope,
        "-".to_owned(),
        "-".to_owned(),
        "-".to_owned(),
    ]);

    let running = Running::ask(&config, arguments.url.as_deref());
    let mut faults = last_faults(&config.home);
    for (report, configured) in providers.reports.iter().zip(&config.dashboard.providers) {
        let scopes: Vec<_> = configured
            .grants
            .scopes
            .iter()
            .map(ToString::to_string)
            .collect();
        let last = faults.remove(report.name.as_str()).unwrap_or_default();
        let (state, digest) = match &report.outcome {
            Ok(inspection) if last.is_quarantined => {
                ("quarantined".to_owned(), inspection.sha256[..12].to_owned())
            }
            Ok(inspection) => ("loaded".to_owned(), inspection.sha256[..12].to_owned()),
            Err(error) => (format!("refused: {error}"), "-".to_owned()),
        };
        let inspection = report.outcome.as_ref().ok();
        let cpu =
            inspection.and_then(|known| running.cpu_seconds(report.name.as_str(), &known.sha256));
        let cpu = cpu.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"));
        let fault = last.fault.unwrap_or_else(|| "-".to_owned());
        let tokens = if report.takes_tokens { "yes" } else { "no" };
        let scopes = if scopes.is_empty() {
            "-".to_owned()
        } else {
            scopes.join(" ")
        };
        rows.push(vec![
            report.name.to_string(),
            state,
            tokens.to_owned(),
            scopes,
            digest,
            cpu,
            fault,
        ]);
    }

    out!("{}", table::render(&rows));
    Ok(ExitCode::SUCCESS)
}

fn inspect(arguments: &InspectArgs) -> Result<ExitCode> {
    let source = provider_check::source_of(&arguments.component)?;
    // It runs nothing, so it needs no pool.
    let settings = SandboxSettings {
        providers: 0,
        compiler: Some(CompilerProcess::of_this_program()),
        ..SandboxSettings::default()
    };
    let looked_at = runtime()?.block_on(async {
        let sandbox = Sandbox::start(&settings)?;
        let inspection = sandbox.inspect(&source).await?;
        // Most components have one module and a shim for imports, or more.
        let linked = match inspection.core_instances {
            0 | 1 => Linkable::Nothing,
            instances => Linkable::of(instances, sandbox.inspect_linked(&source).await),
        };
        Ok::<_, anyhow::Error>((inspection, linked))
    });

    let (inspection, linkable) = looked_at.with_context(|| arguments.component.clone())?;
    if arguments.json {
        let mut value = serde_json::to_value(&inspection)?;
        value["linked"] = linkable.to_json();
        out!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(ExitCode::SUCCESS);
    }

    let (bytes, code) = (inspection.bytes, inspection.code_bytes);
    out!(
        "size    {bytes} bytes ({code} without custom sections)\nsha256  {}",
        inspection.sha256
    );
    let noun = if inspection.core_instances == 1 {
        "instance"
    } else {
        "instances"
    };
    out!("core    {} {noun}{linkable}", inspection.core_instances);

    if let Some(version) = inspection.contract {
        out!("built   for portcullis:auth@{version}");
    }

    for export in &inspection.exports {
        out!("export  {export}");
    }

    for (import, need) in &inspection.imports {
        out!("import  {import}{}", need_in_words(*need));
    }

    Ok(ExitCode::SUCCESS)
}

/// What linking the core modules of a component comes to.
enum Linkable {
    /// No two of them can be linked: a linked component is as it is.
    Nothing,
    /// It then has this many core instances.
    Into(u64),
    /// The linker refuses it, and why.
    Refused(String),
}

impl Linkable {
    /// Compares the core instances of a component with those that it has when it is linked.
    fn of(instances: u64, linked: Result<Inspection, LoadError>) -> Self {
        match linked {
            Ok(linked) if linked.core_instances < instances => Self::Into(linked.core_instances),
            Ok(_) => Self::Nothing,
            Err(LoadError::Unloadable(Unloadable::NotLinked(why))) => Self::Refused(why),
            Err(other) => Self::Refused(other.to_string()),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Nothing => Value::Null,
            Self::Into(instances) => json!({"core_instances": instances}),
            Self::Refused(why) => json!({"refused": why}),
        }
    }
}

impl fmt::Display for Linkable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Into(instances) => write!(
                out,
                "  ({instances} once linked: `portcullis provider link`)"
            ),
            Self::Refused(why) => write!(out, "  (cannot be linked: {why})"),
        }
    }
}

/// What an operator must do for an import.
pub(super) fn need_in_words(need: Need) -> &'static str {
    match need {
        Need::Nothing => "",
        Need::HttpGrant => "  (needs grants.http)",
        Need::KeyvalueGrant => "  (needs grants.keyvalue)",
        Need::Never => "  (never granted)",
    }
}

fn call(common: &Common, arguments: CallArgs) -> Result<ExitCode> {
    let mut config = common.load()?;
    config
        .dashboard
        .providers
        .retain(|provider| provider.name.as_str() == arguments.name);
    let [configured] = &config.dashboard.providers[..] else {
        return Err(UsageError(format!(
            "no provider is named `{}` in the configuration",
            arguments.name
        ))
        .into());
    };

    let deadline = configured.limits.deadline;
    let token = match arguments.token {
        Some(token) => token,
        None => read_token()?,
    };

    runtime()?.block_on(async {
        let providers = load_providers(&config, Touch::Everything).await?;
        for report in &providers.reports {
            if let Err(error) = &report.outcome {
                tell!("{}: provider `{}`: {error}", report.place, report.name);
                return Ok(ExitCode::from(USAGE));
            }
        }
        let provider = providers
            .registered
            .first()
            .and_then(|provider| provider.token.clone());
        let provider = provider
            .ok_or_else(|| UsageError("this provider takes no bearer tokens".to_owned()))?;
        let start = Instant::now();
        let verdict = provider
            .verify_token(&BearerToken::by_hand(token), start + deadline)
            .await;
        show(verdict, start.elapsed())
    })
}

fn read_token() -> Result<String> {
    let mut token = String::new();
    std::io::stdin()
        .read_to_string(&mut token)
        .context("the token on standard input is not text")?;
    Ok(token.trim().to_owned())
}

fn show(verdict: Result<TokenVerdict, CallFault>, took: Duration) -> Result<ExitCode> {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let (answer, code) = match verdict {
        Ok(TokenVerdict::Recognized(claims)) => {
            let scopes: Vec<_> = claims.scopes().map(ToString::to_string).collect();
            (
                json!({"verdict": "recognized", "principal": claims.principal(), "scopes": scopes, "micros": micros}),
                0,
            )
        }
        Ok(TokenVerdict::NotRecognized) => {
            (json!({"verdict": "not recognized", "micros": micros}), 0)
        }
        Ok(TokenVerdict::Unusable(why)) => (
            json!({"verdict": "unusable", "detail": why, "micros": micros}),
            0,
        ),
        Err(fault) => (
            json!({"verdict": "fault", "fault": fault.fault.kind(), "detail": fault.fault.to_string(), "micros": micros}),
            1,
        ),
    };

    out!("{answer}");
    Ok(ExitCode::from(code))
}
