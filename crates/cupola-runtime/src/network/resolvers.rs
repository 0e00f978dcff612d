//! The name servers that containers use: the host's own, as far as they can be reached from inside.

use std::{fs, net::Ipv4Addr};

/// Where systemd-resolved writes the servers that its stub on the loopback address asks.
const UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";

/// The host's resolvers. One on a loopback address is of no use in another network namespace, so
/// the servers that it asks are taken in its place.
pub(crate) fn of_host() -> Vec<Ipv4Addr> {
    let own = parse(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    if own.iter().any(Ipv4Addr::is_loopback) || own.is_empty() {
        let upstream = parse(&fs::read_to_string(UPSTREAM).unwrap_or_default());
        let usable: Vec<_> = upstream.into_iter().filter(|server| !server.is_loopback()).collect();
        if !usable.is_empty() {
            return usable;
        }
    }
    own.into_iter().filter(|server| !server.is_loopback()).collect()
}

fn parse(text: &str) -> Vec<Ipv4Addr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next()? == "nameserver").then(|| words.next())??.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ipv4_servers_are_read() {
        let text = "# x\nsearch example.org\nnameserver 192.0.2.53\nnameserver fd00::53\n";

        assert_eq!(parse(text), [Ipv4Addr::new(192, 0, 2, 53)]);
    }
}
