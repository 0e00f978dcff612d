//! `cupola doctor`: what this host can and cannot do for a platform with this configuration.

use std::io::Write;

use anyhow::{Context, bail};
use clap::Args;
use cupola_runtime::{Finding, ProbeResult, probe_host};

use crate::config::{Config, Options};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: Box<Options>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config = Config::resolve(*arguments.options)?.for_runtime()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the async runtime")?;
    let probe = runtime.block_on(probe_host(&config)).context("cannot probe the host")?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let json = serde_json::to_string_pretty(&probe.findings).context("cannot write JSON")?;
        writeln!(out, "{json}")?;
    } else {
        probe.findings.iter().try_for_each(|finding| write(&mut out, finding))?;
    }
    if !probe.is_good() {
        bail!("something is missing: `cupola up` cannot run here");
    }
    Ok(())
}

fn write(out: &mut impl Write, finding: &Finding) -> std::io::Result<()> {
    let result = match finding.result {
        ProbeResult::Good => "ok",
        ProbeResult::Warning => "warning",
        ProbeResult::Missing => "MISSING",
    };
    writeln!(out, "{result:<8} {:<20} {}", finding.name, finding.detail)?;
    match &finding.hint {
        Some(hint) => writeln!(out, "{:<8} {:<20} hint: {hint}", "", ""),
        None => Ok(()),
    }
}
