use super::output::UntilClosed;
use super::{Common, OutputFormat, progress, runtime};
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use clap::Args;
use portcullis_author::torture::{
    ATTACKS, AttackRow, AttackRunner, AttackVerdict, CallTimes, Footprint, TortureReport,
};
use portcullis_dashboard::config::Config;
use portcullis_sandbox::{ChildLimits, CompilerProcess, Limits};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct TortureArgs {
    /// Minimum number of calls per attack
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    calls: u32,
    /// Number of rounds; memory and open files are compared after each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Run only attacks whose name contains this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Format of the result
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// Time in which one attack's component compiles.
const COMPILE_TIME: Duration = Duration::from_secs(5);

const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const DIM: Style = Style::new().dimmed();

pub(super) fn run(common: &Common, arguments: &TortureArgs) -> Result<ExitCode> {
    let config = common.load()?;
    let report = runtime()?.block_on(torture(&config, arguments))?;
    match arguments.format {
        OutputFormat::Json => out!("{}", serde_json::to_string_pretty(&report)?),
        OutputFormat::Text => print_summary(&report)?,
    }
    let is_broken = report
        .rows
        .iter()
        .any(|row| row.verdict == AttackVerdict::Broken);
    Ok(ExitCode::from(u8::from(is_broken)))
}

/// The operator's real limits: where providers differ, what the most generous of them gives away.
fn loosest(config: &Config) -> Limits {
    let providers = &config.dashboard.providers;
    let loosest = providers
        .iter()
        .map(|provider| provider.limits)
        .reduce(|one, other| Limits {
            memory_bytes: one.memory_bytes.max(other.memory_bytes),
            deadline: one.deadline.max(other.deadline),
            calls_per_second: one.calls_per_second.max(other.calls_per_second),
            component_bytes: one.component_bytes.max(other.component_bytes),
            table_elements: one.table_elements.max(other.table_elements),
            core_instances: one.core_instances.max(other.core_instances),
        });

    loosest.unwrap_or_default()
}

async fn torture(config: &Config, arguments: &TortureArgs) -> Result<TortureReport> {
    let limits = loosest(config);
    let memory = config.dashboard.guest_memory_bytes;
    // Some take the compiler minutes, which shows no more than that they are cut off.
    let limit = ChildLimits {
        cpu: COMPILE_TIME,
        wall: COMPILE_TIME,
        ..ChildLimits::default()
    };
    let compiler = CompilerProcess {
        limits: limit,
        ..CompilerProcess::of_this_program()
    };
    let runner = AttackRunner::open(limits, memory, Some(compiler)).await?;
    let quiet = runner.quiet().await;
    let chosen: Vec<_> = ATTACKS
        .iter()
        .filter(|attack| {
            arguments
                .only
                .as_ref()
                .is_none_or(|text| attack.name.contains(text))
        })
        .collect();

    if arguments.format == OutputFormat::Text {
        print_head(limits, &quiet, chosen.len())?;
    }

    let before = Footprint::now();
    let mut footprint = vec![before];
    let mut rows = Vec::new();

    for round in 1..=arguments.rounds {
        for (place, attack) in (1..).zip(&chosen) {
            progress::show(&format!(
                "round {round}, {place}/{} {} …",
                chosen.len(),
                attack.name
            ));
            let row = runner.run(attack, arguments.calls as usize).await;
            progress::clear();
            if arguments.format == OutputFormat::Text {
                print_row(&row)?;
            }
            rows.push(row);
        }
        footprint.push(Footprint::settled(before).await);
    }

    Ok(TortureReport {
        memory_bytes: limits.memory_bytes,
        deadline_ms: u64::try_from(limits.deadline.as_millis()).unwrap_or(u64::MAX),
        quiet,
        footprint,
        rows,
    })
}

fn print_head(limits: Limits, quiet: &CallTimes, count: usize) -> Result<()> {
    let mut out = UntilClosed(anstream::stdout().lock());
    writeln!(
        out,
        "{count} attacks, each call with {} MiB and {} ms. A bystander's calls take {:.2} ms (p50), {:.2} ms (p99).\n",
        limits.memory_bytes >> 20,
        limits.deadline.as_millis(),
        quiet.p50_ms,
        quiet.p99_ms
    )?;

    writeln!(
        out,
        "{DIM}  {:<26}{:>10}{:>11}{:>15}  what caught it{DIM:#}",
        "attack", "over after", "memory", "bystander p99"
    )?;
    Ok(())
}

fn print_row(row: &AttackRow) -> Result<()> {
    let (mark, style) = match row.verdict {
        AttackVerdict::Held => ("✓", GREEN),
        AttackVerdict::Strained => ("!", YELLOW),
        AttackVerdict::Broken => ("✗", RED),
    };
    let slowed = if row.slowed { YELLOW } else { Style::new() };
    let mut out = UntilClosed(anstream::stdout().lock());
    writeln!(
        out,
        "{style}{mark} {:<26}{style:#}{:>7.0} ms{:>7.1} MiB{slowed}{:>12.2} ms{slowed:#}  {style}{}{style:#}",
        row.attack,
        row.after_ms,
        mebibytes(row.memory_bytes as u64),
        row.bystander.p99_ms,
        caught(row),
    )?;

    writeln!(out, "{DIM}    {}{DIM:#}", row.tries)?;
    Ok(())
}

fn caught(row: &AttackRow) -> String {
    match row.verdict {
        AttackVerdict::Broken => format!("NOTHING: {}", row.reason),
        _ => row.reason.clone(),
    }
}

fn print_summary(report: &TortureReport) -> Result<()> {
    let count = |verdict| {
        report
            .rows
            .iter()
            .filter(|row| row.verdict == verdict)
            .count()
    };

    let (held, strained, broken) = (
        count(AttackVerdict::Held),
        count(AttackVerdict::Strained),
        count(AttackVerdict::Broken),
    );
    let calls: usize = report.rows.iter().map(|row| row.calls).sum();
    let mut out = UntilClosed(anstream::stdout().lock());
    writeln!(out, "\n{calls} hostile calls.")?;

    for (round, footprint) in report.footprint.iter().enumerate() {
        let when = if round == 0 {
            "before".to_owned()
        } else {
            format!("after round {round}")
        };
        let memory = mebibytes(footprint.memory_bytes);
        writeln!(
            out,
            "{when}: {memory:.1} MiB of memory, {} open files",
            footprint.open_files
        )?;
    }

    match (broken, strained) {
        (0, 0) => writeln!(out, "{GREEN}The wall held: {held} of {held}.{GREEN:#}")?,
        (0, _) => writeln!(
            out,
            "{YELLOW}The wall held: nothing got through. {strained} of {} were late, slowed the bystander or met another \
             limit than meant (marked !).{YELLOW:#}",
            report.rows.len()
        )?,
        _ => writeln!(
            out,
            "{RED}THE WALL DID NOT HOLD: {broken} of {} got through.{RED:#}",
            report.rows.len()
        )?,
    }

    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}
