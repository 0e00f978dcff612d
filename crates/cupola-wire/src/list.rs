//! Pages and links.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Links by name.
pub type Links = BTreeMap<String, Link>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub href: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

impl Link {
    pub fn to(href: String) -> Self {
        Self { href, method: None }
    }

    pub fn post(href: String) -> Self {
        Self { href, method: Some("POST".to_owned()) }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct List<T> {
    pub pagination: Pagination,
    pub resources: Vec<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub included: Option<serde_json::Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pagination {
    pub total_results: u64,
    pub total_pages: u64,
    pub first: Link,
    pub last: Link,
    pub next: Option<Link>,
    pub previous: Option<Link>,
}

/// `{"data": {"guid": ...}}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToOne {
    pub data: Option<Guid>,
}

impl ToOne {
    pub fn to(guid: impl ToString) -> Self {
        Self { data: Some(Guid { guid: guid.to_string() }) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guid {
    pub guid: String,
}
