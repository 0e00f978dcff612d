//! What the runtime is told at its start, and where it keeps what.

use std::{
    fmt,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::RuntimeError;

/// Everything that the container runtime needs to know.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Layers, stacks and the disks of running instances.
    pub data_dir: PathBuf,
    /// Sockets, pipes and records of running instances.
    pub run_dir: PathBuf,
    /// One to six lower-case letters and digits, different for each installation on a machine. Names
    /// its nftables table, cgroups and interfaces.
    pub installation: String,
    /// The static binary with the roles `init` and `shim`.
    pub self_exe: PathBuf,
    /// `runc`, `crun`, or any other that speaks the same command line.
    pub runtime_path: PathBuf,
    pub nft_path: PathBuf,
    /// Instances get their addresses from here.
    pub instance_subnet: Cidr,
    /// Private ranges that apps may reach.
    pub egress_allow: Vec<Cidr>,
    /// Private ranges that builds may reach.
    pub staging_egress_allow: Vec<Cidr>,
    /// Resolvers for instances; none means the host's own upstream resolvers.
    pub resolvers: Vec<Ipv4Addr>,
    /// The host's uid of uid 0 in containers; 65536 ids from here on are theirs.
    pub uid_base: u32,
    /// Whether layers are mounted id-mapped where the file system can do it. Otherwise each is
    /// copied once more, with its owners shifted.
    pub idmapped_layers: bool,
    /// How many instances are started at the same time.
    pub starts_max: usize,
    /// How many networks are kept prepared for the next starts.
    pub slots_ready: usize,
    pub pids_max: u32,
    pub open_files_max: u64,
    /// Connections to elsewhere that an instance or a build may have in the kernel's table, in which
    /// closed ones stay for two minutes. The table has 65 536 places on a small host.
    pub connections_max: u32,
    /// From SIGTERM to SIGKILL.
    pub stop_grace: Duration,
    /// How long a shim may take to answer, or to end a container that it was told to kill. One that
    /// takes longer is ended together with its container.
    pub shim_patience: Duration,
}

impl RuntimeConfig {
    /// The defaults for these folders; the installation is named by the data directory.
    pub fn new(data_dir: &Path, run_dir: &Path, self_exe: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            run_dir: run_dir.to_owned(),
            installation: installation_of(data_dir),
            self_exe: self_exe.to_owned(),
            runtime_path: PathBuf::from("runc"),
            nft_path: PathBuf::from("nft"),
            instance_subnet: Cidr { network: Ipv4Addr::new(10, 88, 0, 0), prefix: 16 },
            egress_allow: Vec::new(),
            staging_egress_allow: Vec::new(),
            resolvers: Vec::new(),
            uid_base: 100_000,
            idmapped_layers: true,
            starts_max: 4,
            slots_ready: 2,
            pids_max: 1024,
            open_files_max: 16_384,
            connections_max: 4096,
            stop_grace: Duration::from_secs(10),
            shim_patience: Duration::from_secs(30),
        }
    }

    pub(crate) fn check(&self) -> Result<(), RuntimeError> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let name = &self.installation;
        if name.is_empty() || name.len() > 6 || !name.chars().all(is_plain) {
            return Err(RuntimeError::BadInstallation { name: name.clone() });
        }
        if self.instance_subnet.prefix > 26 {
            return Err(RuntimeError::SubnetTooSmall { subnet: self.instance_subnet });
        }
        Ok(())
    }

    pub(crate) fn paths(&self) -> Paths {
        Paths { data: self.data_dir.clone(), run: self.run_dir.clone() }
    }

    pub(crate) fn cgroup_parent(&self) -> String {
        format!("/cupola-{}", self.installation)
    }
}

/// A name that follows from the data directory, so that it is the same at every start.
pub(crate) fn installation_of(data_dir: &Path) -> String {
    use std::{fmt::Write, os::unix::ffi::OsStrExt};
    let hash = Sha256::digest(data_dir.as_os_str().as_bytes());
    hash.iter().take(3).fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// Where the runtime keeps what.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    data: PathBuf,
    run: PathBuf,
}

impl Paths {
    pub(crate) fn of(data_dir: &Path, run_dir: &Path) -> Self {
        Self { data: data_dir.to_owned(), run: run_dir.to_owned() }
    }

    /// What `cupola down` must know.
    pub(crate) fn description(&self) -> PathBuf {
        self.run.join("runtime.json")
    }

    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    pub(crate) fn runtime_root(&self) -> PathBuf {
        self.run.join("runc")
    }

    pub(crate) fn instances(&self) -> PathBuf {
        self.run.join("instances")
    }

    pub(crate) fn instance(&self, id: &str) -> PathBuf {
        self.instances().join(id)
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.data.join("layers")
    }

    pub(crate) fn layers_unfinished(&self) -> PathBuf {
        self.layers().join("unfinished")
    }

    pub(crate) fn stacks(&self) -> PathBuf {
        self.data.join("stacks")
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.data.join("scratch")
    }
}

/// A range of IPv4 addresses such as `10.88.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    network: Ipv4Addr,
    prefix: u8,
}

/// A text that is not a range of IPv4 addresses.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a range of IPv4 addresses: expected a form such as 10.88.0.0/16")]
pub struct NotACidr(String);

impl Cidr {
    pub const fn network(self) -> Ipv4Addr {
        self.network
    }

    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// How many addresses are in it.
    pub fn size(self) -> u64 {
        1 << (32 - u32::from(self.prefix))
    }

    /// The address with this number, counted from the network address.
    pub fn address(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network).wrapping_add(number))
    }

    /// The number of an address of this range.
    pub fn number(self, address: Ipv4Addr) -> Option<u32> {
        self.contains(address).then(|| u32::from(address) - u32::from(self.network))
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.masked(address) == u32::from(self.network)
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    fn masked(self, address: Ipv4Addr) -> u32 {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
        u32::from(address) & mask
    }
}

impl FromStr for Cidr {
    type Err = NotACidr;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || NotACidr(text.to_owned());
        let (network, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let network: Ipv4Addr = network.parse().map_err(|_| error())?;
        let prefix: u8 = prefix.parse().map_err(|_| error())?;
        if prefix > 32 {
            return Err(error());
        }
        let mut range = Self { network, prefix };
        range.network = Ipv4Addr::from(range.masked(network));
        Ok(range)
    }
}

impl TryFrom<String> for Cidr {
    type Error = NotACidr;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(range: Cidr) -> Self {
        range.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_drops_the_host_part_and_knows_its_addresses() {
        let range: Cidr = "10.88.3.7/16".parse().unwrap();

        assert_eq!(range.to_string(), "10.88.0.0/16");
        assert_eq!(range.address(258), Ipv4Addr::new(10, 88, 1, 2));
        assert_eq!(range.number(Ipv4Addr::new(10, 88, 1, 2)), Some(258));
        assert_eq!(range.number(Ipv4Addr::new(10, 89, 1, 2)), None);
    }

    #[test]
    fn the_whole_internet_and_a_single_address_are_ranges() {
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        let one: Cidr = "192.0.2.1".parse().unwrap();

        assert!(all.contains(Ipv4Addr::new(203, 0, 113, 9)));
        assert_eq!(one.size(), 1);
        assert!(all.overlaps(one));
        assert!("10.0.0.0/33".parse::<Cidr>().is_err());
    }
}
