//! The binary `portcullis`.

mod cli;

use std::process::ExitCode;
use std::thread;

/// The main thread's stack is as large as a limit of the user or service makes it, which may be too little.
const STACK_BYTES: usize = 8 * 1024 * 1024;

fn main() -> ExitCode {
    let started = thread::Builder::new().name("main".into()).stack_size(STACK_BYTES).spawn(cli::main);
    let Ok(main) = started else { return cli::main() };
    main.join().unwrap_or(ExitCode::FAILURE)
}
