//! The packet filter: one nftables table per installation, of sets and chains.
//!
//! What an app may send: nothing under another's address, nothing to other apps, to the host's
//! ports, to private ranges, by IPv6 or to port 25; DNS to the host's resolvers; everything else.
//! The connections that one may have at a time are counted, as the kernel's table of them is shared
//! with the whole host: when it is full, the host drops packets of everybody.
//! Invariant: nothing changes when an instance starts or stops. Interface and address are a fixed
//! pair, known to the rules before the first use, so a start waits for no `nft`.

use std::{
    fmt::Write,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    config::Cidr,
    error::{Doing, RuntimeError},
};

/// Marks the interfaces of apps and of builds.
pub(super) const APP: char = 'a';
pub(super) const STAGING: char = 's';

const PRIVATE: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, \
     172.16.0.0/12, 192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/3";

/// What the rules are made of.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) installation: &'a str,
    pub(super) interface_prefix: &'a str,
    pub(super) subnet: Cidr,
    pub(super) resolvers: &'a [Ipv4Addr],
    pub(super) egress_allow: &'a [Cidr],
    pub(super) staging_egress_allow: &'a [Cidr],
    pub(super) connections_max: u32,
}

impl Rules<'_> {
    /// The whole table, in place of the one that may be there.
    pub(super) fn table(&self) -> String {
        let name = table_name(self.installation);
        let ours = format!("\"{}*\"", self.interface_prefix);
        let staging = format!("\"{}{STAGING}*\"", self.interface_prefix);
        let subnet = self.subnet;
        let host_networks = host_networks();
        let private =
            host_networks.iter().fold(PRIVATE.to_owned(), |all, range| format!("{all}, {range}"));
        format!(
            r"table inet {name} {{}}
delete table inet {name}
table inet {name} {{
  set subnet {{ type ipv4_addr; flags interval; elements = {{ {subnet} }} }}
  set sources {{ type ifname . ipv4_addr; }}
  set connections {{ type ipv4_addr; size 65536; flags dynamic; }}
  set resolvers {{ type ipv4_addr; {resolvers} }}
  set private {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {private} }} }}
  set allowed {{ type ipv4_addr; flags interval; auto-merge; {allowed} }}
  set staging_allowed {{ type ipv4_addr; flags interval; auto-merge; {staging_allowed} }}

  chain forward {{
    type filter hook forward priority filter - 5; policy accept;
    iifname {ours} jump from_instance
    oifname {ours} jump to_instance
  }}
  chain input {{
    type filter hook input priority filter - 5; policy accept;
    iifname {ours} jump to_host
  }}
  chain genuine {{
    meta nfproto != ipv4 drop
    iifname . ip saddr != @sources drop
    ct state invalid drop
    ct state new add @connections {{ ip saddr ct count over {connections} }} reject with icmpx admin-prohibited
  }}
  chain from_instance {{
    jump genuine
    ct state established,related accept
    oifname {ours} reject with icmpx admin-prohibited
    ip daddr @subnet reject with icmpx admin-prohibited
    ip daddr @resolvers meta l4proto {{ tcp, udp }} th dport 53 accept
    tcp dport 25 reject with icmpx admin-prohibited
    iifname {staging} ip daddr @staging_allowed accept
    iifname != {staging} ip daddr @allowed accept
    ip daddr @private reject with icmpx admin-prohibited
    accept
  }}
  chain to_instance {{
    ct state established,related accept
    reject with icmpx admin-prohibited
  }}
  chain to_host {{
    jump genuine
    ct state established,related accept
    ip daddr @resolvers meta l4proto {{ tcp, udp }} th dport 53 accept
    reject with icmpx admin-prohibited
  }}
  chain leave {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr @subnet oifname != {ours} masquerade
  }}
}}
",
            connections = self.connections_max,
            resolvers = elements(self.resolvers),
            allowed = elements(self.egress_allow),
            staging_allowed = elements(self.staging_egress_allow),
        )
    }
}

/// Lets these interfaces send under these addresses.
pub(super) fn add_sources(
    installation: &str,
    pairs: impl Iterator<Item = (String, Ipv4Addr)>,
) -> String {
    let mut list = String::new();
    for (interface, address) in pairs {
        if !list.is_empty() {
            list.push_str(", ");
        }
        let _ = write!(list, "\"{interface}\" . {address}");
    }
    format!("add element inet {} sources {{ {list} }}\n", table_name(installation))
}

