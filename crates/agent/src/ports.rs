//! Which ports of this machine instances listen on.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};

use crate::error::Error;

/// Ports of instances: below the range the system itself gives out (32768 and up), above what people choose.
pub(crate) const INSTANCES: RangeInclusive<u16> = 20_000..=31_999;

/// Ports at which one service of a revision calls another.
pub(crate) const INTERNAL: RangeInclusive<u16> = 32_000..=32_767;

/// The ports given out so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ports(Arc<Mutex<BTreeSet<u16>>>);

/// A port that is nobody else's until it is dropped.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    ports: Ports,
}

impl Ports {
    /// A port of `range` on which nothing listens.
    pub(crate) fn take(&self, range: RangeInclusive<u16>) -> Result<Port, Error> {
        let size = u32::from(range.end() - range.start()) + 1;
        // Beginning anywhere makes it unlikely that two agents of one machine look at the same port.
        let first = rand::random::<u32>() % size;
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for step in 0..size {
            let offset = u16::try_from((first + step) % size).unwrap_or_default();
            let number = range.start() + offset;
            if !taken.contains(&number) && is_free(number) {
                taken.insert(number);
                return Ok(Port { number, ports: self.clone() });
            }
        }
        Err(Error::failed(format!(
            "no port from {} to {} is free on 127.0.0.1; stop what listens there (`ss -ltnp`)",
            range.start(),
            range.end()
        )))
    }

    /// The port of an instance that runs already.
    pub(crate) fn keep(&self, number: u16) -> Port {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        Port { number, ports: self.clone() }
    }
}

impl Port {
    /// The port.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Whether a program could listen on it now.
    pub(crate) fn is_free(&self) -> bool {
        is_free(self.number)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ports.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// Whether a program could listen on a port now.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_out_once_and_comes_back() {
        let ports = Ports::default();
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let busy = busy.local_addr().unwrap().port();
        assert!(ports.take(busy..=busy).unwrap_err().to_string().contains("is free"));
        let one = ports.take(INSTANCES).unwrap();
        assert!(INSTANCES.contains(&one.number()) && one.is_free());
        let range = one.number()..=one.number();
        assert!(ports.take(range.clone()).is_err());
        drop(one);
        ports.take(range).unwrap();
    }
}
