//! What a process shows of itself: metrics with its build, traces, request identifiers, and log
//! lines at a bounded rate. Also what clients accept, which decides the format of metrics.
//!
//! **Invariant:** nothing here grows with what strangers send.

mod accept;
pub mod exposition;
pub mod flood_limit;
pub mod request_id;
pub mod telemetry;
pub mod trace_context;

pub use accept::accept_quality;

/// Version of wasmtime that the manifests pin.
pub const WASMTIME_VERSION: &str = "48.0.8";

#[cfg(test)]
mod tests {
    use super::WASMTIME_VERSION;

    #[test]
    fn version_is_the_one_that_is_built_in() {
        let manifest = include_str!("../../../Cargo.toml");
        assert!(manifest.contains(&format!("wasmtime = {{ version = \"={WASMTIME_VERSION}\"")));
    }
}
