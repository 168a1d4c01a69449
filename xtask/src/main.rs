//! Work on the project that is more than one cargo command.

mod bench;
mod files;
mod limit;
mod prose;
mod shape;

use clap::Parser;

#[derive(Parser)]
#[command(about)]
enum Task {
    /// Measure the release binary under load, beside what limits it and beside its peers.
    Bench(bench::Options),
    /// Count what makes comments and documents hard to read, beside other projects.
    Prose,
    /// Count tokens per line and per function, comments and blank lines, per crate of a checkout.
    Shape(shape::Options),
    /// Serve what the dashboard is compared with: no auth, and the same check done natively.
    #[command(hide = true)]
    Limit {
        /// The token that the native check knows.
        #[arg(long)]
        token: String,
    },
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Bench(options) => bench::run(&options),
        Task::Prose => prose::run(),
        Task::Shape(options) => shape::run(&options),
        Task::Limit { token } => limit::serve(token),
    }
}
