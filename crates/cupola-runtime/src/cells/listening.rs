//! On which ports a container listens, read from the kernel's tables of its network namespace.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use cupola_domain::instances::ListenDetail;

/// The kernel's number for a socket that takes connections.
const LISTEN: &str = "0A";
/// An app may listen on as many ports as it likes; so many are told, in its log and in its record.
const PORTS_MAX: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    address: IpAddr,
    port: u16,
}

/// What the network namespace of this process listens on.
pub(super) fn of_process(pid: i32) -> Vec<Socket> {
    ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .flat_map(|text| parse(&text))
        .collect()
}

/// Why a check of `port` may have failed. `detail` is what the check itself said.
pub(super) fn describe(sockets: &[Socket], port: u16, detail: String) -> ListenDetail {
    let on_port: Vec<&Socket> = sockets.iter().filter(|socket| socket.port == port).collect();
    if on_port.iter().any(|socket| !is_loopback(socket.address)) {
        return ListenDetail::Answered { detail };
    }
    if !on_port.is_empty() {
        return ListenDetail::LoopbackOnly;
    }
    let mut ports: Vec<u16> = sockets.iter().map(|socket| socket.port).collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        return ListenDetail::Nowhere;
    }
    let more = ports.len().saturating_sub(PORTS_MAX);
    ports.truncate(PORTS_MAX);
    ListenDetail::OtherPorts { ports, more }
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
        }
    }
}

fn parse(table: &str) -> Vec<Socket> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
            let (address, port) = local.split_once(':')?;
            (state == LISTEN).then_some(Socket {
                address: parse_address(address)?,
                port: u16::from_str_radix(port, 16).ok()?,
            })
        })
        .collect()
}

/// Words of 32 bits in the byte order of the machine.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let words: Vec<u32> = (0..hex.len() / 8)
        .map(|word| u32::from_str_radix(hex.get(word * 8..word * 8 + 8)?, 16).ok())
        .collect::<Option<_>>()?;
    match words.as_slice() {
        [word] => Some(Ipv4Addr::from(word.to_ne_bytes()).into()),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            for (place, word) in bytes.chunks_mut(4).zip([a, b, c, d]) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue\n";

    #[test]
    fn nowhere_other_ports_loopback_and_answered_are_told_apart() {
        let table = |rows: &str| parse(&format!("{HEAD}{rows}"));
        let of = |rows: &str| describe(&table(rows), 8080, "x".to_owned());
        let established = "   0: 0100007F:1F90 00000000:0000 01 00000000:00000000\n";
        let other = "   0: 00000000:0BB8 00000000:0000 0A 00000000:00000000\n";
        let loopback = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n";
        let mapped = "   0: 0000000000000000FFFF00000100007F:1F90 0:0 0A 0:0\n";
        let any6 = "   0: 00000000000000000000000000000000:1F90 0:0 0A 0:0\n";

        assert_eq!(of(established), ListenDetail::Nowhere);
        assert_eq!(of(other), ListenDetail::OtherPorts { ports: vec![3000], more: 0 });
        assert_eq!(of(loopback), ListenDetail::LoopbackOnly);
        assert_eq!(of(mapped), ListenDetail::LoopbackOnly);
        assert_eq!(of(any6), ListenDetail::Answered { detail: "x".to_owned() });
    }

    #[test]
    fn of_many_ports_the_first_ten_are_named_and_the_rest_counted() {
        let sockets: Vec<Socket> = (3000..4000)
            .map(|port| Socket { address: Ipv4Addr::UNSPECIFIED.into(), port })
            .collect();

        let detail = describe(&sockets, 8080, "x".to_owned());

        let ports = (3000..3010).collect();
        assert_eq!(detail, ListenDetail::OtherPorts { ports, more: 990 });
    }
}
