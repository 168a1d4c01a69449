use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use moka::sync::Cache;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// Attempts a minute from one address, and at one account.
pub const ATTEMPTS_A_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("a constant that is not zero");
/// Sign-ins at an identity provider that one address may begin or end in a minute.
pub const REDIRECTS_A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("a constant that is not zero");
/// Addresses, accounts, and pairs of both that are remembered. What is forgotten starts anew.
const MAX_REMEMBERED: u64 = 10_000;

/// Bounds how often passwords are tried: by address (IPv6 by its /64 network), and by account.
///
/// A stranger who tries an account's passwords must not lock its owner out: an address from which the account was
/// signed in to before is not held up by what others do.
pub struct Throttle<C: Clock> {
    addresses: Meter<IpAddr, C>,
    redirects: Meter<IpAddr, C>,
    accounts: Meter<Account, C>,
    known: Cache<(Account, IpAddr), ()>,
    clock: C,
}

/// A provider's name and a user name, as they were sent.
pub type Account = (String, String);

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
        let limiter = self.0.get_with(key, || Arc::new(RateLimiter::direct_with_clock(quota, clock.clone())));
        limiter.check().map_err(|until| until.wait_time_from(clock.now()))
    }
}

impl<C> Throttle<C>
where
    C: Clock + Clone + Send + Sync + 'static,
    C::Instant: Send + Sync + Reference,
{
    /// By this clock.
    pub fn new(clock: C) -> Self {
        let (addresses, redirects, accounts) = (Meter::new(), Meter::new(), Meter::new());
        Self { addresses, redirects, accounts, known: Cache::new(MAX_REMEMBERED), clock }
    }

    /// Counts an attempt, at this account where one is named.
    ///
    /// # Errors
    /// How long to wait before the next.
    pub fn attempt(&self, address: Option<IpAddr>, account: Option<&Account>) -> Result<(), Duration> {
        let quota = Quota::per_minute(ATTEMPTS_A_MINUTE);
        let address = network_of(address);
        self.addresses.count(address, quota, &self.clock)?;
        match account {
            Some(account) if !self.known.contains_key(&(account.clone(), address)) => {
                self.accounts.count(account.clone(), quota, &self.clock)
            }
            _ => Ok(()),
        }
    }

    /// Counts one way to an identity provider or back.
    ///
    /// # Errors
    /// How long to wait before the next.
    pub fn redirect(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        self.redirects.count(network_of(address), Quota::per_minute(REDIRECTS_A_MINUTE), &self.clock)
    }

    /// The account was signed in to from this address.
    pub fn succeeded(&self, address: Option<IpAddr>, account: Account) {
        self.known.insert((account, network_of(address)), ());
    }
}

/// One host has a whole /64 of IPv6 addresses. Where no address is known, all share one allowance.
fn network_of(address: Option<IpAddr>) -> IpAddr {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        Some(address) => address,
        None => Ipv6Addr::UNSPECIFIED.into(),
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

    #[test]
    fn eleventh_attempt_in_a_minute_waits() {
        let (throttle, clock) = throttle();
        for attempt in 0..10 {
            assert_eq!(throttle.attempt(ip("192.0.2.1"), None), Ok(()), "{attempt}");
        }
        let wait = throttle.attempt(ip("192.0.2.1"), None).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(6), "{wait:?}");
        assert_eq!(throttle.attempt(ip("192.0.2.2"), None), Ok(()));
        clock.advance(wait);
        assert_eq!(throttle.attempt(ip("192.0.2.1"), None), Ok(()));
    }

    #[test]
    fn addresses_of_one_network_share_an_allowance() {
        let (throttle, _) = throttle();
        for host in 0..10 {
            assert_eq!(throttle.attempt(ip(&format!("2001:db8::{host:x}")), None), Ok(()));
        }
        assert!(throttle.attempt(ip("2001:db8::ffff:1"), None).is_err());
        assert!(throttle.attempt(ip("2001:db8:0:1::1"), None).is_ok());
        for _ in 0..10 {
            assert_eq!(throttle.attempt(ip("192.0.2.1"), None), Ok(()));
        }
        assert!(throttle.attempt(ip("::ffff:192.0.2.1"), None).is_err(), "the same address, mapped");
    }

    #[test]
    fn account_is_throttled_over_all_addresses_but_its_owners() {
        let (throttle, _) = throttle();
        throttle.succeeded(ip("192.0.2.200"), account("ada"));
        for host in 0..10 {
            assert_eq!(throttle.attempt(ip(&format!("192.0.2.{host}")), Some(&account("ada"))), Ok(()));
        }
        assert!(throttle.attempt(ip("192.0.2.99"), Some(&account("ada"))).is_err());
        assert!(throttle.attempt(ip("192.0.2.99"), Some(&account("bob"))).is_ok());
        assert!(throttle.attempt(ip("192.0.2.200"), Some(&account("ada"))).is_ok(), "not locked out");
    }
}
