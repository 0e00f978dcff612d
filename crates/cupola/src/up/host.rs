//! What `up` asks of the host before it begins.

use anyhow::{Context, bail};
use cupola_runtime::{Finding, ProbeResult, RuntimeConfig, probe_host};
use tracing_subscriber::EnvFilter;

/// Platform logs go to standard error; `RUST_LOG` filters them.
pub(crate) fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}

/// Raises the soft limit of open files to the hard one and returns it: each connection and each
/// instance needs some.
pub(super) fn raise_open_files() -> anyhow::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
            .context("cannot raise the limit of open files")?;
    }
    Ok(maximum.unwrap_or(u64::MAX))
}

/// Fails with everything that the platform cannot do without, and returns what it can.
pub(super) async fn check(runtime: &RuntimeConfig) -> anyhow::Result<Vec<String>> {
    if !rustix::process::geteuid().is_root() {
        bail!("containers need root: run `cupola up` as root");
    }
    let findings = probe_host(runtime).await.context("cannot probe the host")?.findings;
    let of = |result| findings.iter().filter(move |finding| finding.result == result).map(sentence);
    let missing: Vec<String> = of(ProbeResult::Missing).collect();
    if !missing.is_empty() {
        bail!("this host lacks something:\n  {}", missing.join("\n  "));
    }
    Ok(of(ProbeResult::Warning).collect())
}

fn sentence(finding: &Finding) -> String {
    let hint = finding.hint.as_deref().map_or_else(String::new, |hint| format!("; {hint}"));
    format!("{}: {}{hint}", finding.name, finding.detail)
}
