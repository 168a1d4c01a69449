use moka::sync::Cache;
use std::collections::VecDeque;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time in which a bound holds, wherever it begins.
const WINDOW: Duration = Duration::from_secs(60);
/// Passwords per minute from one address, at one account from one network, and at one account from
/// one device.
pub const ATTEMPTS_A_MINUTE: usize = 10;
/// Passwords per minute at one account, from all networks and unknown devices together.
pub const ACCOUNT_ATTEMPTS_A_MINUTE: usize = 100;
/// Passwords per minute from all clients whose address is unknown. They are many people and not
/// one.
pub const UNKNOWN_ATTEMPTS_A_MINUTE: usize = 60;
/// Sign-ins at an identity provider that one address may begin or end in a minute.
pub const REDIRECTS_A_MINUTE: usize = 60;
/// Logout tokens that one address may send in a minute. An identity provider sends one per person
/// who signs out there.
pub const LOGOUT_TOKENS_A_MINUTE: usize = 600;
/// Addresses, accounts, devices and pairs of them that are remembered. What is forgotten starts
/// anew. Each has as many instants as its bound, of 16 bytes: 1.6 MB for passwords from addresses,
/// and 96 MB for logout tokens if 10,000 addresses sent 100,000 of them per second for a minute.
const MAX_REMEMBERED: u64 = 10_000;

