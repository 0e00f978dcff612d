//! Hosts, paths and options of routes: what is allowed, in upstream's words.

use cupola_domain::{domains::Domain, routes::hash_balance};
use serde_json::{Map, Value};

use crate::{ControlError, domains::is_label};

const HOST_CHARACTERS_MAX: usize = 63;
const NAME_CHARACTERS_MAX: usize = 253;
const PATH_CHARACTERS_MAX: usize = 128;
const OPTIONS_BYTES_MAX: usize = 1024;
const HASH_HEADER_CHARACTERS_MAX: usize = 128;

/// The host in lower case, if it is one.
pub(crate) fn checked_host(host: &str, domain: &Domain) -> Result<String, ControlError> {
    let host = host.to_lowercase();
    if host.is_empty() || host == "*" {
        return Ok(host);
    }
    let detail = if host.len() > HOST_CHARACTERS_MAX {
        "Host must be no more than 63 characters"
    } else if host.len() + 1 + domain.name.len() > NAME_CHARACTERS_MAX {
        "Host combined with domain name must be no more than 253 characters."
    } else if !is_label(&host.replace('_', "-")) {
        "Host must be either \"*\" or contain only alphanumeric characters, \"_\", or \"-\""
    } else {
        return Ok(host);
    };
    Err(ControlError::unprocessable(detail))
}

/// The path, if it is empty or one that a request can have.
pub(crate) fn checked_path(path: &str) -> Result<String, ControlError> {
    if path.is_empty() {
        return Ok(String::new());
    }
    let detail = if path == "/" {
        "Path cannot be a single '/'."
    } else if !path.starts_with('/') {
        "Path is missing the beginning '/'."
    } else if path.contains('?') {
        "Path cannot contain '?'."
    } else if path.len() > PATH_CHARACTERS_MAX {
        "Path exceeds 128 characters."
    } else if !path.bytes().all(|b| b.is_ascii_graphic() && !br#""<>\^`{|}#"#.contains(&b)) {
        "Path is invalid."
    } else {
        return Ok(path.trim_end_matches('/').to_owned());
    };
    Err(ControlError::unprocessable(detail))
}

/// Refuses options that nothing would follow. Hashing is allowed where the platform's flag for it
/// is set, as upstream.
pub(crate) fn check_options(
    options: &Map<String, Value>,
    is_hash_allowed: bool,
) -> Result<(), ControlError> {
    let keys = ["loadbalancing", "hash_header", "hash_balance"];
    let keys = if is_hash_allowed { &keys[..] } else { &keys[..1] };
    if let Some(name) = options.keys().find(|name| !keys.contains(&name.as_str())) {
        let valid = keys.join("', '");
        let detail =
            format!("Options contains invalid route option '{name}'. Valid keys: '{valid}'");
        return Err(ControlError::Unprocessable(detail));
    }
    let problem = if !is_algorithm(options.get("loadbalancing"), is_hash_allowed) {
        let hash = if is_hash_allowed { ", hash" } else { "" };
        format!("Loadbalancing must be one of 'round-robin, least-connection{hash}'")
    } else if let Some(problem) = hash_problem(options) {
        problem.to_owned()
    } else if serde_json::to_string(options).map_or(0, |text| text.len()) > OPTIONS_BYTES_MAX {
        return Err(ControlError::unprocessable("Options must be at most 1024 bytes"));
    } else {
        return Ok(());
    };
    Err(ControlError::Unprocessable(format!("Options {problem}")))
}

fn is_algorithm(option: Option<&Value>, is_hash_allowed: bool) -> bool {
    match option.map(Value::as_str) {
        None | Some(Some("round-robin" | "least-connection")) => true,
        Some(Some("hash")) => is_hash_allowed,
        Some(_) => false,
    }
}

fn hash_problem(options: &Map<String, Value>) -> Option<&'static str> {
    let (header, balance) = (options.get("hash_header"), options.get("hash_balance"));
    if options.get("loadbalancing").and_then(Value::as_str) != Some("hash") {
        return match (header, balance) {
            (Some(_), _) => Some("Hash header can only be set when loadbalancing is hash"),
            (None, Some(_)) => Some("Hash balance can only be set when loadbalancing is hash"),
            (None, None) => None,
        };
    }
    let is_header = |text: &&str| {
        (1..=HASH_HEADER_CHARACTERS_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if header.is_none() {
        Some("Hash header must be present when loadbalancing is set to hash")
    } else if header.and_then(Value::as_str).filter(is_header).is_none() {
        Some("Hash header must be the name of a header: letters, digits, '-' and '_', at most 128")
    } else if balance.is_some() && hash_balance(balance).is_none() {
        Some("Hash balance must be either 0 or between 1.1 and 10.0")
    } else {
        None
    }
}

/// The sentence for a route that is there already. Clients compare its beginning.
pub(crate) fn taken(host: &str, path: &str, domain: &Domain) -> String {
    let name = &domain.name;
    match (host.is_empty(), path.is_empty()) {
        (true, true) => format!("Route already exists for domain '{name}'."),
        (true, false) => format!("Route already exists with path '{path}' for domain '{name}'."),
        (false, true) => format!("Route already exists with host '{host}' for domain '{name}'."),
        (false, false) => format!(
            "Route already exists with host '{host}' and path '{path}' for domain '{name}'."
        ),
    }
}

/// The sentence for a host that another space has. The CLI would take `Route already exists` for
/// success, which it is only in the space that has the route.
pub(crate) fn reserved(host: &str, domain: &Domain) -> String {
    let name = &domain.name;
    format!(
        "Routes for the host '{host}' and the domain '{name}' have been reserved for another space. \
         Choose another host."
    )
}

#[cfg(test)]
mod tests {
    use cupola_domain::{ids::DomainId, orgs::Metadata, time::Timestamp};

    use super::*;

    fn domain() -> Domain {
        let at = Timestamp::from_micros(0);
        Domain {
            id: DomainId::random(),
            name: "apps.example".to_owned(),
            owner: None,
            shared_orgs: std::collections::BTreeSet::new(),
            metadata: Metadata::default(),
            created_at: at,
            updated_at: at,
        }
    }

    #[test]
    fn host_is_one_label_or_a_star() {
        assert_eq!(checked_host("Shop", &domain()).unwrap(), "shop");
        assert_eq!(checked_host("*", &domain()).unwrap(), "*");
        assert_eq!(checked_host("my_app", &domain()).unwrap(), "my_app");
        assert!(checked_host("a.b", &domain()).is_err());
        assert!(checked_host("a b", &domain()).is_err());
        assert!(checked_host(&"a".repeat(64), &domain()).is_err());
    }

    #[test]
    fn path_begins_with_a_slash_and_has_no_query() {
        assert_eq!(checked_path("/api/").unwrap(), "/api");
        assert!(checked_path("/").is_err());
        assert!(checked_path("api").is_err());
        assert!(checked_path("/a?b").is_err());
        assert!(checked_path("/a b").is_err());
    }

    #[test]
    fn taken_route_is_named_with_host_and_path() {
        let text = taken("shop", "/api", &domain());

        assert_eq!(
            text,
            "Route already exists with host 'shop' and path '/api' for domain 'apps.example'."
        );
    }
}
