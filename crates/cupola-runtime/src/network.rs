//! The network of containers: one slot each, which is a pair of namespaces, and for those that may
//! talk to others a routed pair of interfaces with one address.
//!
//! Namespaces are kept by descriptors only: a slot that nobody uses any more is gone, whoever dies.
//! There is no bridge, so that everything an app sends passes the rules of `rules`.
//! Invariant: an interface and an address belong together for ever, see `addresses`.

mod addresses;
mod forwarding;
mod links;
mod resolvers;
mod rules;

use std::{
    net::Ipv4Addr,
    os::fd::AsRawFd,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use addresses::Addresses;
pub(crate) use forwarding::release as release_forwarding;
pub(crate) use resolvers::of_host as host_resolvers;
pub(crate) use rules::{Nft, remove_table};
use tokio::sync::Mutex as AsyncMutex;

use crate::{
    config::{Cidr, RuntimeConfig},
    error::{Doing, RuntimeError},
    sys::{self, NamespacePair},
};

/// Who a slot is for: it decides which private ranges can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Egress {
    App,
    Staging,
    /// A loopback interface and nothing else.
    None,
}

/// The network of this installation.
#[derive(Debug)]
pub(crate) struct Network {
    installation: String,
    subnet: Cidr,
    uid_base: u32,
    links: links::Links,
    addresses: Mutex<Addresses>,
    /// Addresses below this number are in the rules.
    opened: AsyncMutex<u32>,
    nft: Nft,
    resolvers: Vec<Ipv4Addr>,
    /// Made ahead for the next apps, so that their start need not wait.
    ready: Mutex<Vec<Slot>>,
    ready_max: usize,
    /// Held by the one who makes slots ahead.
    refilling: AsyncMutex<()>,
}

/// The namespaces of one container.
#[derive(Debug)]
pub(crate) struct Slot {
    namespaces: NamespacePair,
    pub(crate) address: Option<Ipv4Addr>,
}

impl Slot {
    /// Where another process finds the namespaces as long as this one keeps the slot.
    pub(crate) fn paths(&self) -> (PathBuf, PathBuf) {
        let path = |fd: i32| PathBuf::from(format!("/proc/{}/fd/{fd}", std::process::id()));
        (path(self.namespaces.user.as_raw_fd()), path(self.namespaces.net.as_raw_fd()))
    }
}

impl Network {
    /// Writes the rules and lets the host forward. `used` are addresses of adopted containers.
    pub(crate) async fn open(
        config: &RuntimeConfig,
        used: &[Ipv4Addr],
    ) -> Result<Self, RuntimeError> {
        let nft = Nft::new(&config.nft_path, &config.installation);
        let subnet = config.instance_subnet;
        let prefix = interface_prefix(&config.installation);
        rules::check_free(&nft, subnet, &prefix).await?;
        let resolvers = if config.resolvers.is_empty() {
            resolvers::of_host()
        } else {
            config.resolvers.clone()
        };
        let network = Self {
            installation: config.installation.clone(),
            subnet,
            uid_base: config.uid_base,
            links: links::Links::open()?,
            addresses: Mutex::new(Addresses::new(subnet, used)),
            opened: AsyncMutex::new(0),
            nft,
            resolvers,
            ready: Mutex::default(),
            ready_max: config.slots_ready,
            refilling: AsyncMutex::default(),
        };
        let rules = rules::Rules {
            installation: &network.installation,
            interface_prefix: &prefix,
            subnet,
            resolvers: &network.resolvers,
            egress_allow: &config.egress_allow,
            staging_egress_allow: &config.staging_egress_allow,
            connections_max: config.connections_max,
        };
        let used_numbers = used.iter().filter_map(|address| subnet.number(*address));
        let opened = addresses::block_end(used_numbers.max().unwrap_or(0));
        let table = rules.table() + &network.sources(0, opened);
        network.nft.apply(&table).await?;
        *network.opened.lock().await = opened;
        forwarding::acquire(&network.installation)?;
        Ok(network)
    }

    pub(crate) fn resolvers(&self) -> &[Ipv4Addr] {
        &self.resolvers
    }

    /// A slot for an app: one that was made ahead if there is one.
    pub(crate) async fn app_slot(self: &Arc<Self>) -> Result<Slot, RuntimeError> {
        let ready = self.ready.lock().expect("no panic while it is held").pop();
        let slot = match ready {
            Some(slot) => Ok(slot),
            None => self.slot(Egress::App).await,
        };
        self.refill();
        slot
    }

