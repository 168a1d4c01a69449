//! `portcullis audit`: checks, searches and exports the audit log. The dashboard may run meanwhile.

use super::output;
use super::{Common, UsageError};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use portcullis_dashboard::audit::{
    self, AUDIT_FILE, EventName, Expected, Filter, IMPORTANT_FILE, Moment, PublicKey,
};
use portcullis_dashboard::audit::{Outcome, Remark, RemarkKind, Summary};
use portcullis_dashboard::config::Environment;
use serde_json::{Map, Value};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit code of `verify`: there are no findings, but nothing proves some of the lines.
const UNKNOWN: u8 = 2;
/// Fields that `query` leaves out of its text: they say nothing to a person, or are at the start of
/// the line.
const NOT_SHOWN: &[&str] = &[
    "ts",
    "event",
    "mac",
    "chain",
    "previous",
    "head",
    "key",
    "signature",
];

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Find lines that were changed, removed, added or moved. Exits with 1 if there are any, and
    /// with 2 if that cannot be known
    Verify(VerifyArgs),
    /// Print the public part of the key that signs the log. Keep it outside of this machine
    Key,
    /// Search the log
    Query(QueryArgs),
    /// Print lines of the log in the format of another program
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The log to check, with the files that were moved aside [default: both logs of the home]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The key that signs the log, as `audit key` prints it [default: that in the home]
    #[arg(long, value_name = "HEX")]
    public_key: Option<PublicKey>,
    /// A number (seq) that the log has reached, known from elsewhere. Without --log: of
    /// logs/dashboard-auth.log
    #[arg(long, value_name = "NUMBER")]
    expect_seq: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    lines: LineArgs,
    /// Print the lines as they are in the log: one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    lines: LineArgs,
    /// Output format
    #[arg(long, value_enum)]
    format: ExportFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// The lines as they are in the log: one JSON object per line
    Json,
    /// Comma-separated values, with a heading
    Csv,
    /// Events of the Open Cybersecurity Schema Framework: one JSON object per line
    Ocsf,
}

/// Which lines.
#[derive(Debug, Args)]
struct LineArgs {
    /// Only lines about this user id, e-mail address, account or service
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only lines about this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Only lines of this event
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// Only lines from this time on: 2026-01-31T12:00:00Z, 2026-01-31, or a time before now: 90s,
    /// 30m, 24h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only lines before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Read the log that a flood cannot push out. It reaches further back and has no calls
    #[arg(long, conflicts_with = "log")]
    important: bool,
    /// Read this log [default: logs/dashboard-auth.log in the home]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

pub(super) fn run(common: &Common, command: &AuditCommand) -> Result<ExitCode> {
    let home = common.home(&Environment::read())?;
    match command {
        AuditCommand::Verify(arguments) => verify(&home, arguments),
        AuditCommand::Key => {
            let key = audit::public_key(&home)
                .with_context(|| format!("cannot read or make the key in {}", home.display()))?;
            out!("{key}");
            Ok(ExitCode::SUCCESS)
        }
        AuditCommand::Query(arguments) => query(&home, arguments),
        AuditCommand::Export(arguments) => export(&home, arguments),
    }
}

fn verify(home: &Path, arguments: &VerifyArgs) -> Result<ExitCode> {
    let logs = match &arguments.log {
        Some(log) => vec![absolute(log)?],
        None => vec![home.join(AUDIT_FILE), home.join(IMPORTANT_FILE)],
    };
    let mut found = Vec::new();
    for (place, log) in logs.iter().enumerate() {
        let seq = arguments.expect_seq.filter(|_| place == 0);
        let expected = Expected {
            public_key: arguments.public_key,
            seq,
            ..Expected::default()
        };
        // A remark that cannot be printed does not stop the check. The command fails after it.
        let mut printed = Ok(());
        let summary = audit::verify(home, log, &expected, &mut |remark| {
            if printed.is_ok() {
                printed = print(&told(&remark));
            }
        })
        .with_context(|| format!("cannot read {}", log.display()))?;
        if let Some(summary) = summary {
            printed = printed.and_then(|()| print(&summed_up(log, &summary)));
            found.push(summary.outcome());
        }
        printed.context("cannot print the result")?;
    }

    if found.is_empty() {
        bail!(
            "there is no audit log: {} does not exist",
            logs[0].display()
        );
    }

    Ok(if found.contains(&Outcome::Findings) {
        ExitCode::FAILURE
    } else if found.contains(&Outcome::Unknown) {
        ExitCode::from(UNKNOWN)
    } else {
        ExitCode::SUCCESS
    })
}

/// Prints text that ends with a newline.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = output::stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn told(remark: &Remark) -> String {
    let kind = match remark.kind {
        RemarkKind::Finding => "FINDING",
        RemarkKind::Unknown => "UNKNOWN",
        RemarkKind::Note => "note",
    };
    let mut place = String::new();
    if let (Some(file), Some(line)) = (&remark.file, remark.line) {
        place.push_str(&format!("{file}:{line}: "));
    }
    if let Some(seq) = remark.seq {
        place.push_str(&format!("seq {seq}: "));
    }
    format!("{kind}: {place}{}\n", remark.sentence)
}

