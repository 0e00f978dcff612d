//! What the operator wants: flags, each also a key of one TOML file, over built-in defaults.
//!
//! Everything is read and checked, and all mistakes are told together, before a port is bound.

mod options;
#[cfg(test)]
mod tests;

use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, bail};
use cupola_router::AddressRange;
use cupola_runtime::{Cidr, RuntimeConfig};

pub(crate) use options::{Options, Place};

/// The configuration as it is used.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub data_dir: PathBuf,
    pub run_dir: PathBuf,
    pub api_addr: SocketAddr,
    pub router_addrs: Vec<SocketAddr>,
    pub trusted_proxies: Vec<AddressRange>,
    pub tls: Option<TlsFiles>,
    pub apps_domain: String,
    pub external_url: String,
    pub admin_password_file: Option<PathBuf>,
    pub sealing_key_file: PathBuf,
    pub instance_subnet: Cidr,
    pub egress_allow: Vec<Cidr>,
    pub staging_egress_allow: Vec<Cidr>,
    pub runtime: PathBuf,
    pub staging_concurrency: usize,
    pub staging_memory_mib: u32,
    pub staging_disk_mib: u32,
    pub staging_timeout: Duration,
    pub instance_memory_mib_max: u32,
    pub instance_disk_mib_max: u32,
    pub upload_mib_max: u64,
    pub log_mib_per_app_max: u64,
    pub log_days_max: u64,
    pub event_days_max: u64,
}

/// A certificate chain and its key, as PEM.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Config {
    /// Reads the file that the flags name, lets flags win, and checks the whole.
    pub(crate) fn resolve(flags: Options) -> anyhow::Result<Self> {
        let file = Options::of_file(flags.place.config.as_deref())?;
        let mut mistakes = Vec::new();
        let config = flags.or(file).into_config(&mut mistakes);
        match mistakes.as_slice() {
            [] => Ok(config),
            [mistake] => bail!("{mistake}"),
            many => {
                bail!("the configuration has {} mistakes:\n  {}", many.len(), many.join("\n  "))
            }
        }
    }

    /// What the runtime needs to know of it.
    pub(crate) fn for_runtime(&self) -> anyhow::Result<RuntimeConfig> {
        let mut runtime = RuntimeConfig::new(&self.data_dir, &self.run_dir, &self_exe()?);
        runtime.runtime_path.clone_from(&self.runtime);
        runtime.instance_subnet = self.instance_subnet;
        runtime.egress_allow.clone_from(&self.egress_allow);
        runtime.staging_egress_allow.clone_from(&self.staging_egress_allow);
        Ok(runtime)
    }

    /// Whether the API is served with TLS.
    pub(crate) const fn needs_tls(&self) -> bool {
        self.tls.is_some() || !self.api_addr.ip().is_loopback()
    }
}

impl Options {
    /// Fills in the defaults, and adds what cannot be to `mistakes`.
    fn into_config(self, mistakes: &mut Vec<String>) -> Config {
        let api_addr = self.api_addr.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8081)));
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                mistakes.push("--tls-cert needs --tls-key, the key of the certificate".to_owned());
                None
            }
            (None, Some(_)) => {
                mistakes.push("--tls-key needs --tls-cert, the certificate of the key".to_owned());
                None
            }
        };
        let scheme = if tls.is_some() || !api_addr.ip().is_loopback() { "https" } else { "http" };
        let external_url =
            self.external_url.unwrap_or_else(|| format!("{scheme}://{}", reachable(api_addr)));
        check_external_url(&external_url, mistakes);
        let apps_domain = self.apps_domain.unwrap_or_else(|| "apps.localhost".to_owned());
        check_domain(&apps_domain, mistakes);
        let data_dir = self.place.data_dir();
        Config {
            run_dir: self.place.run_dir(),
            api_addr,
            router_addrs: if self.router_addr.is_empty() {
                vec![
                    SocketAddr::from(([127, 0, 0, 1], 8080)),
                    SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 8080)),
                ]
            } else {
                self.router_addr
            },
            trusted_proxies: if self.trusted_proxy.is_empty() {
                AddressRange::loopback()
            } else {
                ranges("--trusted-proxy", self.trusted_proxy, mistakes)
            },
            tls,
            apps_domain,
            external_url: external_url.trim_end_matches('/').to_owned(),
            admin_password_file: self.admin_password_file,
            sealing_key_file: self.sealing_key_file.unwrap_or_else(|| data_dir.join("sealing-key")),
            instance_subnet: range(
                "--instance-subnet",
                self.instance_subnet,
                "10.88.0.0/16",
                mistakes,
            ),
            egress_allow: ranges("--egress-allow", self.egress_allow, mistakes),
            staging_egress_allow: ranges(
                "--staging-egress-allow",
                self.staging_egress_allow,
                mistakes,
            ),
            runtime: self.runtime.unwrap_or_else(cupola_runtime::default_runtime),
            staging_concurrency: self.staging_concurrency.unwrap_or(2).max(1),
            staging_memory_mib: self.staging_memory_mib.unwrap_or(2048),
            staging_disk_mib: self.staging_disk_mib.unwrap_or(4096),
            staging_timeout: Duration::from_secs(60 * self.staging_minutes_max.unwrap_or(15)),
            instance_memory_mib_max: self.instance_memory_mib_max.unwrap_or(8192),
            instance_disk_mib_max: self.instance_disk_mib_max.unwrap_or(8192),
            upload_mib_max: self.upload_mib_max.unwrap_or(1024),
            log_mib_per_app_max: self.log_mib_per_app_max.unwrap_or(64),
            log_days_max: self.log_days_max.unwrap_or(7),
            event_days_max: self.event_days_max.unwrap_or(31),
            data_dir,
        }
    }
}

/// An address that a client on this machine can use for one that is bound to every interface.
fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], addr.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], addr.port()))
        }
        _ => addr,
    }
}

fn check_external_url(url: &str, mistakes: &mut Vec<String>) {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let is_plain = |c: char| c.is_ascii_graphic() && c != '?' && c != '#';
    if !rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(is_plain)) {
        mistakes.push(format!(
            "--external-url `{url}` is not the address of an API; write it like https://api.example.com"
        ));
    }
}

fn check_domain(domain: &str, mistakes: &mut Vec<String>) {
    let is_label = |label: &str| {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=63).contains(&label.len()) && label.chars().all(is_plain)
    };
    if domain.len() > 253 || !domain.split('.').all(is_label) {
        mistakes.push(format!(
            "--apps-domain `{domain}` is not a domain; write it in lower case, like apps.example.com"
        ));
    }
}

fn range(flag: &str, text: Option<String>, default: &str, mistakes: &mut Vec<String>) -> Cidr {
    let fallback = || default.parse().expect("the default is a range");
    text.map_or_else(fallback, |text| {
        text.parse().unwrap_or_else(|error| {
            mistakes.push(format!("{flag}: {error}"));
            fallback()
        })
    })
}

fn ranges<Range: FromStr<Err: Display>>(
    flag: &str,
    texts: Vec<String>,
    mistakes: &mut Vec<String>,
) -> Vec<Range> {
    let parsed = texts.into_iter().filter_map(|text| {
        text.parse().map_err(|error| mistakes.push(format!("{flag}: {error}"))).ok()
    });
    parsed.collect()
}

/// The environment that clients of package registries are configured by.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    let variables = std::env::vars_os();
    variables.filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
}

/// The home of whoever started the platform, where package managers are configured.
pub(crate) fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_else(|| PathBuf::from("/root"))
}

/// The binary itself, which the platform starts in its other roles.
pub(crate) fn self_exe() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find the cupola binary itself")
}