    /// Makes slots ahead in the background, one at a time.
    pub(crate) fn refill(self: &Arc<Self>) {
        let network = self.clone();
        tokio::spawn(async move {
            let Ok(_refilling) = network.refilling.try_lock() else { return };
            let count = || network.ready.lock().expect("no panic while it is held").len();
            while count() < network.ready_max {
                match network.slot(Egress::App).await {
                    Ok(slot) => {
                        network.ready.lock().expect("no panic while it is held").push(slot);
                    }
                    // The start that needs it will tell.
                    Err(_) => return,
                }
            }
        });
    }

    /// Makes the namespaces and, if asked for, the interfaces of one container.
    pub(crate) async fn slot(&self, egress: Egress) -> Result<Slot, RuntimeError> {
        let uid_base = self.uid_base;
        let namespaces = crate::layers::blocking(move || {
            sys::namespace_pair(uid_base).doing(|| "make namespaces".to_owned())
        })
        .await?;
        if egress == Egress::None {
            self.links.loopback_only(&namespaces.net).await?;
            return Ok(Slot { namespaces, address: None });
        }
        let address = self.take_address()?;
        let slot = Slot { namespaces, address: Some(address) };
        if let Err(error) = self.connect(&slot, address, egress).await {
            self.release(address).await;
            return Err(error);
        }
        Ok(slot)
    }

    /// Gives the address back, once its interface is gone.
    pub(crate) async fn release(&self, address: Ipv4Addr) {
        for egress in [Egress::App, Egress::Staging] {
            self.links.remove(&self.interface(address, egress)).await;
        }
        self.addresses.lock().expect("no panic while it is held").give_back(address);
    }

    fn take_address(&self) -> Result<Ipv4Addr, RuntimeError> {
        let mut addresses = self.addresses.lock().expect("no panic while it is held");
        addresses.take().ok_or(RuntimeError::SubnetExhausted { subnet: self.subnet })
    }

    async fn connect(
        &self,
        slot: &Slot,
        address: Ipv4Addr,
        egress: Egress,
    ) -> Result<(), RuntimeError> {
        self.open_rules_for(address).await?;
        let link = links::Link {
            interface: self.interface(address, egress),
            gateway: self.subnet.address(addresses::GATEWAY),
            address,
        };
        self.links.connect(&link, &slot.namespaces.net).await
    }

    /// Lets the rules know the interface of this address, together with a block of others: asking
    /// the kernel costs 2 ms each time.
    async fn open_rules_for(&self, address: Ipv4Addr) -> Result<(), RuntimeError> {
        let number = self.subnet.number(address).unwrap_or_default();
        let mut opened = self.opened.lock().await;
        if number >= *opened {
            let end = addresses::block_end(number);
            self.nft.apply(&self.sources(*opened, end)).await?;
            *opened = end;
        }
        Ok(())
    }

    fn sources(&self, from: u32, until: u32) -> String {
        let pairs = (from.max(addresses::FIRST)..until).flat_map(|number| {
            let address = self.subnet.address(number);
            [Egress::App, Egress::Staging].map(|egress| (self.interface(address, egress), address))
        });
        rules::add_sources(&self.installation, pairs)
    }

    fn interface(&self, address: Ipv4Addr, egress: Egress) -> String {
        let kind = if egress == Egress::Staging { rules::STAGING } else { rules::APP };
        let number = self.subnet.number(address).unwrap_or_default();
        format!("{}{kind}{number}", interface_prefix(&self.installation))
    }
}

/// Whose route overlaps the subnet, if it is not this installation's.
pub(crate) fn occupant(subnet: Cidr, installation: &str) -> Option<String> {
    rules::foreign_route(subnet, &interface_prefix(installation))
}

/// Interfaces of this installation start with it, and with no other's.
pub(crate) fn interface_prefix(installation: &str) -> String {
    format!("cu{installation}-")
}

/// Removes every interface of an installation.
pub(crate) async fn remove_links(installation: &str) {
    let Ok(links) = links::Links::open() else { return };
    for name in links::names_with(&interface_prefix(installation)) {
        links.remove(&name).await;
    }
}
