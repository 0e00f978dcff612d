//! Which instance of a release group is asked next: in turn, the least loaded, or by the hash of
//! a header.
//!
//! Loads are those of the whole router, not of one worker: each instance has one counter that all
//! workers share. A worker may see it a moment late, which no choice depends on.
//!
//! Hashing is rendezvous hashing: every instance gets a score from the value and from its process
//! and index, and the highest wins. So an instance that leaves moves only the values that were its
//! own, one that is restarted gets them back, and there is no table to rebuild. gorouter keeps a
//! Maglev table of instance ids for the first of these.

use std::sync::Arc;

use cupola_domain::route_table::LoadBalancing;
use http::HeaderMap;

use crate::instance::Instance;

/// How the instances of one request are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    RoundRobin,
    LeastConnection,
    Hash { key: u64, balance_permille: u32 },
}

impl Order {
    pub(crate) fn of(load_balancing: &LoadBalancing, headers: &HeaderMap) -> Self {
        match load_balancing {
            LoadBalancing::RoundRobin => Self::RoundRobin,
            LoadBalancing::LeastConnection => Self::LeastConnection,
            LoadBalancing::Hash { header, balance_permille } => {
                let value = headers.get(header.as_str()).filter(|value| !value.is_empty());
                value.map_or(Self::RoundRobin, |value| Self::Hash {
                    key: key(value.as_bytes()),
                    balance_permille: *balance_permille,
                })
            }
        }
    }

    /// The number that chooses a release group by weight: the same for the same header value.
    pub(crate) fn group_number(self, random: u64) -> u64 {
        match self {
            Self::RoundRobin | Self::LeastConnection => random,
            // Mixed once more, so that the group says nothing of the instance in it.
            Self::Hash { key, .. } => mixed(key),
        }
    }

    /// The instance to ask among those that fit. `turn` counts the choices of the group.
    pub(crate) fn choose<'a>(
        self,
        endpoints: &'a [Arc<Instance>],
        turn: usize,
        fits: impl Fn(&&'a Arc<Instance>) -> bool,
    ) -> Option<&'a Arc<Instance>> {
        match self {
            Self::RoundRobin => {
                let first = turn % endpoints.len().max(1);
                endpoints[first..].iter().chain(&endpoints[..first]).find(|it| fits(it))
            }
            Self::LeastConnection => least_loaded(endpoints, turn, fits),
            Self::Hash { key, balance_permille } => {
                let bound = Bound::of(endpoints, balance_permille);
                let holds =
                    |it: &&'a Arc<Instance>| bound.is_none_or(|it_is| it_is.holds(it.load()));
                let best = |fits: &dyn Fn(&&'a Arc<Instance>) -> bool| {
                    endpoints.iter().filter(|it| fits(it)).max_by_key(|it| score(key, it))
                };
                // One that has more than its share is better than none.
                best(&|it| fits(it) && holds(it)).or_else(|| best(&fits))
            }
        }
    }
}

/// Those that are equally free take turns.
fn least_loaded<'a>(
    endpoints: &'a [Arc<Instance>],
    turn: usize,
    fits: impl Fn(&&'a Arc<Instance>) -> bool,
) -> Option<&'a Arc<Instance>> {
    let fitting = || endpoints.iter().filter(|it| fits(it));
    let least = fitting().map(|it| it.load()).min()?;
    let free = || fitting().filter(|it| it.load() <= least);
    // Other workers may have given them requests meanwhile: then any of the least will do.
    free().nth(turn % free().count().max(1)).or_else(|| fitting().min_by_key(|it| it.load()))
}

/// What an instance may have under way before values that are its own go to the next one.
#[derive(Clone, Copy)]
struct Bound {
    total: u64,
    instances: u64,
    permille: u64,
}

impl Bound {
    fn of(endpoints: &[Arc<Instance>], balance_permille: u32) -> Option<Self> {
        (balance_permille > 0).then(|| Self {
            total: endpoints.iter().map(|it| it.load()).sum(),
            instances: endpoints.len() as u64,
            permille: u64::from(balance_permille),
        })
    }

    /// As gorouter: the share of the mean counts, and with nothing under way there is no bound.
    fn holds(self, load: u64) -> bool {
        self.total == 0 || load * self.instances * 1_000 <= self.total * self.permille
    }
}

/// FNV-1a, then mixed. Must not change between builds: sessions of apps depend on it.
fn key(value: &[u8]) -> u64 {
    let hash = value.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mixed(hash)
}

fn score(key: u64, instance: &Instance) -> u64 {
    let (high, low) = instance.process_id.uuid().as_u64_pair();
    mixed(key ^ mixed(high ^ mixed(low ^ mixed(u64::from(instance.index)))))
}

