//! An axum service with one route behind a provider: `embed KEYS.json [COMPONENT.wasm]`. The
//! default is the bundled `service-keys`.

use axum::routing::get;
use axum::{Extension, Router};
use portcullis_tower::{
    Capabilities, ComponentSource, Guard, Limits, Principal, ProviderName, ProviderSpec,
};
use std::error::Error;
use tokio::net::TcpListener;

async fn notes(Extension(caller): Extension<Principal>) -> String {
    format!("notes for {} of {}\n", caller.name(), caller.provider())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let keys = arguments
        .next()
        .ok_or("usage: embed KEYS.json [COMPONENT.wasm]")?;
    let source = match arguments.next() {
        Some(path) => ComponentSource::File(path.into()),
        None => ComponentSource::Bundled(
            portcullis_bundled::component("service-keys").unwrap_or_default(),
        ),
    };
    let provider = ProviderSpec {
        name: ProviderName::new("keys")?,
        source,
        sha256: None,
        settings: [("keys".to_owned(), tokio::fs::read_to_string(keys).await?)].into(),
        capabilities: Capabilities::default(),
        limits: Limits::default(),
        link_modules: false,
    };
    let guard = Guard::builder()
        .provider(provider, &["notes.read"])
        .require("notes.read")
        .build()
        .await?;
    guard
        .not_loaded()
        .iter()
        .for_each(|missing| eprintln!("{missing}"));

    // Routes that are added after `layer` are open.
    let router = Router::new().route("/v1/notes", get(notes)).layer(guard);
    let router = router.route("/healthz", get(|| async { "ok\n" }));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}
