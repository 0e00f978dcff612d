//! `/Users`: accounts by SCIM 1.1, as UAA has them.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use cupola_domain::{ids::UserId, users::User};
use cupola_ports::store::{Direction, Query};
use cupola_wire::uaa::{
    ChangePassword, CreateScimUser, ScimEmail, ScimList, ScimMeta, ScimName, ScimUser,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{UaaCaller, error::UaaFailure};
use crate::{Api, extract::Guid, list::ListQuery};

const SCHEMA: &str = "urn:scim:schemas:core:1.0";
const PER_PAGE: u64 = 100;
const PER_PAGE_MAX: u64 = 500;

pub(super) async fn list(
    State(api): State<Api>,
    UaaCaller(caller): UaaCaller,
    mut query: ListQuery,
) -> Result<Response, UaaFailure> {
    let number = |text: Option<String>, default: u64| {
        text.map_or(Some(default), |text| text.parse().ok()).filter(|number| *number >= 1)
    };
    let bad = || UaaFailure::bad_request("startIndex and count are numbers from 1");
    let start = number(query.take("startIndex"), 1).ok_or_else(bad)?;
    let count = number(query.take("count"), PER_PAGE).ok_or_else(bad)?.min(PER_PAGE_MAX);
    let mut wanted = match query.take("filter") {
        Some(filter) => filtered(&filter)?,
        None => Query::all(),
    };
    wanted.offset = start - 1;
    wanted.limit = Some(count);
    let wanted = wanted.ordered("created_at", Direction::Ascending);
    let page = api.control.list_accounts(&caller, &wanted).await?;
    Ok(Json(ScimList {
        resources: page.items.iter().map(present).collect(),
        start_index: start,
        items_per_page: count,
        total_results: page.total,
        schemas: vec![SCHEMA.to_owned()],
    })
    .into_response())
}

/// `userName eq "ada" and origin eq "uaa"`: the filters that clients send, of all that SCIM has.
fn filtered(filter: &str) -> Result<Query, UaaFailure> {
    let bad = || {
        let text = format!(
            "Invalid filter expression: [{filter}]; supported are id, userName and origin with \
             eq, joined by and"
        );
        UaaFailure::new(StatusCode::BAD_REQUEST, "scim", text)
    };
    let mut rest = filter.trim();
    let mut query = Query::all();
    loop {
        let (name, after_name) = rest.split_once(char::is_whitespace).ok_or_else(bad)?;
        let after_name = after_name.trim_start();
        let (operator, after_operator) = after_name.split_at_checked(2).ok_or_else(bad)?;
        let quoted = after_operator.trim_start();
        let (value, after_value) = quoted_text(quoted).ok_or_else(bad)?;
        if !operator.eq_ignore_ascii_case("eq") {
            return Err(bad());
        }
        query = match name.to_lowercase().as_str() {
            "username" => query.and_by("username_lower", value.to_lowercase()),
            "origin" => query.and_by("origin", value),
            "id" => query.and_by("id", value),
            _ => return Err(bad()),
        };
        rest = after_value.trim_start();
        if rest.is_empty() {
            return Ok(query);
        }
        let (word, next) = rest.split_once(char::is_whitespace).ok_or_else(bad)?;
        if !word.eq_ignore_ascii_case("and") {
            return Err(bad());
        }
        rest = next.trim_start();
    }
}

/// The text between quotes, with escaped quotes, and what comes after it.
fn quoted_text(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, sign)) = chars.next() {
        match sign {
            '"' => return Some((value, &inner[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            other => value.push(other),
        }
    }
    None
}

pub(super) async fn create(
    State(api): State<Api>,
    UaaCaller(caller): UaaCaller,
    body: axum::body::Bytes,
) -> Result<Response, UaaFailure> {
    let new: CreateScimUser = read(&body)?;
    let origin = new.origin.filter(|origin| !origin.is_empty());
    let origin = origin.as_deref().unwrap_or(cupola_control::identity::BUILT_IN_ORIGIN);
    let password = new.password.filter(|password| !password.is_empty());
    let created = api.control.create_account(&caller, &new.user_name, password.as_deref(), origin);
    Ok((StatusCode::CREATED, Json(present(&created.await?))).into_response())
}

pub(super) async fn show(
    State(api): State<Api>,
    UaaCaller(caller): UaaCaller,
    Guid(guid): Guid,
) -> Result<Response, UaaFailure> {
    let user = api.control.account(&caller, id(&guid)?).await?;
    Ok(Json(present(&user)).into_response())
}

pub(super) async fn delete(
    State(api): State<Api>,
    UaaCaller(caller): UaaCaller,
    Guid(guid): Guid,
) -> Result<Response, UaaFailure> {
    let user = api.control.delete_account(&caller, id(&guid)?).await?;
    Ok(Json(present(&user)).into_response())
}

pub(super) async fn change_password(
    State(api): State<Api>,
    UaaCaller(caller): UaaCaller,
    Guid(guid): Guid,
    body: axum::body::Bytes,
) -> Result<Response, UaaFailure> {
    let ChangePassword { old_password, password } = read(&body)?;
    let of = id(&guid)?;
    api.control.change_password(&caller, of, old_password.as_deref(), &password).await?;
    Ok(Json(json!({ "status": "ok", "message": "password updated" })).into_response())
}

pub(super) async fn user_info(
    State(api): State<Api>,
    UaaCaller(caller): UaaCaller,
) -> Result<Response, UaaFailure> {
    let user = api.control.account(&caller, caller.user_id).await?;
    Ok(Json(json!({
        "user_id": user.id.to_string(),
        "sub": user.id.to_string(),
        "user_name": user.username,
        "name": user.username,
        "email": user.username,
        "email_verified": true,
        "origin": user.origin,
    }))
    .into_response())
}

/// What is no id is the id of nobody.
fn id(guid: &str) -> Result<UserId, UaaFailure> {
    guid.parse().map_err(|_| cupola_control::ControlError::NotFound { noun: "User" }.into())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, UaaFailure> {
    serde_json::from_slice(body).map_err(|error| {
        let text = format!("the request body cannot be read: {error}");
        UaaFailure::new(StatusCode::BAD_REQUEST, "invalid_scim_resource", text)
    })
}

fn present(user: &User) -> ScimUser {
    let name = || user.username.clone();
    ScimUser {
        id: user.id.to_string(),
        external_id: String::new(),
        user_name: name(),
        name: ScimName { family_name: name(), given_name: name() },
        emails: vec![ScimEmail { value: name(), primary: true }],
        groups: Vec::new(),
        active: true,
        verified: true,
        origin: user.origin.clone(),
        zone_id: "uaa".to_owned(),
        meta: ScimMeta {
            version: 0,
            created: user.created_at.rfc3339(),
            last_modified: user.updated_at.rfc3339(),
        },
        schemas: vec![SCHEMA.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_the_cf_cli_are_understood() {
        let query = filtered(r#"userName eq "Ada \"the\" first" and origin eq "uaa""#).unwrap();

        let wanted = Query::by("username_lower", r#"ada "the" first"#).and_by("origin", "uaa");
        assert_eq!(query, wanted);
    }

    #[test]
    fn other_filters_are_refused() {
        for filter in [
            "",
            "userName",
            "userName co \"a\"",
            "userName eq a",
            "x eq \"a\"",
            "id eq \"a\" or id eq \"b\"",
            "id eq \"a\" and",
        ] {
            assert!(filtered(filter).is_err(), "{filter}");
        }
    }
}
