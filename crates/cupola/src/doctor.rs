//! `cupola doctor`: what this host can and cannot do.

use anyhow::bail;
use cupola_runtime::{RuntimeConfig, probe};

use crate::config::{Place, self_exe};

pub(crate) fn run(place: &Place) -> anyhow::Result<()> {
    let runtime = RuntimeConfig::new(&place.data_dir(), &place.run_dir(), &self_exe()?);
    let findings = probe::host(&runtime);
    for finding in &findings {
        print(finding);
    }
    let missing = findings.iter().filter(|probe| probe.verdict == probe::Verdict::Missing).count();
    if missing > 0 {
        bail!("{missing} of {} probes failed: `cupola up` cannot run here", findings.len());
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is what the command is asked to show")]
fn print(probe: &probe::Probe) {
    let verdict = match probe.verdict {
        probe::Verdict::Good => "ok",
        probe::Verdict::Warning => "warning",
        probe::Verdict::Missing => "MISSING",
    };
    println!("{verdict:<8} {:<24} {}", probe.name, probe.found);
    if let Some(hint) = &probe.hint {
        println!("{:<8} {:<24} hint: {hint}", "", "");
    }
}
