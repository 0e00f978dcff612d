//! The flags of `up`, `down` and `doctor`, which are also the keys of their file.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use serde::Deserialize;

const DATA_DIR: &str = "/var/lib/cupola";
const RUN_DIR: &str = "/run/cupola";

/// Where the platform of this machine is.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct Place {
    /// A TOML file whose keys are the flags without their dashes; flags win
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Everything that must survive a reboot [default: /var/lib/cupola]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Sockets, and what belongs to running containers [default: /run/cupola]
    #[arg(long, env = "CUPOLA_RUN_DIR", value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
}

impl Place {
    /// Fills in what only the file says.
    pub(crate) fn resolve(self) -> anyhow::Result<Self> {
        let file = Options::of_file(self.config.as_deref())?;
        Ok(self.or(file.place))
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        absolute(self.data_dir.as_deref().unwrap_or(Path::new(DATA_DIR)))
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        absolute(self.run_dir.as_deref().unwrap_or(Path::new(RUN_DIR)))
    }

    fn or(self, other: Self) -> Self {
        Self {
            config: self.config,
            data_dir: self.data_dir.or(other.data_dir),
            run_dir: self.run_dir.or(other.run_dir),
        }
    }
}

/// One spelling for each folder, wherever it is called from: installations are named by theirs.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.components().collect())
}

#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct Options {
    #[command(flatten)]
    #[serde(flatten)]
    pub place: Place,
    /// Where the API listens; TLS is required if it is not loopback [default: 127.0.0.1:8081]
    #[arg(long, value_name = "IP:PORT")]
    pub api_addr: Option<SocketAddr>,
    /// Where apps are reached; may be repeated [default: 127.0.0.1:8080 and [::1]:8080]
    #[arg(long, value_name = "IP:PORT")]
    pub router_addr: Vec<SocketAddr>,
    /// Proxies in front of the router, whose `X-Forwarded-*` headers are passed on; may be repeated
    /// [default: loopback]
    #[arg(long, value_name = "CIDR")]
    pub trusted_proxy: Vec<String>,
    /// Certificate chain for the API, as PEM [default: one of an authority made at first start]
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Key of the certificate, as PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Apps get routes under it [default: apps.localhost]
    #[arg(long, value_name = "DOMAIN")]
    pub apps_domain: Option<String>,
    /// How clients reach the API; every link is built from it [default: from --api-addr]
    #[arg(long, value_name = "URL")]
    pub external_url: Option<String>,
    /// Read the password of `admin` from it, or write the generated one to it if it is not there
    #[arg(long, value_name = "FILE")]
    pub admin_password_file: Option<PathBuf>,
    /// The credentials of services are sealed with the first key in it; made if it is not there
    /// [default: sealing-key in --data-dir]
    #[arg(long, value_name = "FILE")]
    pub sealing_key_file: Option<PathBuf>,
    /// Instances get their addresses from this range [default: 10.88.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub instance_subnet: Option<String>,
    /// A private range that apps may reach; may be repeated
    #[arg(long, value_name = "CIDR")]
    pub egress_allow: Vec<String>,
    /// A private range that builds may reach; may be repeated
    #[arg(long, value_name = "CIDR")]
    pub staging_egress_allow: Vec<String>,
    /// The OCI runtime: runc, crun, or any that speaks the same command line [default: runc, or crun where
    /// only that is there]
    #[arg(long, value_name = "PATH")]
    pub runtime: Option<PathBuf>,
    /// Builds at the same time [default: 2]
    #[arg(long, value_name = "NUMBER")]
    pub staging_concurrency: Option<usize>,
    /// Memory of one build [default: 2048]
    #[arg(long, value_name = "MIB")]
    pub staging_memory_mib: Option<u32>,
    /// Disk of one build [default: 4096]
    #[arg(long, value_name = "MIB")]
    pub staging_disk_mib: Option<u32>,
    /// Time of one build [default: 15]
    #[arg(long, value_name = "MINUTES")]
    pub staging_minutes_max: Option<u64>,
    /// The most memory that an instance may ask for [default: 8192]
    #[arg(long, value_name = "MIB")]
    pub instance_memory_mib_max: Option<u32>,
    /// The most disk that an instance may ask for [default: 8192]
    #[arg(long, value_name = "MIB")]
    pub instance_disk_mib_max: Option<u32>,
    /// The largest upload [default: 1024]
    #[arg(long, value_name = "MIB")]
    pub upload_mib_max: Option<u64>,
    /// Logs kept per app, compressed [default: 64]
    #[arg(long, value_name = "MIB")]
    pub log_mib_per_app_max: Option<u64>,
    /// How long logs are kept [default: 7]
    #[arg(long, value_name = "DAYS")]
    pub log_days_max: Option<u64>,
    /// How long audit events are kept, and with them what `changes` and `dora` tell [default: 31]
    #[arg(long, value_name = "DAYS")]
    pub event_days_max: Option<u64>,
}

impl Options {
    /// Empty without a file.
    pub(super) fn of_file(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
        let name = || format!("the configuration file {} cannot be used", path.display());
        let table: toml::Table = text.parse().with_context(name)?;
        for key in table.keys() {
            if !Self::has_flag(key) {
                let text = "its key `{key}` is not a flag of `cupola up`; see `cupola up --help`";
                return Err(anyhow!("{}", text.replace("{key}", key))).with_context(name);
            }
        }
        table.try_into().with_context(name)
    }

    /// Serde cannot refuse unknown keys of a flattened struct, so that the flags are asked.
    fn has_flag(key: &str) -> bool {
        let flags = <Self as clap::Args>::augment_args(clap::Command::new("up"));
        key != "config" && flags.get_arguments().any(|flag| flag.get_long() == Some(key))
    }

    /// Each key from `self`, or else from `other`.
    pub(super) fn or(self, other: Self) -> Self {
        let or_list = |mine: Vec<String>, others| if mine.is_empty() { others } else { mine };
        Self {
            place: self.place.or(other.place),
            api_addr: self.api_addr.or(other.api_addr),
            router_addr: if self.router_addr.is_empty() {
                other.router_addr
            } else {
                self.router_addr
            },
            trusted_proxy: or_list(self.trusted_proxy, other.trusted_proxy),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            apps_domain: self.apps_domain.or(other.apps_domain),
            external_url: self.external_url.or(other.external_url),
            admin_password_file: self.admin_password_file.or(other.admin_password_file),
            sealing_key_file: self.sealing_key_file.or(other.sealing_key_file),
            instance_subnet: self.instance_subnet.or(other.instance_subnet),
            egress_allow: or_list(self.egress_allow, other.egress_allow),
            staging_egress_allow: or_list(self.staging_egress_allow, other.staging_egress_allow),
            runtime: self.runtime.or(other.runtime),
            staging_concurrency: self.staging_concurrency.or(other.staging_concurrency),
            staging_memory_mib: self.staging_memory_mib.or(other.staging_memory_mib),
            staging_disk_mib: self.staging_disk_mib.or(other.staging_disk_mib),
            staging_minutes_max: self.staging_minutes_max.or(other.staging_minutes_max),
            instance_memory_mib_max: self.instance_memory_mib_max.or(other.instance_memory_mib_max),
            instance_disk_mib_max: self.instance_disk_mib_max.or(other.instance_disk_mib_max),
            upload_mib_max: self.upload_mib_max.or(other.upload_mib_max),
            log_mib_per_app_max: self.log_mib_per_app_max.or(other.log_mib_per_app_max),
            log_days_max: self.log_days_max.or(other.log_days_max),
            event_days_max: self.event_days_max.or(other.event_days_max),
        }
    }
}
