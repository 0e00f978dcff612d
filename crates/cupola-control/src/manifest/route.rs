//! Routes as manifests write them: `host.domain/path`.

use cupola_domain::domains::Domain;
use cupola_ports::store::{self, Query, ReadTx};
use serde_json::{Map, Value};

use crate::{ControlError, domains::usable_by};

/// One route of a manifest.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ManifestRoute {
    /// As it was written.
    pub text: String,
    name: String,
    pub path: String,
    pub protocol: Option<String>,
    pub options: Map<String, Value>,
}

/// The host and domain that a route turned out to have.
pub(super) struct Resolved {
    pub host: String,
    pub domain: Domain,
}

impl ManifestRoute {
    pub(super) fn parse(
        text: &str,
        protocol: Option<String>,
        options: Map<String, Value>,
    ) -> Result<Self, ControlError> {
        let malformed = || {
            let detail = format!("The route '{text}' is not a properly formed URL");
            ControlError::Unprocessable(detail)
        };
        let address = match text.split_once("://") {
            Some(("http" | "https", rest)) => rest,
            Some(_) => return Err(malformed()),
            None => text,
        };
        let (name, path) = match address.find('/') {
            Some(at) => address.split_at(at),
            None => (address, ""),
        };
        let name = name.trim_end_matches('.').to_lowercase();
        if name.contains(':') {
            let detail = format!(
                "The route '{text}' has a port. This platform routes HTTP by host and path only."
            );
            return Err(ControlError::Unprocessable(detail));
        }
        let is_wild = name.starts_with("*.");
        let plain = name.strip_prefix("*.").unwrap_or(&name);
        let is_name = !plain.is_empty()
            && plain.split('.').all(|part| {
                !part.is_empty()
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            });
        if !is_name || (is_wild && plain.is_empty()) {
            return Err(malformed());
        }
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { text: text.to_owned(), name, path, protocol, options })
    }

    /// The domain of the whole name, or of what follows its first part.
    pub(super) async fn resolve(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        org: cupola_domain::ids::OrgId,
    ) -> Result<Resolved, ControlError> {
        let whole = Some(("", self.name.as_str()));
        for (host, name) in whole.into_iter().chain(self.name.split_once('.')) {
            let query = Query::by("name", name).and(usable_by(org));
            if let Some(domain) = store::first::<Domain>(tx, &query).await? {
                return Ok(Resolved { host: host.to_owned(), domain });
            }
        }
        let text = &self.text;
        Err(ControlError::Unprocessable(format!("No domains exist for route {text}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ManifestRoute, ControlError> {
        ManifestRoute::parse(text, None, Map::new())
    }

    #[test]
    fn route_has_a_name_and_perhaps_a_path() {
        let route = parse("https://Shop.Example.com/api/").unwrap();

        assert_eq!((route.name.as_str(), route.path.as_str()), ("shop.example.com", "/api"));
        assert!(parse("*.example.com").is_ok());
    }

    #[test]
    fn route_that_no_request_can_have_is_refused() {
        for text in ["", "ftp://a.b", "a b.c", "a..b", "/path", "tcp.example.com:1234"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
