//! The binary `portcullis`.

mod commands;

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

/// The main thread's stack is as large as a limit of the user or service makes it, which may be too
/// little.
const STACK_BYTES: usize = 8 * 1024 * 1024;

fn main() -> ExitCode {
    match on_large_stack(commands::parse) {
        Some(Ok(cli)) => {
            cli.take_known_name();
            on_large_stack(|| commands::main(cli)).unwrap_or(ExitCode::FAILURE)
        }
        Some(Err(code)) => code,
        None => ExitCode::FAILURE,
    }
}

/// Runs a function on a thread of its own; `None` if it panicked, or there is no thread.
fn on_large_stack<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match thread::Builder::new()
        .name("main".into())
        .stack_size(STACK_BYTES)
        .spawn(function)
    {
        Ok(thread) => thread.join().ok(),
        Err(error) => {
            let _ = writeln!(
                io::stderr(),
                "portcullis: no thread can be started: {error}"
            );
            None
        }
    }
}
