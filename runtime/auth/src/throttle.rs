use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use moka::sync::Cache;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// Passwords per minute from one address, at one account from one network, and at one account from
/// one device.
pub const ATTEMPTS_A_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("a constant that is not zero");
/// Passwords per minute at one account, from all networks and unknown devices together.
pub const ACCOUNT_ATTEMPTS_A_MINUTE: NonZeroU32 =
    NonZeroU32::new(100).expect("a constant that is not zero");
/// Passwords per minute from all clients whose address is unknown. They are many people and not
/// one.
pub const UNKNOWN_ATTEMPTS_A_MINUTE: NonZeroU32 =
    NonZeroU32::new(60).expect("a constant that is not zero");
/// Sign-ins at an identity provider that one address may begin or end in a minute.
pub const REDIRECTS_A_MINUTE: NonZeroU32 =
    NonZeroU32::new(60).expect("a constant that is not zero");
/// Logout tokens that one address may send in a minute. An identity provider sends one per person
/// who signs out there.
pub const LOGOUT_TOKENS_A_MINUTE: NonZeroU32 =
    NonZeroU32::new(600).expect("a constant that is not zero");
/// Addresses, accounts, devices and pairs of them that are remembered. What is forgotten starts
/// anew.
const MAX_REMEMBERED: u64 = 10_000;

/// Bounds how often passwords are tried, without letting a stranger lock the owner of an account
/// out.
///
/// Which bounds count depends on where an attempt comes from:
///
/// | from | bounds |
/// |---|---|
/// | a device on which the account was signed in to before | 10 per minute for the device and the account |
/// | an address from which it was signed in to before | 10 per minute for the address |
/// | elsewhere | 10 per minute for the address, 10 for the account and the network, 100 for the account |
///
/// An address is an IPv4 address or an IPv6 /64; a network is an IPv4 /24 or an IPv6 /48.
///
/// A stranger in one network, however many addresses of it they have, uses up the account for that
/// network alone; the owner gets in from any other, with a new device too. Strangers in ten
/// networks can use up the account for unknown devices, and the owner then needs a known device or
/// address. One network can make 14,400 guesses per day at an account, and all networks together
/// 144,000: a password that is not among the 10,000 most common holds, which is what a password
/// must do anyway. A bound that no number of networks could pass would be a bound that ten networks
/// could hold against the owner.
pub struct Throttle<C: Clock> {
    addresses: Meter<IpAddr, C>,
    redirects: Meter<IpAddr, C>,
    logout_tokens: Meter<IpAddr, C>,
    networks: Meter<(Account, IpAddr), C>,
    accounts: Meter<Account, C>,
    devices: Meter<(Account, DeviceId), C>,
    known: Cache<(Account, IpAddr), ()>,
    clock: C,
}

/// A provider's name and a user name, as they were sent.
pub type Account = (String, String);

/// A browser in which a person signed in with a password. Random, and made by the host.
pub type DeviceId = String;

/// One attempt at a password.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempt<'a> {
    /// The caller's address, if it is known.
    pub address: Option<IpAddr>,
    /// The account, if a provider takes passwords for it.
    pub account: Option<&'a Account>,
    /// The device, if the account was signed in to on it before.
    pub device: Option<&'a DeviceId>,
}

type Limiter<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

struct Meter<K, C: Clock>(Cache<K, Arc<Limiter<C>>>);

impl<K, C> Meter<K, C>
where
    K: Hash + Eq + Send + Sync + 'static,
    C: Clock + Clone + Send + Sync + 'static,
    C::Instant: Send + Sync,
{
    fn new() -> Self {
        Self(Cache::new(MAX_REMEMBERED))
    }

    /// How long to wait, if at all.
    fn count(&self, key: K, quota: Quota, clock: &C) -> Result<(), Duration> {
        let limiter = self.0.get_with(key, || {
            Arc::new(RateLimiter::direct_with_clock(quota, clock.clone()))
        });
        limiter
            .check()
            .map_err(|until| until.wait_time_from(clock.now()))
    }
}

