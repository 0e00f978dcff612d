//! `/oauth`: tokens for passwords and refresh tokens.

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use cupola_wire::uaa::TokenResponse;

use super::{UaaCaller, error::UaaFailure};
use crate::{Api, extract::Guid};

/// The only OAuth client, public as upstream: its secret is empty.
const CLIENT: &str = "cf";
/// A form is a name, a password or a token, and a few words.
const FORM_BYTES_MAX: usize = 32 * 1024;

pub(super) async fn grant(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, UaaFailure> {
    let form = Form::read(&body)?;
    let grant_type = form.get("grant_type").unwrap_or_default();
    require_client(&headers, &form, grant_type)?;
    let granted = match grant_type {
        "password" => {
            if form.get("passcode").is_some() {
                let text = "one-time codes are not supported; log in with a password";
                return Err(UaaFailure::new(StatusCode::UNAUTHORIZED, "unauthorized", text));
            }
            let missing = |name| UaaFailure::bad_request(format!("{name} is missing"));
            let username = form.get("username").ok_or_else(|| missing("username"))?;
            let password = form.get("password").ok_or_else(|| missing("password"))?;
            api.control.log_in(username, password, None).await?
        }
        "refresh_token" => {
            let token = form.get("refresh_token");
            let token = token.ok_or_else(|| UaaFailure::bad_request("refresh_token is missing"))?;
            api.control.refresh(token).await?
        }
        other => {
            let text = format!("Unsupported grant type: {other}");
            return Err(UaaFailure::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", text));
        }
    };
    let body = TokenResponse {
        access_token: granted.access_token,
        token_type: "bearer".to_owned(),
        refresh_token: granted.refresh_token,
        expires_in: granted.expires_in.as_secs(),
        scope: granted.scopes.join(" "),
        jti: granted.id,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// Refuses every client but `cf`.
fn require_client(headers: &HeaderMap, form: &Form, grant_type: &str) -> Result<(), UaaFailure> {
    let refused = |text: &str| UaaFailure::new(StatusCode::UNAUTHORIZED, "invalid_client", text);
    if grant_type == "client_credentials" {
        return Err(refused(
            "this platform has no OAuth clients that can log in; log in as a user, for scripts \
             with cf auth and one made by cf create-user",
        ));
    }
    let (client, secret) = basic(headers).unwrap_or_else(|| {
        let of = |name| form.get(name).unwrap_or_default().to_owned();
        (of("client_id"), of("client_secret"))
    });
    if client == CLIENT && secret.is_empty() { Ok(()) } else { Err(refused("Bad credentials")) }
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (client, secret) = decoded.split_once(':')?;
    Some((client.to_owned(), secret.to_owned()))
}

/// The fields of an `application/x-www-form-urlencoded` body.
struct Form(Vec<(String, String)>);

impl Form {
    fn read(body: &[u8]) -> Result<Self, UaaFailure> {
        let bad = || UaaFailure::bad_request("the form in the request body cannot be read");
        let text = str::from_utf8(body).ok().filter(|text| text.len() <= FORM_BYTES_MAX);
        // A form is encoded like a query.
        let uri: Uri = format!("/?{}", text.ok_or_else(bad)?).parse().map_err(|_| bad())?;
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
        pairs.map(|axum::extract::Query(pairs)| Self(pairs)).map_err(|_| bad())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Tokens are not kept one by one: taking one back takes back all of the user's.
pub(super) async fn revoke(
    State(api): State<Api>,
    UaaCaller(caller): UaaCaller,
    Guid(_): Guid,
) -> Result<StatusCode, UaaFailure> {
    api.control.revoke_tokens(&caller, caller.user_id).await?;
    Ok(StatusCode::OK)
}

/// Roles can be given to users only, so that no client is ever found.
pub(super) async fn client(UaaCaller(caller): UaaCaller) -> UaaFailure {
    if caller.admin {
        UaaFailure::new(StatusCode::NOT_FOUND, "not_found", "there is no such client")
    } else {
        cupola_control::ControlError::NotAuthorized.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_fields_are_decoded() {
        let form = Form::read(b"username=ada%40example.org&password=a+b%26%C3%BC&empty=").unwrap();

        assert_eq!(form.get("username"), Some("ada@example.org"));
        assert_eq!(form.get("password"), Some("a b&ü"));
        assert_eq!(form.get("empty"), Some(""));
        assert_eq!(form.get("passcode"), None);
    }

    #[test]
    fn form_that_is_not_text_is_refused() {
        assert!(Form::read(&[0xff, 0xfe]).is_err());
    }
}
