//! What a run was made on and with.

use super::servers::Program;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use portcullis_tests::binary;
use std::fs;
use std::process::Command;

/// The command, the machine, the versions, the commit and the date, in Markdown.
pub(crate) fn facts(arguments: &[String]) -> String {
    let nginx = version(Program::Nginx, "-v").replace("nginx version: nginx/", "");
    let caddy = version(Program::Caddy, "version");
    let arguments: String = arguments
        .iter()
        .map(|argument| format!(" {argument}"))
        .collect();
    format!(
        "```sh\ncargo build --release && cargo bench --package portcullis-tests --bench front_door --{arguments}\n```\n\n\
         {}, commit {} (binary of {}), {}, nginx {nginx}, Caddy {caddy}, {}.",
        machine(),
        said_by(Command::new("git").args(["rev-parse", "--short", "HEAD"])),
        built(),
        said_by(Command::new("rustc").arg("--version")),
        Timestamp::now().to_zoned(TimeZone::UTC).date(),
    )
}

fn machine() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores of {model}, Linux {}",
        said_by(Command::new("uname").arg("-r"))
    )
}

fn version(program: Program, flag: &str) -> String {
    program.path().map_or_else(
        || "not installed".to_owned(),
        |path| said_by(Command::new(path).arg(flag)),
    )
}

/// When the binary under test was built: `cargo bench` does not build it.
fn built() -> String {
    let modified = fs::metadata(binary())
        .and_then(|found| found.modified())
        .ok();
    let built = modified.and_then(|modified| Timestamp::try_from(modified).ok());
    built.map_or_else(
        || "at an unknown time".to_owned(),
        |built| built.strftime("%F %R UTC").to_string(),
    )
}

/// The first line that a program prints.
fn said_by(command: &mut Command) -> String {
    let Ok(output) = command.output() else {
        return "unknown".to_owned();
    };
    // nginx says its version on stderr.
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text)
        .lines()
        .next()
        .unwrap_or("unknown")
        .trim()
        .to_owned()
}
