//! A data plane that serves every table at once and keeps it for the test to look at.

use std::sync::Arc;

use async_trait::async_trait;
use cupola_domain::{ids::InstanceId, route_table::RouteTable};
use cupola_ports::data_plane::{AccessLine, DataPlane, DataPlaneError, TrafficReport};
use tokio::sync::{mpsc, watch};

pub struct FakeDataPlane {
    report: watch::Sender<Arc<TrafficReport>>,
    table: watch::Sender<Option<Arc<RouteTable>>>,
}

impl FakeDataPlane {
    pub(crate) fn new() -> Self {
        Self { report: watch::Sender::default(), table: watch::Sender::new(None) }
    }

    /// The table that is served, for waiting on.
    pub fn table(&self) -> watch::Receiver<Option<Arc<RouteTable>>> {
        self.table.subscribe()
    }
}

#[async_trait]
impl DataPlane for FakeDataPlane {
    async fn apply(&self, table: Arc<RouteTable>) -> Result<(), DataPlaneError> {
        let serving = Some((table.epoch, table.version));
        self.table.send_replace(Some(table));
        self.report.send_modify(|report| Arc::make_mut(report).serving = serving);
        Ok(())
    }

    fn report(&self) -> watch::Receiver<Arc<TrafficReport>> {
        self.report.subscribe()
    }

    fn access_log(&self) -> Option<mpsc::Receiver<AccessLine>> {
        None
    }

    async fn close_tunnels(&self, _: InstanceId) -> Result<(), DataPlaneError> {
        Ok(())
    }
}
