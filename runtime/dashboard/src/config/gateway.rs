//! The settings under `gateway`.

use super::secret_value::read_judged;
use super::section::{Reader, References, Section, values};
use super::{GATEWAY_LISTEN, GatewayConfig, Secret};
use portcullis_auth::secret_strength::Strength;
use std::ffi::OsString;
use std::time::Duration;

const DEFAULT_GATEWAY: &str = "127.0.0.1:8642";
const DEFAULT_MAX_TURNS: usize = 64;
const DEFAULT_GRACE_SECONDS: u64 = 60;
/// A day: the longest time that may be set for turns.
const MAX_TURN_SECONDS: i64 = 86_400;

pub(super) fn read_gateway(
    root: &mut Section,
    secrets: References,
    reader: &mut Reader<'_>,
) -> GatewayConfig {
    let mut section = root.section("gateway", reader);
    section.note_place(GATEWAY_LISTEN, "listen", reader);
    let listen = section.parsed("listen", reader, |text| {
        text.parse()
            .map_err(|_| format!("{text:?} is no address and port like {DEFAULT_GATEWAY}"))
    });
    let command = section.parsed_list("command", reader, |text| match text {
        "" => Err("must not be empty"),
        text if text.contains('\0') => Err("must not contain NUL"),
        text => Ok(OsString::from(text)),
    });

    let shutdown_grace = section.integer("shutdown_grace_seconds", reader, 0..=MAX_TURN_SECONDS);
    let turn_timeout: Option<u64> =
        section.integer("turn_timeout_seconds", reader, 1..=MAX_TURN_SECONDS);

    reader.references = secrets;
    let api_key = read_api_key(&mut section, reader);
    reader.references = References::Follow;

    let config = GatewayConfig {
        listen: listen.unwrap_or_else(|| {
            DEFAULT_GATEWAY
                .parse()
                .expect("a constant that is an address")
        }),
        command: values(command),
        max_turns: section
            .integer("max_turns", reader, 1..=10_000)
            .unwrap_or(DEFAULT_MAX_TURNS),
        shutdown_grace: Duration::from_secs(shutdown_grace.unwrap_or(DEFAULT_GRACE_SECONDS)),
        turn_timeout: turn_timeout.map(Duration::from_secs),
        api_key,
    };

    section.finish(reader);
    config
}

fn read_api_key(section: &mut Section, reader: &mut Reader<'_>) -> Option<Secret> {
    let name = section.full("api_key");
    let node = section.take_secret("api_key", reader)?;
    read_judged(&name, &node, Strength::TOKEN, reader)
}
