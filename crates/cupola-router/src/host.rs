//! Turns a `Host` header or the authority of a request target into the name routes are kept under.

use std::borrow::Cow;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HostError {
    Empty,
    Invalid,
}

/// The host without port and trailing dot, in lower case.
pub(crate) fn normalise(raw: &str) -> Result<Cow<'_, str>, HostError> {
    let host = without_port(raw)?;
    if host.is_empty() {
        return Err(HostError::Empty);
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    if !is_valid(name) {
        return Err(HostError::Invalid);
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(Cow::Owned(name.to_ascii_lowercase()));
    }
    Ok(Cow::Borrowed(name))
}

fn without_port(raw: &str) -> Result<&str, HostError> {
    let port_begins = match raw.strip_prefix('[') {
        Some(bracketed) => bracketed.find(']').ok_or(HostError::Invalid)? + 2,
        None => raw.find(':').unwrap_or(raw.len()),
    };
    let (host, rest) = raw.split_at(port_begins);
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok(host),
        Some(port) if port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(host),
        _ => Err(HostError::Invalid),
    }
}

fn is_valid(name: &str) -> bool {
    if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_case_and_trailing_dot_do_not_matter() {
        assert_eq!(normalise("App.Example.com.:8080").unwrap(), "app.example.com");
        assert_eq!(normalise("app.example.com").unwrap(), "app.example.com");
        assert_eq!(normalise("[::1]:80").unwrap(), "[::1]");
        assert_eq!(normalise("app.example.com:").unwrap(), "app.example.com");
    }

    #[test]
    fn names_that_no_route_can_have_are_invalid() {
        let invalid = ["a b", "a..b", "a@b", "a/b", "a:80:80", "a:8x", "[::1", "[zz]", ".a", "a,b"];

        for name in invalid {
            assert_eq!(normalise(name), Err(HostError::Invalid), "{name}");
        }
        assert_eq!(normalise(""), Err(HostError::Empty));
        assert_eq!(normalise(":80"), Err(HostError::Empty));
    }
}