fn summed_up(log: &Path, summary: &Summary) -> String {
    let count = |count: u64, one: &str| {
        if count == 1 {
            format!("1 {one}")
        } else {
            format!("{count} {one}s")
        }
    };

    let files = u64::try_from(summary.files).unwrap_or(u64::MAX);
    let reach = match (summary.first_seq, summary.last_seq) {
        (Some(first), Some(last)) => format!("seq {first} to {last}"),
        _ => "no line of a chain".to_owned(),
    };
    let signed = match summary.signed_seq {
        Some(seq) => format!("signed up to seq {seq}"),
        None => "not signed".to_owned(),
    };
    let result = match summary.outcome() {
        Outcome::Good => "good".to_owned(),
        Outcome::Unknown => "unknown".to_owned(),
        Outcome::Findings => count(summary.findings, "finding"),
    };

    format!(
        "{}: {} in {}, {reach}, {}, {signed}: {result}\n",
        log.display(),
        count(summary.lines, "line"),
        count(files, "file"),
        count(summary.checkpoints, "checkpoint"),
    )
}

fn query(home: &Path, arguments: &QueryArgs) -> Result<ExitCode> {
    let form = |text: &str, fields: &Map<String, Value>| {
        if arguments.json {
            text.to_owned()
        } else {
            shown(fields)
        }
    };
    print_lines(home, &arguments.lines, None, &form)
}

fn export(home: &Path, arguments: &ExportArgs) -> Result<ExitCode> {
    let format = arguments.format;
    let heading = (format == ExportFormat::Csv).then(audit::csv_heading);
    let form = |text: &str, fields: &Map<String, Value>| match format {
        ExportFormat::Json => text.to_owned(),
        ExportFormat::Csv => audit::csv_row(fields),
        ExportFormat::Ocsf => audit::ocsf_event(fields).to_string(),
    };
    print_lines(home, &arguments.lines, heading, &form)
}

/// Prints what `form` makes of each line that is wanted.
fn print_lines(
    home: &Path,
    lines: &LineArgs,
    heading: Option<String>,
    form: &dyn Fn(&str, &Map<String, Value>) -> String,
) -> Result<ExitCode> {
    let filter = filter(lines)?;
    let log = match &lines.log {
        Some(log) => absolute(log)?,
        None if lines.important => home.join(IMPORTANT_FILE),
        None => home.join(AUDIT_FILE),
    };
    let mut stdout = BufWriter::new(io::stdout().lock());
    if let Some(heading) = heading {
        // In the buffer: it is printed with the first lines.
        writeln!(stdout, "{heading}")?;
    }

    // The search ends at the first line that cannot be printed.
    let mut printed = Ok(());
    let unreadable = audit::search(home, &log, &filter, &mut |text, fields| {
        printed = writeln!(stdout, "{}", form(text, fields));
        printed
            .as_ref()
            .copied()
            .map_err(|error| error.kind().into())
    });
    let printed = printed.and_then(|()| stdout.flush());
    if printed
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::BrokenPipe)
    {
        return Ok(ExitCode::SUCCESS);
    }
    printed.context("cannot print the lines")?;

    match unreadable.with_context(|| format!("cannot read {}", log.display()))? {
        None => bail!("there is no audit log: {} does not exist", log.display()),
        Some(0) => {}
        Some(1) => tell!("1 line cannot be read: see `portcullis audit verify`"),
        Some(count) => tell!("{count} lines cannot be read: see `portcullis audit verify`"),
    }

    Ok(ExitCode::SUCCESS)
}

fn filter(lines: &LineArgs) -> Result<Filter> {
    if let Some(event) = &lines.event
        && !EventName::is_known(event)
    {
        let hint = EventName::nearest(event)
            .map_or_else(String::new, |near| format!("; did you mean {near}?"));
        return Err(UsageError(format!(
            "{event:?} is no event of the audit log{hint}; docs/reference/audit-events.md lists them"
        ))
        .into());
    }

    Ok(Filter {
        user: lines.user.clone(),
        provider: lines.provider.clone(),
        event: lines.event.clone(),
        since: lines.since,
        until: lines.until,
    })
}

/// A line for a person: the time, the event, and `key=value` for each other field.
fn shown(fields: &Map<String, Value>) -> String {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut line = format!(
        "{} {}",
        text("ts").escape_debug(),
        text("event").escape_debug()
    );
    for (key, value) in fields
        .iter()
        .filter(|(key, _)| !NOT_SHOWN.contains(&key.as_str()))
    {
        let value = match value {
            Value::Null => continue,
            Value::String(text)
                if text.chars().all(|c| c.is_ascii_graphic() && c != '"') && !text.is_empty() =>
            {
                text.clone()
            }
            // Text that a stranger chose must not move the cursor.
            Value::String(text) => format!("{text:?}"),
            other => other
                .to_string()
                .escape_debug()
                .to_string()
                .replace("\\\"", "\""),
        };
        line.push_str(&format!(" {}={value}", key.escape_debug()));
    }

    line
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).context("the working folder is gone")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_of_a_stranger_cannot_move_the_cursor() {
        let fields = json!({
            "ts": "T", "event": "login_failure", "account": "a\u{1b}[2J b", "ip": "192.0.2.1", "list": ["\u{9b}"], "chain": "x",
        });
        let line = shown(fields.as_object().unwrap());
        assert!(
            line.starts_with(r#"T login_failure account="a\u{1b}[2J b" ip=192.0.2.1 list="#),
            "{line}"
        );
        assert!(
            line.chars().all(|c| !c.is_control()) && !line.contains("chain"),
            "{line}"
        );
    }
}
