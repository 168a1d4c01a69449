use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Which build this is.
pub(super) fn registry() -> Registry {
    let builds = Family::<[(&str, &str); 2], Gauge>::default();
    let build = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("wasmtime", crate::WASMTIME_VERSION),
    ];
    builds.get_or_create(&build).set(1);
    let mut registry = Registry::with_prefix("portcullis");
    registry.register(
        "build_info",
        "Version of Portcullis and of its WebAssembly engine, always 1",
        builds,
    );

    registry
}
