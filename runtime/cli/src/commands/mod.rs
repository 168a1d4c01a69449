//! The command line: one file or folder per subcommand.

/// Prints a line. A full disk, for example, ends the command with an error, not a panic.
macro_rules! out {
    ($($arguments:tt)*) => {{
        use std::io::Write as _;
        writeln!(crate::commands::output::stdout(), $($arguments)*)?
    }};
}

/// Writes a line to stderr, and ignores a closed one.
macro_rules! tell {
    ($($arguments:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($arguments)*);
    }};
}

mod audit;
mod bounded_text;
mod compile_component;
mod config_check;
mod descriptors;
mod doctor;
mod drain;
mod gateway;
mod gateway_restart;
mod json_failure;
mod known_name;
mod logging;
mod needs;
mod new_password;
mod output;
mod privacy;
mod progress;
mod provider;
mod provider_check;
mod provider_link;
mod provider_new;
mod reference;
mod running;
mod secret;
mod serve;
mod service_manager;
mod session;
mod shared_names;
mod signals;
mod start_mistakes;
mod starter;
mod table;
mod tls_failure;
mod torture;
mod turn_guard;
mod up;
mod user;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use portcullis_dashboard::config::{self, Config, ConfigError, Environment, GatewayView, Survey};
use portcullis_sandbox::CONTRACT_VERSIONS;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

/// Bad usage or configuration (sysexits' EX_USAGE).
const USAGE: u8 = 64;
/// The gateway has to be started again (sysexits' EX_TEMPFAIL, as the original exits for a
/// restart).
const RESTART: u8 = 75;

static ACCEPTS: LazyLock<String> = LazyLock::new(|| {
    let contracts: Vec<_> = CONTRACT_VERSIONS
        .iter()
        .map(|version| format!("portcullis:auth@{version}"))
        .collect();
    format!("Loads providers of the contract {}.", contracts.join(", "))
});

/// A dashboard for agent gateways with every auth provider in a sandbox.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, after_help = ACCEPTS.as_str(), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Directory with the configuration and the state [default: $HERMES_HOME, else ~/.hermes]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Configuration file [default: portcullis.yaml in the home]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Format of the log lines on stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Exit when the process with this id exits
    #[arg(long, global = true, hide = true, value_name = "PID")]
    parent: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    Text,
    Json,
}

impl LogFormat {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway and the dashboard together over one home
    Up(up::UpArgs),
    /// Run the dashboard
    Serve(serve::ServeArgs),
    /// Run the gateway
    Gateway(gateway::GatewayArgs),
    /// Restart the gateway and cancel every drain
    GatewayRestart(gateway_restart::GatewayRestartArgs),
    /// Begin, cancel, watch or wait for a drain, as a platform service does
    Drain(drain::DrainArgs),
    /// List and end the sessions of people
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Check, search and export the audit log
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// List, inspect, test, create and link auth providers
    #[command(subcommand)]
    Provider(provider::ProviderCommand),
    /// Add, change, remove and list the users of `builtin:basic` in a users file
    #[command(subcommand)]
    User(user::UserCommand),
    /// Run hostile providers in the sandbox, with the limits of the configuration
    Torture(torture::TortureArgs),
    /// Check the configuration, or print its schema
    #[command(subcommand)]
    Config(config_check::ConfigCommand),
    /// Find problems of the configuration, the home and the machine
    Doctor(doctor::DoctorArgs),
    /// Generate secrets
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// Print the OpenAPI document of the dashboard's HTTP routes
    Openapi,
    /// Print a completion script for a shell
    Completions(reference::CompletionsArgs),
    /// Write the man pages of all commands into a directory
    Man(reference::ManArgs),
    /// Compile one component (the dashboard starts this itself)
    #[command(hide = true)]
    CompileComponent(compile_component::CompileArgs),
    /// Guard one turn of the gateway (the gateway starts this itself)
    #[command(hide = true)]
    TurnGuard(turn_guard::TurnGuardArgs),
}

impl Command {
    /// The `component` of log lines in JSON.
    fn component(&self) -> &'static str {
        match self {
            Self::Up(_) => "up",
            Self::Serve(_) => "dashboard",
            Self::Gateway(_) => "gateway",
            _ => "command",
        }
    }

    /// Returns whether programs read its log, rather than the person who typed the command.
    fn is_service(&self) -> bool {
        matches!(self, Self::Up(_) | Self::Serve(_) | Self::Gateway(_))
    }
}

