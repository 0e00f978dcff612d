//! `cupola down`: control, router and every app end, and nothing is left of them.

use std::time::Duration;

use anyhow::Context;

use crate::config::Place;

/// How long control may take to end before the rest is taken away under it.
const CONTROL_MAX: Duration = Duration::from_secs(20);

pub(crate) fn run(place: &Place) -> anyhow::Result<()> {
    let (data_dir, run_dir) = (place.data_dir(), place.run_dir());
    cupola_store::end_holder(&data_dir, CONTROL_MAX)
        .context("control did not end; is it busy? try again, or end it by its pid")?;
    cupola_router::stop(&run_dir).context("cannot stop the router")?;
    cupola_runtime::teardown(&run_dir, &data_dir).context("cannot remove every trace of the apps")?;
    match std::fs::remove_dir_all(&run_dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", run_dir.display())),
    }
}
