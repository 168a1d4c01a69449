//! `dashboard.connections`: how many connections clients may have at once.

use super::ConnectionSettings;
use super::section::{Reader, Section};

/// The largest number that can be set.
const MAX_CONNECTIONS: i64 = 65_536;

/// Reads both numbers. A number per address that leaves no connection to other addresses is a
/// finding.
pub(super) fn read_connections(
    section: &mut Section,
    reader: &mut Reader<'_>,
) -> ConnectionSettings {
    let mut connections = section.section("connections", reader);
    let place = connections.place_of("per_address");
    let in_all: Option<usize> = connections.integer("in_all", reader, 2..=MAX_CONNECTIONS);
    let per_address: Option<usize> =
        connections.integer("per_address", reader, 1..=MAX_CONNECTIONS);
    connections.finish(reader);

    if let Some(((in_all, per_address), place)) = in_all.zip(per_address).zip(place)
        && per_address >= in_all
    {
        let text = format!(
            "`dashboard.connections.per_address` is not below `in_all`: one address gets {} connections, so that it cannot \
             shut out the others",
            in_all - 1
        );
        reader.findings.push((place, text));
    }

    ConnectionSettings {
        in_all,
        per_address,
    }
}
