//! Sticky sessions: an app that sets `JSESSIONID` gets its client back at the same instance.

use cupola_domain::ids::InstanceId;
use http::{HeaderMap, HeaderValue, header};

const SESSION: &[u8] = b"JSESSIONID";
const INSTANCE: &[u8] = b"__VCAP_ID__";

/// The instance a request wants to return to. Without a session there is nothing to return to.
pub(crate) fn wanted_instance(headers: &HeaderMap) -> Option<Wanted> {
    let mut has_session = false;
    let mut instance = None;
    for value in headers.get_all(header::COOKIE) {
        for pair in value.as_bytes().split(|byte| *byte == b';') {
            let (name, value) = name_and_value(pair);
            has_session |= name == SESSION;
            if name == INSTANCE && instance.is_none() {
                instance = Some(value);
            }
        }
    }
    let text = instance.filter(|_| has_session)?;
    Some(Wanted(std::str::from_utf8(text).ok().and_then(|text| text.parse().ok())))
}

/// None inside: the cookie is there but names no instance of ours.
pub(crate) struct Wanted(pub(crate) Option<InstanceId>);

fn name_and_value(pair: &[u8]) -> (&[u8], &[u8]) {
    let pair = pair.trim_ascii();
    match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, b""),
    }
}

/// Adds `__VCAP_ID__` if the app began a session, or if the session moved to another instance.
pub(crate) fn stick(
    headers: &mut HeaderMap,
    wanted: Option<&Wanted>,
    answered_by: InstanceId,
    context_path: &str,
) {
    let mut session = None;
    for value in headers.get_all(header::SET_COOKIE) {
        let (name, _) =
            name_and_value(value.as_bytes().split(|b| *b == b';').next().unwrap_or(b""));
        if name == INSTANCE {
            return;
        }
        if name == SESSION && session.is_none() {
            session = value.to_str().ok();
        }
    }
    let moved = wanted.is_some_and(|wanted| wanted.0 != Some(answered_by));
    if session.is_none() && !moved {
        return;
    }
    let cookie = cookie(session.unwrap_or_default(), answered_by, context_path);
    if let Ok(value) = HeaderValue::try_from(cookie) {
        headers.append(header::SET_COOKIE, value);
    }
}

/// Lives as long and goes as far as the session cookie does.
fn cookie(session: &str, instance: InstanceId, context_path: &str) -> String {
    let attributes = || session.split(';').skip(1).map(str::trim);
    let find = |name: &str| {
        attributes().find(|text| {
            text.split('=').next().is_some_and(|found| found.trim().eq_ignore_ascii_case(name))
        })
    };
    let path = if context_path.is_empty() { "/" } else { context_path };
    let mut cookie = format!("__VCAP_ID__={instance}; Path={path}");
    let mut add = |text: &str| {
        cookie.push_str("; ");
        cookie.push_str(text);
    };
    if let Some(expires) = find("Expires") {
        add(expires);
    }
    // Only the end of a session is copied, as a lifetime in seconds would start anew each time.
    let ends =
        |text: &&str| text.split('=').nth(1).is_some_and(|age| age.trim().starts_with(['-', '0']));
    if find("Max-Age").filter(ends).is_some() {
        add("Max-Age=0");
    }
    add("HttpOnly");
    if find("Secure").is_some() {
        add("Secure");
    }
    if let Some(same_site) = find("SameSite") {
        add(same_site);
    }
    if find("Partitioned").is_some() {
        add("Partitioned");
    }
    cookie
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies_after(
        set: &[&str],
        wanted: Option<Wanted>,
        by: InstanceId,
        path: &str,
    ) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for value in set {
            headers.append(header::SET_COOKIE, HeaderValue::try_from(*value).unwrap());
        }
        stick(&mut headers, wanted.as_ref(), by, path);
        headers
            .get_all(header::SET_COOKIE)
            .iter()
            .skip(set.len())
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn session_cookie_is_followed_by_the_instance_cookie_with_its_attributes() {
        let by = InstanceId::random();

        let plain = cookies_after(&["JSESSIONID=1"], None, by, "");
        let full = cookies_after(
            &[
                "a=b",
                "JSESSIONID=1; Path=/x; Secure; HttpOnly; SameSite=Lax; Expires=Thu, 01 Jan 2099 00:00:00 GMT",
            ],
            None,
            by,
            "/ctx",
        );
        let ended = cookies_after(&["JSESSIONID=; Max-Age=0"], None, by, "");

        assert_eq!(plain, [format!("__VCAP_ID__={by}; Path=/; HttpOnly")]);
        assert_eq!(
            full,
            [format!(
                "__VCAP_ID__={by}; Path=/ctx; Expires=Thu, 01 Jan 2099 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax"
            )]
        );
        assert_eq!(ended, [format!("__VCAP_ID__={by}; Path=/; Max-Age=0; HttpOnly")]);
    }

    #[test]
    fn instance_cookie_is_set_anew_only_when_the_session_moved() {
        let by = InstanceId::random();

        assert!(cookies_after(&[], None, by, "").is_empty());
        assert!(cookies_after(&[], Some(Wanted(Some(by))), by, "").is_empty());
        assert_eq!(cookies_after(&[], Some(Wanted(Some(InstanceId::random()))), by, "").len(), 1);
        assert_eq!(cookies_after(&[], Some(Wanted(None)), by, "").len(), 1);
        assert!(cookies_after(&["JSESSIONID=1", "__VCAP_ID__=x"], None, by, "").is_empty());
    }

    #[test]
    fn instance_cookie_counts_only_with_a_session() {
        let id = InstanceId::random();
        let of = |text: String| {
            let value = HeaderValue::try_from(text).unwrap();
            wanted_instance(&HeaderMap::from_iter([(header::COOKIE, value)])).map(|wanted| wanted.0)
        };

        assert_eq!(of(format!("a=b; JSESSIONID=1; __VCAP_ID__={id}")), Some(Some(id)));
        assert_eq!(of(format!("__VCAP_ID__={id}")), None);
        assert_eq!(of("JSESSIONID=1; __VCAP_ID__=stale".to_owned()), Some(None));
    }
}