impl<C> Throttle<C>
where
    C: Clock + Clone + Send + Sync + 'static,
    C::Instant: Send + Sync + Reference,
{
    /// Makes a throttle that measures time by this clock.
    pub fn new(clock: C) -> Self {
        Self {
            addresses: Meter::new(),
            redirects: Meter::new(),
            logout_tokens: Meter::new(),
            networks: Meter::new(),
            accounts: Meter::new(),
            devices: Meter::new(),
            known: Cache::new(MAX_REMEMBERED),
            clock,
        }
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// How long to wait before the next.
    pub fn attempt(&self, attempt: Attempt<'_>) -> Result<(), Duration> {
        let quota = Quota::per_minute(ATTEMPTS_A_MINUTE);
        let Attempt {
            address,
            account,
            device,
        } = attempt;
        if let (Some(account), Some(device)) = (account, device) {
            return self
                .devices
                .count((account.clone(), device.clone()), quota, &self.clock);
        }

        let from = if address.is_some() {
            quota
        } else {
            Quota::per_minute(UNKNOWN_ATTEMPTS_A_MINUTE)
        };
        let own = host_of(address);
        self.addresses.count(own, from, &self.clock)?;
        let Some(account) = account else {
            return Ok(());
        };
        if self.known.contains_key(&(account.clone(), own)) {
            return Ok(());
        }
        // The narrow bound first, so that what it refuses does not use up the wide one.
        self.networks
            .count((account.clone(), network_of(own)), from, &self.clock)?;
        self.accounts.count(
            account.clone(),
            Quota::per_minute(ACCOUNT_ATTEMPTS_A_MINUTE),
            &self.clock,
        )
    }

    /// Counts one way to an identity provider or back.
    ///
    /// # Errors
    /// How long to wait before the next.
    pub fn redirect(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        self.redirects.count(
            host_of(address),
            Quota::per_minute(REDIRECTS_A_MINUTE),
            &self.clock,
        )
    }

    /// Counts one logout token of an identity provider.
    ///
    /// # Errors
    /// How long to wait before the next.
    pub fn logout_token(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        self.logout_tokens.count(
            host_of(address),
            Quota::per_minute(LOGOUT_TOKENS_A_MINUTE),
            &self.clock,
        )
    }

    /// Records that the account was signed in to from this address. An unknown address does not
    /// count, since strangers share it.
    pub fn succeeded(&self, address: Option<IpAddr>, account: Account) {
        if address.is_some() {
            self.known.insert((account, host_of(address)), ());
        }
    }
}

/// Returns the address by which the calls of one host are counted: one host has a whole /64 of IPv6
/// addresses. Where no address is known, all share one allowance.
pub fn host_of(address: Option<IpAddr>) -> IpAddr {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        Some(address) => address,
        None => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The network that one subscriber or one small provider has: a /24, or a /48.
fn network_of(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn throttle() -> (Throttle<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Throttle::new(clock.clone()), clock)
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn account(user: &str) -> Account {
        ("basic".to_owned(), user.to_owned())
    }

    fn from(address: &str) -> Attempt<'static> {
        Attempt {
            address: ip(address),
            ..Attempt::default()
        }
    }

    fn at<'a>(address: &str, account: &'a Account) -> Attempt<'a> {
        Attempt {
            address: ip(address),
            account: Some(account),
            device: None,
        }
    }

    #[test]
    fn eleventh_attempt_in_a_minute_waits() {
        let (throttle, clock) = throttle();
        for attempt in 0..10 {
            assert_eq!(throttle.attempt(from("192.0.2.1")), Ok(()), "{attempt}");
        }
        let wait = throttle.attempt(from("192.0.2.1")).unwrap_err();
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_secs(6),
            "{wait:?}"
        );
        assert_eq!(throttle.attempt(from("192.0.2.2")), Ok(()));
        clock.advance(wait);
        assert_eq!(throttle.attempt(from("192.0.2.1")), Ok(()));
    }

    #[test]
    fn addresses_of_one_network_share_an_allowance() {
        let (throttle, _) = throttle();
        for host in 0..10 {
            assert_eq!(
                throttle.attempt(from(&format!("2001:db8::{host:x}"))),
                Ok(())
            );
        }
        assert!(throttle.attempt(from("2001:db8::ffff:1")).is_err());
        assert!(throttle.attempt(from("2001:db8:0:1::1")).is_ok());
        for _ in 0..10 {
            assert_eq!(throttle.attempt(from("192.0.2.1")), Ok(()));
        }
        assert!(
            throttle.attempt(from("::ffff:192.0.2.1")).is_err(),
            "the same address, mapped"
        );
    }

    #[test]
    fn account_is_throttled_over_a_network_but_not_for_its_owner() {
        let (throttle, _) = throttle();
        let (ada, bob) = (account("ada"), account("bob"));
        throttle.succeeded(ip("192.0.2.200"), account("ada"));
        for host in 0..10 {
            assert_eq!(
                throttle.attempt(at(&format!("192.0.2.{host}"), &ada)),
                Ok(())
            );
        }
        assert!(throttle.attempt(at("192.0.2.99", &ada)).is_err());
        assert!(throttle.attempt(at("192.0.2.99", &bob)).is_ok());
        assert!(
            throttle.attempt(at("192.0.2.200", &ada)).is_ok(),
            "a known address"
        );
        assert!(
            throttle.attempt(at("198.51.100.1", &ada)).is_ok(),
            "another network"
        );
    }

    #[test]
    fn strangers_in_a_few_networks_do_not_lock_the_owner_out() {
        let (ada, device) = (account("ada"), DeviceId::from("phone"));
        for networks in [1, 3] {
            let (throttle, clock) = throttle();
            for _ in 0..120 {
                for network in 0..networks {
                    let _ = throttle.attempt(at(&format!("203.0.{network}.1"), &ada));
                }
                clock.advance(Duration::from_secs(1));
            }
            assert_eq!(
                throttle.attempt(at("198.51.100.1", &ada)),
                Ok(()),
                "{networks}: a new device"
            );
            let own = Attempt {
                device: Some(&device),
                ..at("203.0.0.1", &ada)
            };
            assert_eq!(
                throttle.attempt(own),
                Ok(()),
                "{networks}: a known device beside the stranger"
            );
        }
    }

    #[test]
    fn strangers_everywhere_leave_the_known_devices() {
        let (throttle, _) = throttle();
        let (ada, device) = (account("ada"), DeviceId::from("phone"));
        for network in 0..100 {
            assert_eq!(
                throttle.attempt(at(&format!("203.0.{network}.1"), &ada)),
                Ok(())
            );
        }
        let new = at("198.51.100.1", &ada);
        assert!(throttle.attempt(new).is_err());
        assert_eq!(
            throttle.attempt(Attempt {
                device: Some(&device),
                ..new
            }),
            Ok(())
        );
    }

    #[test]
    fn known_device_has_a_bound_too() {
        let (throttle, _) = throttle();
        let (ada, device) = (account("ada"), DeviceId::from("phone"));
        let own = Attempt {
            device: Some(&device),
            ..at("198.51.100.1", &ada)
        };
        assert!((0..10).all(|_| throttle.attempt(own).is_ok()));
        assert!(throttle.attempt(own).is_err());
        let other = Attempt {
            device: Some(&device),
            account: None,
            ..own
        };
        assert!(
            throttle.attempt(other).is_ok(),
            "a device is known for an account"
        );
    }

    #[test]
    fn people_without_an_address_share_a_larger_allowance() {
        let (throttle, _) = throttle();
        let ada = account("ada");
        let unknown = Attempt {
            account: Some(&ada),
            ..Attempt::default()
        };
        assert!((0..60).all(|_| throttle.attempt(unknown).is_ok()));
        assert!(throttle.attempt(unknown).is_err());
        throttle.succeeded(None, account("ada"));
        assert!(
            throttle.attempt(unknown).is_err(),
            "an unknown address is never a known one"
        );
        assert!(throttle.attempt(at("198.51.100.1", &ada)).is_ok());
    }
}
