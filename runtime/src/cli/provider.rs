use super::{Common, USAGE, UsageError, new_password, provider_check, provider_new, runtime, table};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use portcullis::app::{DrainRegistration, Touch, drain_registration, load_providers};
use portcullis::audit::last_faults;
use portcullis::auth::{BearerToken, CallFault, TokenVerdict};
use portcullis::sandbox::{CompilerProcess, Need, Sandbox, SandboxSettings};
use serde_json::json;
use std::io::Read;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Debug, Subcommand)]
pub(super) enum ProviderCommand {
    /// List the configured providers and whether each one loads
    List,
    /// Show what a component exports and imports, without running it
    Inspect(InspectArgs),
    /// Test a component against the contract before shipping it. Exits with 1 when it fails
    Check(provider_check::CheckArgs),
    /// Verify one token with one configured provider
    Call(CallArgs),
    /// Create a new provider: a directory that builds without changes
    New(provider_new::NewArgs),
    /// Hash a password for `builtin:basic`, from a hidden prompt or from standard input
    HashPassword,
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
    /// The token. Other users of this machine can see it; without the flag, the token is read from standard input
    #[arg(long)]
    token: Option<String>,
}

pub(super) fn run(common: &Common, command: ProviderCommand) -> Result<ExitCode> {
    match command {
        ProviderCommand::List => list(common),
        ProviderCommand::Inspect(arguments) => inspect(&arguments),
        ProviderCommand::Check(arguments) => provider_check::check(common, &arguments),
        ProviderCommand::Call(arguments) => call(common, arguments),
        ProviderCommand::New(arguments) => provider_new::new(&arguments),
        ProviderCommand::HashPassword => hash_password(),
    }
}

/// Prints what `builtin:basic` wants as a user's `password_hash`.
fn hash_password() -> Result<ExitCode> {
    out!("{}", new_password::read_and_hash()?);
    Ok(ExitCode::SUCCESS)
}

fn list(common: &Common) -> Result<ExitCode> {
    let config = common.load()?;
    let providers = runtime()?.block_on(load_providers(&config, Touch::Nothing))?;
    let mut rows =
        vec![["NAME", "STATE", "TOKENS", "SCOPES", "SHA-256", "LAST FAULT"].map(str::to_owned).to_vec()];
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
    ]);
    let mut faults = last_faults(&config.home);
    for (report, configured) in providers.reports.iter().zip(&config.dashboard.providers) {
        let scopes: Vec<_> = configured.grants.scopes.iter().map(ToString::to_string).collect();
        let last = faults.remove(report.name.as_str()).unwrap_or_default();
        let (state, digest) = match &report.outcome {
            Ok(inspection) if last.is_quarantined => {
                ("quarantined".to_owned(), inspection.sha256[..12].to_owned())
            }
            Ok(inspection) => ("loaded".to_owned(), inspection.sha256[..12].to_owned()),
            Err(error) => (format!("refused: {error}"), "-".to_owned()),
        };
        let fault = last.fault.unwrap_or_else(|| "-".to_owned());
        let tokens = if report.takes_tokens { "yes" } else { "no" };
        let scopes = if scopes.is_empty() { "-".to_owned() } else { scopes.join(" ") };
        rows.push(vec![report.name.to_string(), state, tokens.to_owned(), scopes, digest, fault]);
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
    let inspection = runtime()?.block_on(async {
        let sandbox = Sandbox::start(&settings)?;
        Ok::<_, anyhow::Error>(sandbox.inspect(&source).await?)
    });
    let inspection = inspection.with_context(|| arguments.component.clone())?;
    if arguments.json {
        out!("{}", serde_json::to_string_pretty(&inspection)?);
        return Ok(ExitCode::SUCCESS);
    }
    let (bytes, code) = (inspection.bytes, inspection.code_bytes);
    out!("size    {bytes} bytes ({code} without custom sections)\nsha256  {}", inspection.sha256);
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
    config.dashboard.providers.retain(|provider| provider.name.as_str() == arguments.name);
    let [configured] = &config.dashboard.providers[..] else {
        return Err(
            UsageError(format!("no provider is named `{}` in the configuration", arguments.name)).into()
        );
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
        let provider = providers.registered.first().and_then(|provider| provider.token.clone());
        let provider =
            provider.ok_or_else(|| UsageError("this provider takes no bearer tokens".to_owned()))?;
        let start = Instant::now();
        let verdict = provider.verify_token(&BearerToken::by_hand(token), start + deadline).await;
        show(verdict, start.elapsed())
    })
}

fn read_token() -> Result<String> {
    let mut token = String::new();
    std::io::stdin().read_to_string(&mut token).context("the token on standard input is not text")?;
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
        Ok(TokenVerdict::NotRecognized) => (json!({"verdict": "not recognized", "micros": micros}), 0),
        Ok(TokenVerdict::Unusable(why)) => {
            (json!({"verdict": "unusable", "detail": why, "micros": micros}), 0)
        }
        Err(fault) => (
            json!({"verdict": "fault", "fault": fault.fault.kind(), "detail": fault.fault.to_string(), "micros": micros}),
            1,
        ),
    };
    out!("{answer}");
    Ok(ExitCode::from(code))
}
