//! Reads what leads to a registry from the package managers' configuration files, and nothing else.

use std::collections::BTreeMap;

const NPM_KEYS: &[&str] = &[
    "registry",
    "cafile",
    "proxy",
    "https-proxy",
    "noproxy",
    "strict-ssl",
    "fetch-retries",
    "fetch-retry-mintimeout",
    "fetch-retry-maxtimeout",
    "fetch-timeout",
    "disturl",
    "nodedir",
    "replace-registry-host",
    "omit-lockfile-registry-resolved",
];
const PIP_KEYS: &[&str] = &[
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "cert",
    "proxy",
    "timeout",
    "retries",
];
const GO_KEYS: &[&str] =
    &["GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE", "GOVCS"];

pub(super) fn npm_settings(text: &str) -> Vec<(String, String)> {
    let is_taken =
        |key: &str| NPM_KEYS.contains(&key) || (key.starts_with('@') && key.ends_with(":registry"));
    settings(text)
        .filter(|(key, value)| is_taken(key) && !value.contains("${") && !has_login(value))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub(super) fn go_settings(text: &str) -> Vec<(String, String)> {
    settings(text)
        .filter(|(key, value)| GO_KEYS.contains(key) && !value.is_empty() && !has_login(value))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// `key = value` lines, with comments left out and quotes taken off.
fn settings(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let line = line.trim();
        if line.starts_with(['#', ';', '[']) {
            return None;
        }
        let (key, value) = line.split_once('=')?;
        Some((key.trim(), unquoted(value.trim())))
    })
}

fn unquoted(value: &str) -> &str {
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value)
}

/// The sections `global` and `install`; the latter wins. A value may go on in indented lines.
pub(super) fn pip_settings(text: &str) -> BTreeMap<String, String> {
    let mut section = String::new();
    let mut found: Vec<(bool, String, Vec<String>)> = Vec::new();
    let mut is_taken = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim().to_owned();
            is_taken = false;
        } else if line.starts_with([' ', '\t']) && is_taken {
            if let Some((_, _, values)) = found.last_mut() {
                values.push(trimmed.to_owned());
            }
        } else if let Some((key, value)) = trimmed.split_once('=') {
            let key = key.trim().replace('_', "-");
            is_taken = matches!(&*section, "global" | "install") && PIP_KEYS.contains(&&*key);
            if is_taken {
                found.push((section == "install", key, vec![value.trim().to_owned()]));
            }
        }
    }
    found.sort_by_key(|(is_install, ..)| *is_install);
    let joined =
        found.into_iter().map(|(_, key, values)| (key, values.join(" ").trim().to_owned()));
    joined.filter(|(_, value)| !value.is_empty() && !has_login(value)).collect()
}

/// `scheme://user:password@host` among addresses, or the same without a scheme, as of a proxy.
pub(super) fn has_login(value: &str) -> bool {
    value.split(|c: char| c.is_whitespace() || matches!(c, ',' | '|')).any(|address| {
        let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
        rest.split('/').next().is_some_and(|authority| authority.contains('@'))
    })
}