/// A mistake in how the program was called or configured.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(String);

impl Common {
    fn load(&self) -> Result<Config> {
        let environment = Environment::read();
        Ok(config::load(
            self.home(&environment)?,
            self.config.clone(),
            environment,
        )?)
    }

    /// What can be read of the settings of dashboard and gateway, with every mistake.
    fn survey(&self) -> Result<Survey> {
        let environment = Environment::read();
        Ok(config::survey(
            self.home(&environment)?,
            self.config.clone(),
            environment,
        )?)
    }

    /// The gateway's settings, without the secrets of the dashboard.
    fn load_for_gateway(&self) -> Result<GatewayView> {
        let environment = Environment::read();
        Ok(config::load_for_gateway(
            self.home(&environment)?,
            self.config.clone(),
            environment,
        )?)
    }

    fn home(&self, environment: &Environment) -> Result<PathBuf> {
        std::path::absolute(environment.home(self.home.clone()))
            .context("the working folder is gone")
    }
}

/// Parses the command line. Prints mistakes, help and the version, and returns the exit code for
/// them. With `--json`, a mistake is an object on stdout as well.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        // Help and version are no mistakes.
        let is_mistake = error.use_stderr();
        let code = if is_mistake { USAGE } else { 0 };
        let _ = error.print();
        if is_mistake && json_failure::is_wanted() {
            json_failure::print("usage", &json_failure::sentence_of(&error.to_string()));
        }
        ExitCode::from(code)
    })
}

/// Runs the command, prints its error and returns its exit code. With `--json`, the error is an
/// object on stdout as well.
pub(crate) fn main(cli: Cli) -> ExitCode {
    let logs_json = cli.common.log_format == LogFormat::Json && cli.command.is_service();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            match logs_json {
                // Every line of such a log is an object.
                true => tracing::error!("{error:#}"),
                false => tell!("portcullis: {error:#}"),
            }
            let usage = error.is::<ConfigError>() || error.is::<UsageError>();
            if json_failure::is_wanted() {
                let word = if usage { "usage" } else { "failed" };
                json_failure::print(word, &format!("{error:#}"));
            }
            ExitCode::from(if usage { USAGE } else { 1 })
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let Cli { common, command } = cli;
    let component = command.component();
    match command {
        Command::TurnGuard(arguments) => return turn_guard::run(&arguments),
        Command::CompileComponent(arguments) => return compile_component::run(&arguments),
        Command::Secret(command) => return secret::run(&common, &command),
        Command::Openapi => return reference::openapi(),
        Command::Completions(arguments) => return reference::completions(&arguments),
        Command::Man(arguments) => return reference::man(&arguments),
        _ => logging::start(common.log_format, component),
    }

    match command {
        Command::Up(arguments) => up::run(&common, &arguments),
        Command::Serve(arguments) => serve::run(&common, &arguments),
        Command::Gateway(arguments) => gateway::run(&common, &arguments),
        Command::GatewayRestart(arguments) => gateway_restart::run(&common, &arguments),
        Command::Drain(arguments) => drain::run(&common, &arguments),
        Command::Session(command) => session::run(&common, &command),
        Command::Audit(command) => audit::run(&common, &command),
        Command::Provider(command) => provider::run(&common, command),
        Command::User(command) => user::run(command),
        Command::Torture(arguments) => torture::run(&common, &arguments),
        Command::Config(command) => config_check::run(&common, &command),
        Command::Doctor(arguments) => doctor::run(&common, &arguments),
        Command::Secret(_)
        | Command::Openapi
        | Command::Completions(_)
        | Command::Man(_)
        | Command::TurnGuard(_)
        | Command::CompileComponent(_) => Ok(ExitCode::SUCCESS),
    }
}

/// The runtime of a command that waits for things.
fn runtime() -> Result<tokio::runtime::Runtime> {
    needs::runtime(needs::cores(), 0)
}

/// The one line on stdout that says that requests are accepted.
fn announce_ready(component: &str, port: u16) {
    say(&format!("PORTCULLIS_READY {component} port={port}\n"));
}

/// Prints to stdout. A closed stdout is ignored, since it must not end a server.
fn say(text: &str) {
    let mut stdout = io::stdout();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}