/// The networks that the host itself is in, which may be public ones.
fn host_networks() -> Vec<Cidr> {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    parse_routes(&routes)
        .into_iter()
        .filter(|route| route.is_direct && route.range.prefix() > 0)
        .filter(|route| !route.interface.starts_with("cu"))
        .map(|route| route.range)
        .collect()
}

/// Fails if the subnet is used by somebody else on this machine.
pub(super) async fn check_free(
    nft: &Nft,
    subnet: Cidr,
    own_prefix: &str,
) -> Result<(), RuntimeError> {
    let occupied = |other: String| RuntimeError::SubnetOccupied { subnet, other };
    if let Some(route) = foreign_route(subnet, own_prefix) {
        return Err(occupied(route));
    }
    for table in nft.other_tables().await? {
        let Some(range) = nft.subnet_of(&table).await else { continue };
        if range.overlaps(subnet) {
            return Err(occupied(format!("the subnet {range} of another installation ({table})")));
        }
    }
    Ok(())
}

/// A route of somebody else that leads into the subnet.
pub(super) fn foreign_route(subnet: Cidr, own_prefix: &str) -> Option<String> {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    parse_routes(&routes)
        .into_iter()
        .filter(|route| route.range.prefix() > 0 && !route.interface.starts_with(own_prefix))
        .find(|route| route.range.overlaps(subnet))
        .map(|route| format!("the route to {} at {}", route.range, route.interface))
}

#[derive(Debug, PartialEq, Eq)]
struct Route {
    interface: String,
    range: Cidr,
    is_direct: bool,
}

fn parse_routes(text: &str) -> Vec<Route> {
    let address = |hex: &str| u32::from_str_radix(hex, 16).ok().map(u32::swap_bytes);
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (interface, network, gateway) =
                (*fields.first()?, *fields.get(1)?, *fields.get(2)?);
            let prefix = address(fields.get(7)?)?.count_ones();
            let network = Ipv4Addr::from(address(network)?);
            Some(Route {
                interface: interface.to_owned(),
                range: format!("{network}/{prefix}").parse().ok()?,
                is_direct: address(gateway)? == 0,
            })
        })
        .collect()
}

fn elements<T: std::fmt::Display>(items: &[T]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let list: Vec<String> = items.iter().map(ToString::to_string).collect();
    format!("elements = {{ {} }}", list.join(", "))
}

fn table_name(installation: &str) -> String {
    format!("cupola-{installation}")
}

/// Removes the table of an installation.
pub(crate) async fn remove_table(program: &Path, installation: &str) -> Result<(), RuntimeError> {
    let name = table_name(installation);
    let nft = Nft::new(program, installation);
    nft.apply(&format!("table inet {name} {{}}\ndelete table inet {name}\n")).await
}

/// The program that talks to the kernel's packet filter.
#[derive(Clone, Debug)]
pub(crate) struct Nft {
    program: PathBuf,
    installation: String,
}

impl Nft {
    pub(crate) fn new(program: &Path, installation: &str) -> Self {
        Self { program: program.to_owned(), installation: installation.to_owned() }
    }

    /// Applies all of the text or none of it.
    pub(crate) async fn apply(&self, text: &str) -> Result<(), RuntimeError> {
        self.run(&["-f", "-"], text).await.map(drop)
    }

    pub(crate) async fn run(&self, args: &[&str], input: &str) -> Result<String, RuntimeError> {
        let what = || format!("run `{}`: install the package nftables", self.program.display());
        let mut child = Command::new(&self.program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .doing(what)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends early says why on its standard error.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await.doing(what)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(RuntimeError::ProgramFailed {
            program: format!("{} {}", self.program.display(), args.join(" ")),
            detail: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    async fn other_tables(&self) -> Result<Vec<String>, RuntimeError> {
        let own = table_name(&self.installation);
        let tables = self.run(&["list", "tables", "inet"], "").await?;
        Ok(tables
            .lines()
            .filter_map(|line| line.strip_prefix("table inet "))
            .filter(|name| name.starts_with("cupola-") && *name != own)
            .map(str::to_owned)
            .collect())
    }

    async fn subnet_of(&self, table: &str) -> Option<Cidr> {
        let set = self.run(&["list", "set", "inet", table, "subnet"], "").await.ok()?;
        let (_, elements) = set.split_once("elements = {")?;
        elements.split(['}', ',']).next()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_the_kernel_are_read() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

        let routes = parse_routes(text);

        assert_eq!(routes[0].range.to_string(), "0.0.0.0/0");
        assert!(!routes[0].is_direct);
        assert_eq!(routes[1].range.to_string(), "192.0.2.0/24");
        assert!(routes[1].is_direct);
    }
}
