//! Routes: host, domain and path under which an app answers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AppId, DestinationId, DomainId, RouteId, SpaceId},
    orgs::Metadata,
    route_table::LoadBalancing,
    time::Timestamp,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub id: RouteId,
    pub space_id: SpaceId,
    pub domain_id: DomainId,
    /// Lower case; empty for the domain itself, `*` for every host without a route of its own.
    pub host: String,
    /// Empty, or begins with a slash and does not end with one.
    pub path: String,
    /// Per-route options of the API, kept as given.
    pub options: serde_json::Map<String, serde_json::Value>,
    /// Other spaces whose apps it may lead to.
    #[serde(default)]
    pub shared_spaces: BTreeSet<SpaceId>,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Which process of which app a route leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    pub id: DestinationId,
    pub route_id: RouteId,
    pub app_id: AppId,
    pub process_type: String,
    /// None: the port that instances are told to listen on.
    pub port: Option<u16>,
    pub protocol: String,
    /// 1 to 100: the share of the requests, in percent. See `shares`.
    pub weight: Option<u8>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Route {
    /// Whether apps of the space may be among its destinations.
    pub fn serves(&self, space: SpaceId) -> bool {
        self.space_id == space || self.shared_spaces.contains(&space)
    }

    /// What its options say of choosing instances; round robin if nothing that can be read.
    pub fn load_balancing(&self) -> LoadBalancing {
        let text = |name: &str| self.options.get(name).and_then(serde_json::Value::as_str);
        match (text("loadbalancing"), text("hash_header")) {
            (Some("least-connection"), _) => LoadBalancing::LeastConnection,
            (Some("hash"), Some(header)) => LoadBalancing::Hash {
                header: header.to_ascii_lowercase(),
                balance_permille: hash_balance(self.options.get("hash_balance")).unwrap_or(0),
            },
            _ => LoadBalancing::RoundRobin,
        }
    }
}

/// The option of this name in thousandths: 0 for no bound, or 1.1 to 10. The `cf` CLI sends numbers
/// as text. None if it is something else.
pub fn hash_balance(option: Option<&serde_json::Value>) -> Option<u32> {
    let value = match option? {
        serde_json::Value::String(text) => text.parse().ok()?,
        other => other.as_f64()?,
    };
    let is_allowed = value == 0.0 || (1.1..=10.0).contains(&value);
    // At most 10 000, so that nothing is cut off.
    is_allowed.then(|| (value * 1_000.0).round() as u32)
}

/// How the destinations of a route share its requests. None: by their numbers of instances.
///
/// Weights are percentages; the destinations without one share what the others leave of 100. Where
/// every destination has a weight, or they are more than 100 together, only their proportion counts.
pub fn shares(weights: &[Option<u8>]) -> Option<Vec<u32>> {
    let given: u32 = weights.iter().flatten().map(|weight| u32::from(*weight)).sum();
    let without = u32::try_from(weights.iter().filter(|weight| weight.is_none()).count()).ok()?;
    if given == 0 {
        return None;
    }
    // All of it times the number of those that share the rest, so that no share is rounded.
    let rest = 100_u32.saturating_sub(given);
    let share = |weight: &Option<u8>| weight.map_or(rest, |it| u32::from(it) * without.max(1));
    Some(weights.iter().map(share).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn balance_is_a_number_or_its_text_within_the_limits() {
        assert_eq!(hash_balance(Some(&json!("1.25"))), Some(1_250));
        assert_eq!(hash_balance(Some(&json!(10))), Some(10_000));
        assert_eq!(hash_balance(Some(&json!(0))), Some(0));
        for wrong in [json!("1.05"), json!(11), json!("NaN"), json!(-1), json!(true)] {
            assert_eq!(hash_balance(Some(&wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn destinations_without_weight_share_the_rest() {
        assert_eq!(shares(&[None, None]), None);
        assert_eq!(shares(&[Some(10), None]), Some(vec![10, 90]));
        assert_eq!(shares(&[Some(20), None, None]), Some(vec![40, 80, 80]));
        assert_eq!(shares(&[Some(100), None]), Some(vec![100, 0]));
        assert_eq!(shares(&[Some(3), Some(1)]), Some(vec![3, 1]));
    }

    proptest! {
        #[test]
        fn weighted_share_is_the_percentage_that_was_asked_for(
            weights in proptest::collection::vec(proptest::option::of(1_u8..=100), 1..20)
        ) {
            let given: u32 = weights.iter().flatten().map(|it| u32::from(*it)).sum();
            let Some(shares) = shares(&weights) else {
                prop_assert_eq!(given, 0);
                return Ok(());
            };
            let total: u32 = shares.iter().sum();
            let of_all = if weights.contains(&None) { given.max(100) } else { given };
            for (weight, share) in weights.iter().zip(&shares) {
                if let Some(weight) = weight {
                    // Exactly share / total == weight / of_all.
                    prop_assert_eq!(share * of_all, u32::from(*weight) * total);
                }
            }
        }
    }
}
