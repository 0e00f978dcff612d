//! The header that carries warnings to clients.

use axum::{http::HeaderValue, response::Response};

/// Adds warnings, comma-separated and URL-encoded, as the `cf` CLI reads and prints them.
pub(crate) fn with_warnings(mut response: Response, warnings: &[String]) -> Response {
    if warnings.is_empty() {
        return response;
    }
    let text: Vec<String> = warnings.iter().map(|warning| encoded(warning)).collect();
    let value = HeaderValue::from_str(&text.join(",")).expect("encoded text is ASCII");
    response.headers_mut().insert("x-cf-warnings", value);
    response
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn warnings_are_one_header_with_commas_between() {
        let warnings = ["a, b".to_owned(), "ü".to_owned()];
        let response = with_warnings(().into_response(), &warnings);

        assert_eq!(response.headers()["x-cf-warnings"], "a%2C%20b,%C3%BC");
    }
}