/// The end of splitmix64: each bit of the input changes half of the output.
const fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use cupola_domain::{
        ids::{AppId, InstanceId, ProcessId},
        route_table::Endpoint,
    };
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn instances(count: usize) -> Vec<Arc<Instance>> {
        let instance = |index| {
            let endpoint = Endpoint {
                instance_id: InstanceId::random(),
                process_id: ProcessId::random(),
                index,
                address: "127.0.0.1:8080".parse().unwrap(),
            };
            Arc::new(Instance::new(AppId::random(), &endpoint))
        };
        (0..u32::try_from(count).unwrap()).map(instance).collect()
    }

    fn with_load(loads: &[u8]) -> Vec<Arc<Instance>> {
        let all = instances(loads.len());
        for (instance, load) in all.iter().zip(loads) {
            (0..*load).for_each(|_| instance.begin_request());
        }
        all
    }

    fn by_hash(value: u64, balance_permille: u32) -> Order {
        Order::Hash { key: key(&value.to_be_bytes()), balance_permille }
    }

    fn index_of(chosen: Option<&Arc<Instance>>) -> u32 {
        chosen.unwrap().index
    }

    #[test]
    fn request_without_the_header_goes_round() {
        let balancing = LoadBalancing::Hash { header: "x-user".into(), balance_permille: 0 };
        let with = |value: &'static str| {
            let name = HeaderName::from_static("x-user");
            HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
        };

        assert_eq!(Order::of(&balancing, &HeaderMap::new()), Order::RoundRobin);
        assert_eq!(Order::of(&balancing, &with("")), Order::RoundRobin);
        assert_eq!(Order::of(&balancing, &with("ada")), Order::of(&balancing, &with("ada")));
        assert_ne!(Order::of(&balancing, &with("ada")), Order::of(&balancing, &with("eve")));
    }

    #[test]
    fn free_instances_take_turns_under_least_connection() {
        let all = with_load(&[1, 0, 0, 2]);
        let chosen = |turn| index_of(Order::LeastConnection.choose(&all, turn, |_| true));

        assert_eq!([0, 1, 2, 3].map(chosen), [1, 2, 1, 2]);
    }

    #[test]
    fn values_spread_over_the_instances() {
        let all = instances(4);
        let mut counts = [0_u32; 4];

        for value in 0..4_000 {
            counts[index_of(by_hash(value, 0).choose(&all, 0, |_| true)) as usize] += 1;
        }

        // The standard deviation is 27.
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn instance_over_the_bound_is_passed_over_and_is_better_than_none() {
        let all = with_load(&[8, 1, 1]);
        let home = |value| index_of(by_hash(value, 0).choose(&all, 0, |_| true));
        let value = (0..).find(|value| home(*value) == 0).unwrap();

        let bounded = by_hash(value, 1_250).choose(&all, 0, |_| true);
        let only = by_hash(value, 1_250).choose(&all, 0, |it| it.index == 0);

        assert_ne!(index_of(bounded), 0);
        assert_eq!(index_of(only), 0);
    }

    proptest! {
        #[test]
        fn only_the_values_of_an_instance_that_leaves_move(
            count in 2_usize..12, gone in 0_usize..12, values in proptest::collection::vec(any::<u64>(), 1..40)
        ) {
            let all = instances(count);
            let gone = gone % count;
            let left: Vec<_> =
                all.iter().filter(|it| it.index as usize != gone).cloned().collect();
            for value in values {
                let before = index_of(by_hash(value, 0).choose(&all, 0, |_| true));
                let after = index_of(by_hash(value, 0).choose(&left, 0, |_| true));
                if before as usize != gone {
                    prop_assert_eq!(before, after);
                }
            }
        }

        #[test]
        fn chosen_instance_is_within_the_bound(
            loads in proptest::collection::vec(0_u8..20, 1..10),
            value: u64,
            balance_permille in 1_100_u32..10_000,
        ) {
            let all = with_load(&loads);
            let chosen = by_hash(value, balance_permille).choose(&all, 0, |_| true).unwrap();
            let total: u64 = loads.iter().map(|load| u64::from(*load)).sum();
            let bound = total as f64 / loads.len() as f64 * f64::from(balance_permille) / 1_000.0;
            prop_assert!(total == 0 || chosen.load() as f64 <= bound + 1e-6);
        }

        #[test]
        fn least_connection_never_takes_one_that_has_more(
            loads in proptest::collection::vec(0_u8..20, 1..10), turn: usize
        ) {
            let all = with_load(&loads);
            let chosen = Order::LeastConnection.choose(&all, turn, |_| true);
            prop_assert_eq!(chosen.unwrap().load(), u64::from(*loads.iter().min().unwrap()));
        }
    }
}
