//! The table that the data plane serves from: route -> match rules -> weighted release groups ->
//! instances, with an optional mirror. Version 1 of the saved route table.
//!
//! Invariant: plain data. How it is sharded and looked up belongs to the data plane.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::ids::{AppId, InstanceId, ProcessId};

/// What one route is found by. Host is lower case and may begin with `*.`; path is empty or
/// begins with a slash and does not end with one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteKey {
    pub host: String,
    pub path: String,
}

/// One running instance that may be sent requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub instance_id: InstanceId,
    pub process_id: ProcessId,
    pub index: u32,
    pub address: SocketAddr,
}

/// Instances of one release that share a weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseGroup {
    pub app_id: AppId,
    pub process_type: String,
    /// Share of the requests, relative to the other groups of the rule.
    pub weight: u32,
    pub endpoints: Vec<Endpoint>,
}

/// Which requests of a route a rule is for. More kinds follow with dark launching.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestMatch {
    Any,
    HeaderEquals { name: String, value: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRule {
    pub matches: RequestMatch,
    pub groups: Vec<ReleaseGroup>,
    /// Copies of requests go here and its answers are thrown away. Always none for now.
    pub mirror: Option<ReleaseGroup>,
    /// The groups answer as if they were one: weights are not looked at, every instance counts
    /// alike. Not written where it is false, as in tables from before there was a choice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_pooled: bool,
}

/// How an instance is chosen among those that may answer. A sticky cookie comes before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadBalancing {
    #[default]
    RoundRobin,
    /// The one with the fewest requests and tunnels under way.
    LeastConnection,
    /// The same one for the same value of a request header; requests without it go round.
    Hash {
        /// Lower case.
        header: String,
        /// An instance with more than this share of the mean load, in thousandths, is passed over.
        /// 0: never.
        balance_permille: u32,
    },
}

impl LoadBalancing {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The first rule that matches is used. A route without endpoints answers 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteEntry {
    pub rules: Vec<RouteRule>,
    /// Not written where it is round robin, as in tables from before there was a choice.
    #[serde(default, skip_serializing_if = "LoadBalancing::is_default")]
    pub load_balancing: LoadBalancing,
}

/// Every route, as control wants it. `version` grows with every change within an `epoch`; a
/// larger epoch is a new leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    pub epoch: u64,
    pub version: u64,
    #[serde(with = "entries")]
    pub routes: BTreeMap<RouteKey, RouteEntry>,
}

/// JSON has no maps with structured keys, so that the routes are written as a list of pairs.
mod entries {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{RouteEntry, RouteKey};

    pub(super) fn serialize<S: Serializer>(
        routes: &BTreeMap<RouteKey, RouteEntry>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(routes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<RouteKey, RouteEntry>, D::Error> {
        Vec::<(RouteKey, RouteEntry)>::deserialize(deserializer)
            .map(|pairs| pairs.into_iter().collect())
    }
}
