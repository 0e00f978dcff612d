//! The way requests reach instances.
//!
//! Out goes the whole table that should be served; the adapter sends what changed. Back come what
//! is served now, traffic per instance, and the access log.
//!
//! Invariant: missing is not zero. An instance without a report is unknown, not idle.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use cupola_domain::{
    ids::{AppId, InstanceId},
    route_table::RouteTable,
    time::Timestamp,
    traffic::RequestCounts,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

#[derive(Debug, thiserror::Error)]
#[error("the data plane failed: {action}")]
pub struct DataPlaneError {
    pub action: String,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// What the data plane says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrafficReport {
    /// Epoch and version of the table that new requests are served from; none before the first, or
    /// while the data plane cannot be reached.
    pub serving: Option<(u64, u64)>,
    pub instances: HashMap<InstanceId, InstanceTraffic>,
    /// How often the data plane was started again since control began to talk to it.
    pub restarts: u64,
    /// How often it was replaced by another that began while it still answered requests. Those are
    /// in no report from then on, until they are over or the time of a drain is.
    pub handovers: u64,
    /// Access lines that were dropped because nobody took them.
    pub access_lines_lost: u64,
    /// Every request of now is counted and will be told by `request_counts`. False while the data
    /// plane cannot be reached.
    pub is_counting: bool,
}

/// How requests ended in the `period` before now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub period: Duration,
    /// Apps without a request are left out.
    pub apps: Vec<(AppId, RequestCounts)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceTraffic {
    /// Requests that are being answered, uploads and streams included.
    pub in_flight: u64,
    /// Upgraded connections, such as WebSockets.
    pub tunnels: u64,
    pub requests: u64,
    /// Answers of 500 and above, the router's own 502 for this instance included.
    pub errors: u64,
}

/// One answered request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLine {
    pub at: Timestamp,
    pub app_id: AppId,
    pub index: u32,
    /// The line of the access log, as gorouter formats it.
    pub text: String,
}

#[async_trait]
pub trait DataPlane: Send + Sync {
    /// Makes this the table to serve from. Returns when it is handed over, not when it is served:
    /// `report` tells that.
    async fn apply(&self, table: Arc<RouteTable>) -> Result<(), DataPlaneError>;

    fn report(&self) -> watch::Receiver<Arc<TrafficReport>>;

    /// The access log. The first caller gets it.
    fn access_log(&self) -> Option<mpsc::Receiver<AccessLine>>;

    /// How requests ended, each told once. While nobody takes it, it is summed. The first caller
    /// gets it.
    fn request_counts(&self) -> Option<mpsc::Receiver<Counted>>;

    /// Closes the upgraded connections to an instance that is about to end, WebSockets with code
    /// 1001 (RFC 6455, section 7.4.1).
    async fn close_tunnels(&self, instance: InstanceId) -> Result<(), DataPlaneError>;
}