/// Bounds how often passwords are tried, without letting a stranger lock the owner of an account
/// out.
///
/// A bound of 10 per minute lets at most 10 attempts pass within any 60 seconds. What is refused
/// does not count, and neither does an attempt whose password was right: it was no guess.
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
#[derive(Default)]
pub struct Throttle {
    addresses: Meter<IpAddr>,
    redirects: Meter<IpAddr>,
    logout_tokens: Meter<IpAddr>,
    networks: Meter<(Account, IpAddr)>,
    accounts: Meter<Account>,
    devices: Meter<(Account, DeviceId)>,
    known: KnownAddresses,
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

/// The addresses from which each account was signed in to.
struct KnownAddresses(Cache<(Account, IpAddr), ()>);

impl Default for KnownAddresses {
    fn default() -> Self {
        Self(Cache::new(MAX_REMEMBERED))
    }
}

/// The attempts of each key.
struct Meter<K>(Cache<K, Arc<Mutex<Window>>>);

impl<K: Hash + Eq + Send + Sync + 'static> Default for Meter<K> {
    fn default() -> Self {
        // After that time without an attempt, no instant in the window counts any more.
        let cache = Cache::builder()
            .max_capacity(MAX_REMEMBERED)
            .time_to_idle(WINDOW);
        Self(cache.build())
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> Meter<K> {
    fn bound(&self, key: K, most: usize) -> Bound {
        Bound {
            window: self.0.get_with(key, Arc::default),
            most,
        }
    }
}

/// How many attempts of one key may pass within [`WINDOW`].
#[derive(Debug)]
struct Bound {
    window: Arc<Mutex<Window>>,
    most: usize,
}

impl Bound {
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the last attempts that passed were, the oldest first.
#[derive(Debug, Default)]
struct Window(VecDeque<Instant>);

impl Window {
    /// How long to wait until one more may pass. `None`: it may now.
    fn wait(&mut self, now: Instant, most: usize) -> Option<Duration> {
        let age = |passed: Instant| now.saturating_duration_since(passed);
        while self.0.front().is_some_and(|first| age(*first) >= WINDOW) {
            self.0.pop_front();
        }
        let first = self.0.front().filter(|_| self.0.len() >= most)?;
        Some(WINDOW.saturating_sub(age(*first)))
    }

    fn remove(&mut self, at: Instant) {
        if let Some(place) = self.0.iter().position(|passed| *passed >= at) {
            self.0.remove(place);
        }
    }

    fn add(&mut self, now: Instant) {
        // Another thread may have read its time later and be here first.
        let last = self.0.back().copied().unwrap_or(now);
        self.0.push_back(now.max(last));
    }
}

/// An attempt that was counted.
#[derive(Debug)]
pub struct Counted {
    bounds: Vec<Bound>,
    at: Instant,
}

impl Counted {
    /// Counts it no more: its password was right.
    pub fn take_back(self) {
        for bound in &self.bounds {
            bound.window().remove(self.at);
        }
    }
}

/// Counts an attempt in every bound, or in none if one of them is used up.
///
/// All callers name the bounds in the same order, so no two wait for each other's locks.
fn count(now: Instant, bounds: Vec<Bound>) -> Result<Counted, Duration> {
    let mut windows: Vec<_> = bounds.iter().map(Bound::window).collect();
    let wait = windows
        .iter_mut()
        .zip(&bounds)
        .filter_map(|(window, bound)| window.wait(now, bound.most))
        .max();
    if let Some(wait) = wait {
        return Err(wait);
    }

    for window in &mut windows {
        window.add(now);
    }
    drop(windows);
    Ok(Counted { bounds, at: now })
}

impl Throttle {
    /// Counts an attempt at `now`.
    ///
    /// # Errors
    /// How long to wait before the next.
    pub fn attempt(&self, attempt: Attempt<'_>, now: Instant) -> Result<Counted, Duration> {
        let Attempt {
            address,
            account,
            device,
        } = attempt;
        if let (Some(account), Some(device)) = (account, device) {
            let key = (account.clone(), device.clone());
            return count(now, vec![self.devices.bound(key, ATTEMPTS_A_MINUTE)]);
        }

        let most = match address {
            Some(_) => ATTEMPTS_A_MINUTE,
            None => UNKNOWN_ATTEMPTS_A_MINUTE,
        };
        let own = host_of(address);
        let of_address = self.addresses.bound(own, most);
        let stranger_at =
            account.filter(|account| !self.known.0.contains_key(&((*account).clone(), own)));
        let Some(account) = stranger_at else {
            return count(now, vec![of_address]);
        };

        let from = (account.clone(), network_of(own));
        let bounds = vec![
            of_address,
            self.networks.bound(from, most),
            self.accounts
                .bound(account.clone(), ACCOUNT_ATTEMPTS_A_MINUTE),
        ];
        count(now, bounds)
    }

    /// Counts one way to an identity provider or back.
    ///
    /// # Errors
    /// How long to wait before the next.
    pub fn redirect(&self, address: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let bound = self.redirects.bound(host_of(address), REDIRECTS_A_MINUTE);
        count(now, vec![bound]).map(drop)
    }

    /// Counts one logout token of an identity provider.
    ///
    /// # Errors
    /// How long to wait before the next.
    pub fn logout_token(&self, address: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let bound = self
            .logout_tokens
            .bound(host_of(address), LOGOUT_TOKENS_A_MINUTE);
        count(now, vec![bound]).map(drop)
    }

    /// Records that the account was signed in to from this address. An unknown address does not
    /// count, since strangers share it.
    pub fn succeeded(&self, address: Option<IpAddr>, account: Account) {
        if address.is_some() {
            self.known.0.insert((account, host_of(address)), ());
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

    /// A throttle with a clock that the test advances.
    struct Rig {
        throttle: Throttle,
        now: Instant,
    }

    impl Rig {
        fn new() -> Self {
            Self {
                throttle: Throttle::default(),
                now: Instant::now(),
            }
        }

        fn attempt(&self, attempt: Attempt<'_>) -> Result<(), Duration> {
            self.throttle.attempt(attempt, self.now).map(drop)
        }

        /// Takes all attempts at the account from the network of `192.0.2.99`.
        fn use_up(&self, account: &Account) {
            for host in 0..10 {
                assert!(
                    self.attempt(at(&format!("192.0.2.{host}"), account))
                        .is_ok()
                );
            }
        }

        fn succeeded(&self, address: Option<IpAddr>, account: Account) {
            self.throttle.succeeded(address, account);
        }
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
        let mut throttle = Rig::new();
        for attempt in 0..10 {
            assert_eq!(throttle.attempt(from("192.0.2.1")), Ok(()), "{attempt}");
            throttle.now += Duration::from_secs(1);
        }
        let wait = throttle.attempt(from("192.0.2.1")).unwrap_err();
        assert_eq!(wait, Duration::from_secs(50), "until the first is over");
        assert_eq!(throttle.attempt(from("192.0.2.2")), Ok(()));

        throttle.now += wait - Duration::from_millis(1);
        let early = throttle.attempt(from("192.0.2.1"));
        assert_eq!(early, Err(Duration::from_millis(1)));
        throttle.now += Duration::from_millis(1);
        assert_eq!(throttle.attempt(from("192.0.2.1")), Ok(()));
        let next = throttle.attempt(from("192.0.2.1"));
        assert_eq!(next, Err(Duration::from_secs(1)), "until the second is");
    }

    #[test]
    fn attempt_with_the_right_password_does_not_count() {
        let throttle = Throttle::default();
        let (start, ada) = (Instant::now(), account("ada"));
        let attempt = at("192.0.2.1", &ada);
        for second in 0..30 {
            let now = start + Duration::from_secs(second);
            throttle.attempt(attempt, now).unwrap().take_back();
        }

        // It takes itself back alone.
        for _ in 0..9 {
            assert!(throttle.attempt(attempt, start).is_ok());
        }
        throttle.attempt(attempt, start).unwrap().take_back();
        assert!(throttle.attempt(attempt, start).is_ok());
        assert!(throttle.attempt(attempt, start).is_err());
    }

    #[test]
    fn no_minute_has_more_attempts_than_the_bound() {
        let mut throttle = Rig::new();
        let mut passed = Vec::new();
        // Ten minutes of a client that never rests.
        for _ in 0..1_200 {
            if throttle.attempt(from("192.0.2.1")).is_ok() {
                passed.push(throttle.now);
            }
            throttle.now += Duration::from_millis(500);
        }
        assert_eq!(passed.len(), 100);
        for minute in passed.windows(ATTEMPTS_A_MINUTE + 1) {
            let [first, .., last] = minute else {
                unreachable!("eleven")
            };
            assert!(*last - *first >= WINDOW, "{:?}", *last - *first);
        }
    }

    #[test]
    fn wait_is_that_of_the_bound_that_is_free_last() {
        let mut throttle = Rig::new();
        let ada = account("ada");
        throttle.use_up(&ada);
        throttle.now += Duration::from_secs(20);
        for _ in 0..10 {
            assert_eq!(throttle.attempt(from("192.0.2.99")), Ok(()));
        }
        let both = at("192.0.2.99", &ada);
        assert_eq!(throttle.attempt(both), Err(WINDOW));
        throttle.now += WINDOW;
        assert_eq!(throttle.attempt(both), Ok(()));
    }

    #[test]
    fn what_one_bound_refuses_does_not_use_up_another() {
        let throttle = Rig::new();
        let ada = account("ada");
        throttle.use_up(&ada);
        for _ in 0..10 {
            assert!(throttle.attempt(at("192.0.2.99", &ada)).is_err());
        }
        let bob = account("bob");
        assert_eq!(throttle.attempt(at("192.0.2.99", &bob)), Ok(()));
    }

    #[test]
    fn redirects_and_logout_tokens_have_windows_of_their_own() {
        let throttle = Throttle::default();
        let now = Instant::now();
        let later = now + WINDOW;
        let address = ip("192.0.2.1");
        for _ in 0..REDIRECTS_A_MINUTE {
            assert_eq!(throttle.redirect(address, now), Ok(()));
        }
        assert_eq!(throttle.redirect(address, now), Err(WINDOW));
        for _ in 0..LOGOUT_TOKENS_A_MINUTE {
            assert_eq!(throttle.logout_token(address, now), Ok(()));
        }
        assert_eq!(throttle.logout_token(address, now), Err(WINDOW));
        assert_eq!(throttle.redirect(address, later), Ok(()));
        assert_eq!(throttle.logout_token(address, later), Ok(()));
    }

    #[test]
    fn addresses_of_one_network_share_an_allowance() {
        let throttle = Rig::new();
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
        let throttle = Rig::new();
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
            let mut throttle = Rig::new();
            for _ in 0..120 {
                for network in 0..networks {
                    let _ = throttle.attempt(at(&format!("203.0.{network}.1"), &ada));
                }
                throttle.now += Duration::from_secs(1);
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
        let throttle = Rig::new();
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
        let throttle = Rig::new();
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
        let throttle = Rig::new();
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
