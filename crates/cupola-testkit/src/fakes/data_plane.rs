//! A data plane that serves every table at once, unless a test holds it back, and keeps it for the
//! test to look at.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cupola_domain::{
    ids::{AppId, InstanceId},
    route_table::RouteTable,
    traffic::RequestCounts,
};
use cupola_ports::data_plane::{AccessLine, Counted, DataPlane, DataPlaneError, TrafficReport};
use tokio::sync::{mpsc, watch};

pub struct FakeDataPlane {
    report: watch::Sender<Arc<TrafficReport>>,
    wanted: watch::Sender<Option<Arc<RouteTable>>>,
    table: watch::Sender<Option<Arc<RouteTable>>>,
    is_held: AtomicBool,
    counts: mpsc::Sender<Counted>,
    counted: Mutex<Option<mpsc::Receiver<Counted>>>,
}

impl FakeDataPlane {
    pub(crate) fn new() -> Self {
        let (counts, counted) = mpsc::channel(16);
        Self {
            counts,
            counted: Mutex::new(Some(counted)),
            report: watch::Sender::default(),
            wanted: watch::Sender::new(None),
            table: watch::Sender::new(None),
            is_held: AtomicBool::new(false),
        }
    }

    /// The table that was handed over last, served or not.
    pub fn wanted(&self) -> watch::Receiver<Option<Arc<RouteTable>>> {
        self.wanted.subscribe()
    }

    /// Tables are taken and not served until this is called with `false`.
    pub fn hold_tables(&self, held: bool) {
        self.is_held.store(held, Ordering::Relaxed);
        let wanted = self.wanted.borrow().clone();
        if let Some(table) = wanted.filter(|_| !held) {
            self.serve(table);
        }
    }

    /// So many requests are being answered by this instance.
    pub fn let_in_flight(&self, instance: InstanceId, in_flight: u64) {
        self.report.send_modify(|report| {
            Arc::make_mut(report).instances.entry(instance).or_default().in_flight = in_flight;
        });
    }

    /// Another process took over, while the one before still answers requests that are not told.
    pub fn hand_over(&self) {
        self.report.send_modify(|report| Arc::make_mut(report).handovers += 1);
    }

    /// So many requests to an app ended in the period before now. Returns when control knows.
    pub async fn tell_counts(&self, period: Duration, app: AppId, counts: RequestCounts) {
        let counted = Counted { period, apps: vec![(app, counts)] };
        self.counts.send(counted).await.expect("the loop of traffic runs");
        while self.counts.capacity() < self.counts.max_capacity() {
            tokio::task::yield_now().await;
        }
    }

    /// Whether requests are counted; they are not unless this was called.
    pub fn let_count(&self, is_counting: bool) {
        self.report.send_modify(|report| Arc::make_mut(report).is_counting = is_counting);
    }

    fn serve(&self, table: Arc<RouteTable>) {
        let serving = Some((table.epoch, table.version));
        self.table.send_replace(Some(table));
        self.report.send_modify(|report| Arc::make_mut(report).serving = serving);
    }

    /// The table that is served, for waiting on.
    pub fn table(&self) -> watch::Receiver<Option<Arc<RouteTable>>> {
        self.table.subscribe()
    }
}

#[async_trait]
impl DataPlane for FakeDataPlane {
    async fn apply(&self, table: Arc<RouteTable>) -> Result<(), DataPlaneError> {
        self.wanted.send_replace(Some(Arc::clone(&table)));
        if !self.is_held.load(Ordering::Relaxed) {
            self.serve(table);
        }
        Ok(())
    }

    fn report(&self) -> watch::Receiver<Arc<TrafficReport>> {
        self.report.subscribe()
    }

    fn access_log(&self) -> Option<mpsc::Receiver<AccessLine>> {
        None
    }

    fn request_counts(&self) -> Option<mpsc::Receiver<Counted>> {
        self.counted.lock().expect("no test panicked with it").take()
    }

    async fn close_tunnels(&self, _: InstanceId) -> Result<(), DataPlaneError> {
        Ok(())
    }
}
