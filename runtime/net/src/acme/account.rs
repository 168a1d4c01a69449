use super::client::DirectoryClient;
use super::failure::{OrderFailure, is_account_unknown};
use super::settings::{AcmeSettings, ExternalAccount};
use instant_acme::{Account, AccountCredentials, NewAccount};
use portcullis_home::atomic_file::{self, Durability};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

const WHAT: &str = "the account";

/// What is kept of an account.
#[derive(Serialize, Deserialize)]
struct KeptAccount {
    /// The URL of the directory that the account is at.
    directory: String,
    /// What the directory knows.
    contact: Vec<String>,
    /// The key of the external account that the account was bound to when it was made. `None`: it
    /// was bound to none.
    kid: Option<String>,
    credentials: AccountCredentials,
}

impl KeptAccount {
    /// Returns whether the account is at the directory of the settings, and is bound as they ask
    /// for.
    fn is_as_asked_by(&self, settings: &AcmeSettings) -> bool {
        // An account is bound when it is made, and no client can change that (RFC 8555, sections
        // 7.1.2 and 7.3.4): another external account needs another account. One that is no longer
        // configured leaves the account as it is, since many directories' keys can be used once,
        // and operators then remove them.
        let is_bound = match &settings.external_account {
            Some(external) => self.kid.as_deref() == Some(external.kid()),
            None => true,
        };
        is_bound && self.directory == settings.directory.as_str()
    }
}

/// Opens the account that the file keeps, or makes one and keeps it there. Asks for the directory's
/// addresses anew, since they may change.
pub(super) async fn open(
    client: &DirectoryClient,
    settings: &AcmeSettings,
    file: &Path,
) -> Result<Account, OrderFailure> {
    let kept = read(file).await?;
    let Some(mut kept) = kept.filter(|kept| kept.is_as_asked_by(settings)) else {
        return register(client, settings, file).await;
    };
    if kept.contact == settings.contact {
        return restore(client, settings, kept.credentials).await;
    }

    kept.contact.clone_from(&settings.contact);
    let text = encode(&kept, file)?;
    let account = restore(client, settings, kept.credentials).await?;
    match account.update_contacts(&contacts(settings)).await {
        Err(error) if is_account_unknown(&error) => return register(client, settings, file).await,
        told => {
            told.map_err(|error| OrderFailure::of(&error, "the contact", &settings.directory))?;
        }
    }
    write(file, text).await?;
    Ok(account)
}

/// Makes an account, which accepts the directory's terms of service, and keeps it in the file.
pub(super) async fn register(
    client: &DirectoryClient,
    settings: &AcmeSettings,
    file: &Path,
) -> Result<Account, OrderFailure> {
    let contact = contacts(settings);
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let directory = settings.directory.as_str().to_owned();
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let external = settings.external_account.as_ref().map(ExternalAccount::key);
    let made = builder
        .create(&wanted, directory.clone(), external.as_ref())
        .await;
    let (account, credentials) =
        made.map_err(|error| OrderFailure::of(&error, WHAT, &settings.directory))?;
    let kept = KeptAccount {
        directory,
        contact: settings.contact.clone(),
        kid: settings
            .external_account
            .as_ref()
            .map(|external| external.kid().to_owned()),
        credentials,
    };
    write(file, encode(&kept, file)?).await?;
    tracing::info!(
        directory = kept.directory,
        "an account at the ACME directory was made"
    );

    Ok(account)
}

async fn restore(
    client: &DirectoryClient,
    settings: &AcmeSettings,
    credentials: AccountCredentials,
) -> Result<Account, OrderFailure> {
    let builder = Account::builder_with_http(Box::new(client.clone()));
    let restored = builder.from_credentials(credentials).await;
    restored.map_err(|error| OrderFailure::of(&error, WHAT, &settings.directory))
}

fn contacts(settings: &AcmeSettings) -> Vec<&str> {
    settings.contact.iter().map(String::as_str).collect()
}

/// `None`: there is no such file.
async fn read(file: &Path) -> Result<Option<KeptAccount>, OrderFailure> {
    let path = file.to_owned();
    let text = match off_thread(file, move || atomic_file::read(&path)).await? {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(file, format!("cannot be read: {error}"))),
    };
    // The parser's own words could quote the key.
    let damaged = |_| {
        failed(
            file,
            "is damaged: remove it, and a new account is made".to_owned(),
        )
    };

    serde_json::from_slice(&text).map(Some).map_err(damaged)
}

fn encode(kept: &KeptAccount, file: &Path) -> Result<Zeroizing<Vec<u8>>, OrderFailure> {
    let encoded = serde_json::to_vec(kept);
    encoded
        .map(Zeroizing::new)
        .map_err(|error| failed(file, format!("cannot be written: {error}")))
}

async fn write(file: &Path, text: Zeroizing<Vec<u8>>) -> Result<(), OrderFailure> {
    let path = file.to_owned();
    let written = off_thread(file, move || {
        atomic_file::replace(&path, &text, Durability::Synced)
    })
    .await?;
    written.map_err(|error| failed(file, format!("cannot be written: {error}")))
}

async fn off_thread<T: Send + 'static>(
    file: &Path,
    task: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OrderFailure> {
    let done = tokio::task::spawn_blocking(task).await;
    done.map_err(|error| failed(file, format!("was not looked at: {error}")))
}

fn failed(file: &Path, cause: String) -> OrderFailure {
    OrderFailure::File {
        path: file.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{Challenge, DirectoryUrl};
    use super::*;

    const DIRECTORY: &str = "https://ca.example/directory";

    fn settings(directory: &str, kid: Option<&str>) -> AcmeSettings {
        let external = kid.map(|kid| ExternalAccount::new(kid.to_owned(), "c2VjcmV0").unwrap());
        AcmeSettings {
            domains: vec!["agent.example".to_owned()],
            contact: Vec::new(),
            directory: DirectoryUrl::parse(directory).unwrap(),
            ca: None,
            challenge: Challenge::default(),
            external_account: external,
        }
    }

    /// An account that was bound to the external account of this key.
    fn kept(kid: Option<&str>) -> KeptAccount {
        let text = serde_json::json!({
            "directory": DIRECTORY,
            "contact": [],
            "kid": kid,
            "credentials": {"id": "https://ca.example/account/1", "key_pkcs8": "AAAA"},
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn account_serves_one_directory_and_one_external_account() {
        let (first, second) = (Some("kid-1"), Some("kid-2"));
        for (bound_to, asked, expected) in [
            (None, None, true),
            (first, first, true),
            (first, second, false),
            (None, first, false),
            (first, None, true),
        ] {
            let is_as_asked = kept(bound_to).is_as_asked_by(&settings(DIRECTORY, asked));
            assert_eq!(is_as_asked, expected, "{bound_to:?}, {asked:?}");
        }

        let elsewhere = settings("https://other.example/directory", first);
        assert!(!kept(first).is_as_asked_by(&elsewhere));
    }
}
