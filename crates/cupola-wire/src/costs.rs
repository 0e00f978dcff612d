//! `GET /cupola/v1/deployments/{guid}/cost`: what a deployment cost the users of its app.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeploymentCost {
    pub deployment: String,
    /// `DEPLOYING`, `PAUSED`, `CANCELING`, `DEPLOYED`, `CANCELED` or `SUPERSEDED`.
    pub status: String,
    /// Nothing of it changes any more.
    pub is_final: bool,
    /// The last minutes before it; null if nothing is known of them, here and in the others.
    pub before: Option<CostStretch>,
    /// From its beginning to its end, or to now.
    pub during: Option<CostStretch>,
    /// The minute after it, or less; null before its end too.
    pub after: Option<CostStretch>,
}

/// The requests that ended in a stretch of time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CostStretch {
    pub seconds: f64,
    /// For so long of it requests were counted; what came in the rest is unknown.
    pub counted_seconds: f64,
    /// Answers of the app, its errors included.
    pub served: u64,
    /// Answers of the app with 500 or above.
    pub app_errors: u64,
    /// What the platform did not bring to its end: its own 502, 503 and 504, and answers that broke off.
    pub failed: u64,
    /// Clients that went away before the answer began.
    pub abandoned: u64,
    /// WebSockets that ended.
    pub tunnels: u64,
    /// Until the answer of the app began; null without one.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}
