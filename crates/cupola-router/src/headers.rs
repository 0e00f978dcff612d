//! Which headers cross the router: hop-by-hop ones never do, and the router's own are added last so
//! that no client can strip or forge them.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

use crate::instance::Instance;

pub(crate) const APP_INSTANCE: HeaderName = HeaderName::from_static("x-cf-app-instance");
pub(crate) const PROCESS_INSTANCE: HeaderName = HeaderName::from_static("x-cf-process-instance");
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-vcap-request-id");
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");
const APPLICATION_ID: HeaderName = HeaderName::from_static("x-cf-applicationid");
const INSTANCE_ID: HeaderName = HeaderName::from_static("x-cf-instanceid");
const INSTANCE_INDEX: HeaderName = HeaderName::from_static("x-cf-instanceindex");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What `Connection` may not strip, whoever names it (RFC 9110, section 7.6.1 leaves it to us).
fn is_end_to_end(name: &HeaderName) -> bool {
    *name == header::HOST
        || *name == header::CONTENT_LENGTH
        || *name == header::AUTHORIZATION
        || *name == header::COOKIE
        || *name == header::FORWARDED
        || name.as_str().starts_with("x-forwarded-")
        || name.as_str().starts_with("x-cf-")
}

/// Removes what belongs to one connection only.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named = named_by_connection(headers);
        headers.remove(header::CONNECTION);
        for name in named {
            headers.remove(name);
        }
    }
    // Each lookup costs a hash; most messages have none of these.
    for name in [
        header::UPGRADE,
        header::TRANSFER_ENCODING,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
    ] {
        headers.remove(name);
    }
    if let Entry::Occupied(mut te) = headers.entry(header::TE) {
        let wants_trailers = te.iter().any(|value| has_token(value, "trailers"));
        if wants_trailers {
            te.insert(HeaderValue::from_static("trailers"));
        } else {
            te.remove();
        }
    }
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| {
            !token.eq_ignore_ascii_case(b"keep-alive") && !token.eq_ignore_ascii_case(b"close")
        })
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !is_end_to_end(name) && *name != header::TE)
        .collect()
}

pub(crate) fn has_token(value: &HeaderValue, token: &str) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// True if a message changes to WebSocket, the only protocol that becomes a tunnel: what another
/// one carries, h2c above all, would pass the router's checks unseen.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let wants = headers.get_all(header::CONNECTION).iter().any(|value| has_token(value, "upgrade"));
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let is_websocket =
        protocols.next().is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"));
    wants && is_websocket && protocols.next().is_none()
}

/// After the stripping, which removes all that a client or an app said of it.
pub(crate) fn add_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// Removes what a peer that is not trusted says of a client before it: `Forwarded` and everything
/// that begins with `X-Forwarded-`, client certificates included. An underscore counts as a dash,
/// because they are the same to apps that get headers as environment variables (RFC 3875).
pub(crate) fn strip_forwarding(headers: &mut HeaderMap) {
    let names = headers.keys().filter(|name| is_forwarding(name)).cloned();
    for name in names.collect::<Vec<_>>() {
        headers.remove(name);
    }
}

fn is_forwarding(name: &HeaderName) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    let is_same =
        |(given, wanted): (&u8, &u8)| given == wanted || (*given, *wanted) == (b'_', b'-');
    *name == header::FORWARDED
        || (name.as_str().len() >= PREFIX.len()
            && name.as_str().as_bytes().iter().zip(PREFIX).all(is_same))
}

/// Who sent the request and when, as gorouter says it.
pub(crate) fn add_forwarding(
    headers: &mut HeaderMap,
    client_ip: &HeaderValue,
    request_id: HeaderValue,
    started_ms: u64,
) {
    let chain = match headers.entry(FORWARDED_FOR) {
        Entry::Vacant(entry) => {
            entry.insert(client_ip.clone());
            None
        }
        Entry::Occupied(entry) => Some(joined(entry.iter(), client_ip)),
    };
    if let Some(chain) = chain {
        headers.insert(FORWARDED_FOR, chain);
    }
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    headers.entry(REQUEST_START).or_insert_with(|| HeaderValue::from(started_ms));
    headers.insert(REQUEST_ID, request_id);
    headers.remove(APP_INSTANCE);
    headers.remove(PROCESS_INSTANCE);
}

fn joined<'a>(prior: impl Iterator<Item = &'a HeaderValue>, last: &'a HeaderValue) -> HeaderValue {
    let mut chain = Vec::new();
    for value in prior.chain([last]) {
        if !chain.is_empty() {
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_bytes(&chain).unwrap_or_else(|_| last.clone())
}

/// Tells the app which of its instances was chosen. Again for each attempt.
pub(crate) fn add_instance(headers: &mut HeaderMap, instance: &Instance) {
    headers.insert(APPLICATION_ID, instance.headers.app_id.clone());
    headers.insert(INSTANCE_ID, instance.headers.instance_id.clone());
    headers.insert(INSTANCE_INDEX, instance.headers.index.clone());
}

/// Trailers carry neither framing nor routing (RFC 9110, section 6.5.1).
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    let names: Vec<_> = trailers.keys().cloned().collect();
    for name in names {
        let is_framing = name == header::TRANSFER_ENCODING
            || name == header::CONNECTION
            || name == header::TRAILER
            || name == header::UPGRADE
            || name == header::SET_COOKIE
            || name == REQUEST_ID;
        if is_framing || is_end_to_end(&name) {
            trailers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        });
        pairs.collect()
    }

    #[test]
    fn connection_strips_what_it_names_but_nothing_that_is_end_to_end() {
        let mut headers = map(&[
            ("connection", "close, X-Secret, Host, x-forwarded-for, Authorization"),
            ("host", "a"),
            ("x-secret", "1"),
            ("x-forwarded-for", "1.2.3.4"),
            ("authorization", "b"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("upgrade", "h2c"),
        ]);

        strip_hop_by_hop(&mut headers);

        let left = [
            ("host", "a"),
            ("x-forwarded-for", "1.2.3.4"),
            ("authorization", "b"),
            ("te", "trailers"),
        ];
        assert_eq!(headers, map(&left));
    }

    #[test]
    fn forwarded_for_is_appended_and_identity_cannot_be_forged() {
        let mut headers = map(&[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-vcap-request-id", "forged"),
            ("x-request-start", "7"),
            ("x-cf-app-instance", "a:1"),
        ]);

        add_forwarding(
            &mut headers,
            &HeaderValue::from_static("3.3.3.3"),
            HeaderValue::from_static("id"),
            9,
        );

        let wanted = [
            ("x-forwarded-for", "1.1.1.1, 2.2.2.2, 3.3.3.3"),
            ("x-forwarded-proto", "http"),
            ("x-request-start", "7"),
            ("x-vcap-request-id", "id"),
        ];
        assert_eq!(headers, map(&wanted));
    }
}
