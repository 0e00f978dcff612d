//! Words for random routes: easy to say, hard to mistake, harmless in any pair.

/// How a thing may be.
const QUALITIES: &[&str] = &[
    "amber", "brave", "bright", "calm", "clear", "clever", "cosy", "crisp", "daring", "eager",
    "early", "fair", "fancy", "fresh", "gentle", "glad", "golden", "grand", "happy", "honest",
    "keen", "kind", "lively", "lucid", "lucky", "mellow", "merry", "mighty", "neat", "noble",
    "patient", "polite", "proud", "quick", "quiet", "rapid", "ready", "silent", "silver", "smart",
    "snug", "spry", "steady", "sunny", "swift", "tidy", "vivid", "warm", "wise", "witty",
];

/// What it may be.
const THINGS: &[&str] = &[
    "acorn", "badger", "beacon", "birch", "bison", "brook", "candle", "canyon", "cedar", "cloud",
    "comet", "coral", "crane", "delta", "dune", "falcon", "fern", "finch", "fjord", "gazelle",
    "glacier", "harbor", "heron", "island", "jaguar", "kestrel", "lagoon", "lantern", "lark",
    "lynx", "maple", "meadow", "nebula", "oasis", "orbit", "otter", "panda", "pebble", "pine",
    "quartz", "raven", "reef", "river", "sparrow", "spruce", "summit", "thicket", "tiger",
    "valley", "willow",
];

/// A host made of the name of an app and two words that `random` chooses.
pub(super) fn random_host(app: &str, random: uuid::Uuid) -> String {
    let (first, second) = random.as_u64_pair();
    let name: String = app.to_lowercase().chars().map(label_character).collect();
    let name = name.trim_matches('-');
    // A label has at most 63 characters; the longest pair with its dashes has 16.
    let name: String = name.chars().take(45).collect();
    format!("{name}-{}-{}", pick(QUALITIES, first), pick(THINGS, second))
}

const fn label_character(c: char) -> char {
    if c.is_ascii_alphanumeric() { c } else { '-' }
}

fn pick(words: &'static [&'static str], random: u64) -> &'static str {
    let count = words.len() as u64;
    words[usize::try_from(random % count).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domains::is_label;

    #[test]
    fn random_host_is_a_label_whatever_the_app_is_called() {
        for name in ["shop", "My Shop!", "___", &"x".repeat(200)] {
            let host = random_host(name, uuid::Uuid::new_v4());

            assert!(is_label(host.trim_start_matches('-')), "{host}");
        }
    }
}
