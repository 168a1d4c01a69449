//! What the metrics of the dashboard and of the gateway have in common: the text of `GET /metrics`
//! in two formats, the metrics of the process, and those of the build.
//!
//! **Invariant:** both formats hold the same series. A figure that the system does not give is left
//! out.

mod always_listed;
mod build_info;
mod process;
mod text_format;

pub use always_listed::AlwaysListed;
pub use text_format::TextFormat;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

/// Returns the text of these metrics, and of those of the process and the build. Reads `/proc`, so
/// it blocks for a moment.
pub fn render(registries: &[&Registry], format: TextFormat) -> String {
    let mut text = String::new();
    let common = [build_info::registry(), process::registry()];
    for registry in registries.iter().copied().chain(&common) {
        // Writing to a string does not fail.
        let _ = encode_registry(&mut text, registry);
    }
    let _ = encode_eof(&mut text);
    format.of_open_metrics(text)
}
