//! The list of agents that `--fleet` names.

use super::client::DashboardClient;
use super::roots;
use super::target::{check_address, checked_secret, read_secret};
use portcullis_dashboard::config::{Environment, FleetEntry, Secret, SecretSource, read_fleet};
use std::path::Path;

/// One agent of a fleet.
pub(super) struct Agent {
    pub(super) name: String,
    pub(super) client: DashboardClient,
}

/// Reads the list, the secrets and the certificate authorities. `cacert` holds for entries without
/// one.
///
/// # Errors
/// Every mistake in the file, or the first of a secret or an authority, each with its place.
pub(super) fn read(file: &Path, cacert: Option<&Path>) -> Result<Vec<Agent>, String> {
    let entries = read_fleet(file, check_address).map_err(|error| error.to_string())?;
    entries
        .into_iter()
        .map(|entry| agent(entry, cacert))
        .collect()
}

fn agent(entry: FleetEntry, cacert: Option<&Path>) -> Result<Agent, String> {
    let FleetEntry {
        name,
        url,
        secret,
        cacert: own,
        place,
    } = entry;
    let secret =
        secret_of(&secret).map_err(|mistake| format!("{place}: `{name}`: secret: {mistake}"))?;
    let tls = roots::tls(&url, own.as_deref().or(cacert))
        .map_err(|mistake| format!("{place}: `{name}`: cacert: {mistake}"))?;

    Ok(Agent {
        client: DashboardClient::new(&url, None, Ok(secret), tls),
        name,
    })
}

fn secret_of(source: &SecretSource) -> Result<Secret, String> {
    match source {
        SecretSource::File(path) => read_secret(path),
        SecretSource::Variable(name) => {
            let secret = Environment::secret_named(name)
                .ok_or_else(|| format!("the environment variable {name} is not set"))?;
            checked_secret(secret.expose()).map_err(|mistake| format!("{name}: {mistake}"))
        }
    }
}
