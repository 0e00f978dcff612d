//! `/cupola/v1/apps/{guid}/pull`: the ladders of an app.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ladders {
    pub app: String,
    /// `cupola push` and `cupola restart` replace its instances one by one.
    pub rolling_by_default: bool,
    pub ladders: Vec<Ladder>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ladder {
    /// `availability`, `security`, `capacity` or `customisation`.
    pub name: String,
    /// In order; empty where nothing can be pulled yet.
    pub rungs: Vec<Rung>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rung {
    pub name: String,
    /// Whether the app has what it gives, pulled or set by hand.
    pub has: bool,
    /// Whether it was pulled, so that it can be put back.
    pub pulled: bool,
    pub gives: String,
    pub costs: String,
    /// What it is set to, where that is more than a yes.
    pub detail: Option<String>,
    /// Why it cannot be pulled now.
    pub obstacle: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullRung {
    /// What a health check asks for; `/` if not said.
    pub endpoint: Option<String>,
}
