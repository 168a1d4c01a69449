//! The binary `portcullis`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
