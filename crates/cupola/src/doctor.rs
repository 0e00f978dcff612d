//! `cupola doctor`: what this host can and cannot do.

use anyhow::{Context, bail};
use cupola_runtime::{Finding, ProbeResult, RuntimeConfig, probe_host};

use crate::config::{Place, self_exe};

pub(crate) fn run(place: &Place) -> anyhow::Result<()> {
    let config = RuntimeConfig::new(&place.data_dir(), &place.run_dir(), &self_exe()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the async runtime")?;
    let probe = runtime.block_on(probe_host(&config)).context("cannot probe the host")?;
    probe.findings.iter().for_each(print);
    if !probe.is_good() {
        bail!("something is missing: `cupola up` cannot run here");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is what the command is asked to show")]
fn print(finding: &Finding) {
    let result = match finding.result {
        ProbeResult::Good => "ok",
        ProbeResult::Warning => "warning",
        ProbeResult::Missing => "MISSING",
    };
    println!("{result:<8} {:<20} {}", finding.name, finding.detail);
    if let Some(hint) = &finding.hint {
        println!("{:<8} {:<20} hint: {hint}", "", "");
    }
}
