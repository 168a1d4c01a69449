//! The device cookie: which accounts were signed in to in this browser with a password. The
//! throttle counts their owner's attempts apart from those of strangers.

use super::super::cookie_name::CookieKind;
use super::super::request_cookies::RequestCookies;
use super::super::session_cookie::{CookieSealer, TooLarge};
use super::super::site::Site;
use axum::http::HeaderValue;
use portcullis_auth::{Account, DeviceId};
use serde::{Deserialize, Serialize};

/// Life of a device cookie: a year.
const SECONDS: u64 = 365 * 24 * 3600;
/// Accounts that one browser is known for. People may share a browser.
const MAX_ACCOUNTS: usize = 4;

/// A browser, and the accounts that were last signed in to in it, the newest first.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Device {
    id: DeviceId,
    accounts: Vec<Account>,
}

impl Device {
    /// The device that the cookies name. A device without a cookie is known for no account.
    pub(super) fn of(sealer: &CookieSealer, cookies: &RequestCookies<'_>, site: &Site) -> Self {
        sealer
            .read(CookieKind::Device, cookies, site)
            .unwrap_or_default()
    }

    /// The device's id, if the account was signed in to on it.
    pub(super) fn id_for(&self, account: &Account) -> Option<&DeviceId> {
        self.accounts.contains(account).then_some(&self.id)
    }

    /// The same device after a sign-in to an account. A device without an id gets one.
    pub(super) fn signed_in(mut self, account: Account) -> Result<Self, getrandom::Error> {
        if self.id.is_empty() {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes)?;
            self.id = hex::encode(bytes);
        }
        self.accounts.retain(|known| *known != account);
        self.accounts.insert(0, account);
        self.accounts.truncate(MAX_ACCOUNTS);
        Ok(self)
    }

    /// The cookie that names the device.
    pub(super) fn cookie(
        &self,
        sealer: &CookieSealer,
        cookies: &RequestCookies<'_>,
        site: &Site,
    ) -> Result<HeaderValue, TooLarge> {
        let name = sealer.name_to_write(CookieKind::Device, &[CookieKind::Device], cookies, site);
        sealer.sealed(name, self, site, SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_is_known_for_the_last_few_accounts() {
        let account = |number: usize| ("basic".to_owned(), format!("user-{number}"));
        let mut device = Device::default();
        assert_eq!(device.id_for(&account(0)), None);
        for number in 0..=MAX_ACCOUNTS {
            device = device.signed_in(account(number)).unwrap();
        }
        assert_eq!(device.id_for(&account(0)), None);
        let id = device.id_for(&account(1)).cloned().unwrap();
        let device = device.signed_in(account(1)).unwrap();
        assert_eq!(
            (device.id_for(&account(1)), device.accounts.len()),
            (Some(&id), MAX_ACCOUNTS)
        );
    }
}
