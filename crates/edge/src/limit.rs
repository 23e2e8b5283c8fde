//! Rate limits: token buckets per client network or for everybody.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::{InMemoryState, NotKeyed, keyed::DashMapStateStore},
};

use crate::table::Limit;

/// One rule's bucket or buckets.
#[derive(Debug)]
pub(crate) struct Limiter {
    clock: DefaultClock,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Clients(RateLimiter<IpAddr, DashMapStateStore<IpAddr>, DefaultClock>),
    All(RateLimiter<NotKeyed, InMemoryState, DefaultClock>),
}

impl Limiter {
    /// Full buckets. A limit of no requests counts as one; the stack file refuses it.
    pub(crate) fn new(limit: &Limit) -> Self {
        let burst = NonZeroU32::new(limit.requests).unwrap_or(NonZeroU32::MIN);
        let each = (limit.period / burst.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(each).map_or_else(|| Quota::per_second(burst), |quota| quota.allow_burst(burst));
        let kind = if limit.per_client {
            Kind::Clients(RateLimiter::dashmap(quota))
        } else {
            Kind::All(RateLimiter::direct(quota))
        };
        Self { clock: DefaultClock::default(), kind }
    }

    /// Takes a token for `client`, or says how long until there is one.
    pub(crate) fn take(&self, client: IpAddr) -> Result<(), Duration> {
        let answer = match &self.kind {
            Kind::Clients(buckets) => buckets.check_key(&network(client)),
            Kind::All(bucket) => bucket.check(),
        };
        answer.map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    /// Forgets clients whose bucket is full again.
    pub(crate) fn forget_quiet(&self) {
        if let Kind::Clients(buckets) = &self.kind {
            buckets.retain_recent();
            buckets.shrink_to_fit();
        }
    }
}

/// What counts as one client: an IPv4 address, or the /64 an IPv6 client can choose addresses from.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(requests: u32, per_client: bool) -> Limiter {
        Limiter::new(&Limit { requests, period: Duration::from_hours(1), per_client })
    }

    #[test]
    fn the_burst_is_the_whole_limit_and_then_it_says_when() {
        let limiter = limit(3, true);
        let client = IpAddr::from([192, 0, 2, 1]);
        assert!((0..3).all(|_| limiter.take(client).is_ok()));
        let wait = limiter.take(client).unwrap_err();
        assert!(wait > Duration::from_secs(1000) && wait <= Duration::from_mins(20), "{wait:?}");
        assert!(limiter.take(IpAddr::from([192, 0, 2, 2])).is_ok(), "another client has its own bucket");
    }

    #[test]
    fn ipv6_counts_by_64_and_mapped_addresses_as_ipv4() {
        let limiter = limit(1, true);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(limiter.take(address("2001:db8::1")).is_ok());
        assert!(limiter.take(address("2001:db8::ffff:2")).is_err());
        assert!(limiter.take(address("2001:db8:0:1::1")).is_ok());
        assert!(limiter.take(address("192.0.2.9")).is_ok());
        assert!(limiter.take(address("::ffff:192.0.2.9")).is_err());
    }

    #[test]
    fn one_bucket_for_everybody() {
        let limiter = limit(2, false);
        assert!(limiter.take(IpAddr::from([192, 0, 2, 1])).is_ok());
        assert!(limiter.take(IpAddr::from([192, 0, 2, 2])).is_ok());
        assert!(limiter.take(IpAddr::from([192, 0, 2, 3])).is_err());
    }
}
