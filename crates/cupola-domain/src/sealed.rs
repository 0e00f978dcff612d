//! Text that only the holder of a key can read.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A sealed secret as it is stored: format version, id of the key, and the sealed bytes in base64,
/// with dots between. So a later build can read it, and a later key can take its place.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(String);

impl Sealed {
    /// The only version of the format there is.
    pub const VERSION: &'static str = "v1";

    pub fn new(key: &str, sealed: &str) -> Self {
        Self(format!("{}.{key}.{sealed}", Self::VERSION))
    }

    /// The id of the key that it was sealed with. Empty if it is no sealed text.
    pub fn key(&self) -> &str {
        self.0.split('.').nth(1).unwrap_or_default()
    }

    /// Id of the key and sealed bytes. None: of another version, or no sealed text.
    pub fn parts(&self) -> Option<(&str, &str)> {
        let rest = self.0.strip_prefix(Self::VERSION)?.strip_prefix('.')?;
        rest.split_once('.')
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(key {})", self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_text_says_with_which_key_it_was_sealed() {
        let sealed = Sealed::new("0a1b", "c2VjcmV0");

        assert_eq!(serde_json::to_string(&sealed).unwrap(), "\"v1.0a1b.c2VjcmV0\"");
        assert_eq!(sealed.key(), "0a1b");
        assert_eq!(sealed.parts(), Some(("0a1b", "c2VjcmV0")));
        assert_eq!(format!("{sealed:?}"), "Sealed(key 0a1b)");
    }

    #[test]
    fn text_of_another_version_is_not_taken_apart() {
        let newer: Sealed = serde_json::from_str("\"v2.0a1b.c2VjcmV0\"").unwrap();

        assert_eq!(newer.parts(), None);
        assert_eq!(newer.key(), "0a1b");
    }
}
