//! Hands out the addresses of the instance subnet.
//!
//! One that was given back is used again as late as possible: somebody may still hold a table, a
//! connection or a name that says it is somebody else's.

use std::{collections::HashSet, net::Ipv4Addr};

use crate::config::Cidr;

/// The number of the host's address on every link.
pub(super) const GATEWAY: u32 = 1;
/// The first number for a container.
pub(super) const FIRST: u32 = 2;
/// Rules are opened for so many addresses at a time.
const BLOCK: u32 = 64;
/// So many addresses are used round robin before more are opened.
const ROUND: u32 = 1024;

#[derive(Debug)]
pub(super) struct Addresses {
    subnet: Cidr,
    used: HashSet<u32>,
    next: u32,
}

impl Addresses {
    pub(super) fn new(subnet: Cidr, used: &[Ipv4Addr]) -> Self {
        let used: HashSet<u32> =
            used.iter().filter_map(|address| subnet.number(*address)).collect();
        Self { subnet, used, next: FIRST }
    }

    pub(super) fn take(&mut self) -> Option<Ipv4Addr> {
        let end = self.round_end();
        let candidates = (self.next..end).chain(FIRST..self.next.min(end));
        let number = candidates.into_iter().find(|number| !self.used.contains(number))?;
        self.used.insert(number);
        self.next = number + 1;
        Some(self.subnet.address(number))
    }

    pub(super) fn give_back(&mut self, address: Ipv4Addr) {
        if let Some(number) = self.subnet.number(address) {
            self.used.remove(&number);
        }
    }

    /// Grows with the number of containers, so that there is always a choice.
    fn round_end(&self) -> u32 {
        let used = u32::try_from(self.used.len()).unwrap_or(u32::MAX);
        // The last address of a subnet is its broadcast address.
        let last = u32::try_from(self.subnet.size() - 1).unwrap_or(u32::MAX);
        last.min(ROUND.max(used.saturating_mul(4)))
    }
}

/// The end of the block with this number.
pub(super) fn block_end(number: u32) -> u32 {
    (number / BLOCK + 1) * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_round_and_are_never_given_twice() {
        let subnet: Cidr = "10.88.0.0/28".parse().unwrap();
        let mut addresses = Addresses::new(subnet, &[Ipv4Addr::new(10, 88, 0, 3)]);

        let first = addresses.take().unwrap();
        let second = addresses.take().unwrap();
        addresses.give_back(first);
        let third = addresses.take().unwrap();

        assert_eq!(first, Ipv4Addr::new(10, 88, 0, 2));
        assert_eq!(second, Ipv4Addr::new(10, 88, 0, 4));
        assert_eq!(third, Ipv4Addr::new(10, 88, 0, 5));
    }

    #[test]
    fn a_full_subnet_gives_nothing_and_the_broadcast_address_is_never_given() {
        let subnet: Cidr = "10.88.0.0/29".parse().unwrap();
        let mut addresses = Addresses::new(subnet, &[]);

        let taken: Vec<_> = std::iter::from_fn(|| addresses.take()).collect();

        assert_eq!(taken.len(), 5);
        assert!(!taken.contains(&Ipv4Addr::new(10, 88, 0, 7)));
    }
}
