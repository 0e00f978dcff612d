//! Who may do what: every operation, asked by those who may not.
//!
//! Each operation of the contract that the API has is in `OPERATIONS` or, if there is nothing to
//! refuse, in `OPEN`. A test compares both with the routes that there are.

mod of_apps;

use std::collections::BTreeSet;

use cupola_domain::roles::RoleKind;
use cupola_testkit::{
    TestPlatform,
    http::{Answer, Client},
    openapi::Contract,
};
use http::Method;
use serde_json::{Value, json};

use of_apps::AppFixture;

/// What somebody gets who asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    /// What was asked for.
    Answer,
    /// A page without anything.
    EmptyList,
    /// 404: that it is there may not be known.
    Missing,
    /// 403: it is seen, and may not be changed.
    Forbidden,
    /// 422: what the body names may not be known.
    Invalid,
    /// Nobody gets it of what users provide: 400 or 502.
    Unsupported,
}

use Gets::{Answer as Ok, EmptyList, Forbidden, Invalid, Missing, Unsupported};

/// Method, path, what a user without any role gets, and what an auditor of organisation and space.
const OPERATIONS: &[(&str, &str, Gets, Gets)] = &[
    ("GET", "/v3/organizations", EmptyList, Ok),
    ("POST", "/v3/organizations", Forbidden, Forbidden),
    ("GET", "/v3/organizations/{guid}", Missing, Ok),
    ("PATCH", "/v3/organizations/{guid}", Missing, Forbidden),
    ("DELETE", "/v3/organizations/{guid}", Missing, Forbidden),
    ("GET", "/v3/organizations/{guid}/users", Missing, Ok),
    ("GET", "/v3/organizations/{guid}/usage_summary", Missing, Ok),
    ("GET", "/v3/organizations/{guid}/relationships/default_isolation_segment", Missing, Ok),
    (
        "PATCH",
        "/v3/organizations/{guid}/relationships/default_isolation_segment",
        Missing,
        Forbidden,
    ),
    ("GET", "/v3/spaces", EmptyList, Ok),
    ("POST", "/v3/spaces", Invalid, Forbidden),
    ("GET", "/v3/spaces/{guid}", Missing, Ok),
    ("PATCH", "/v3/spaces/{guid}", Missing, Forbidden),
    ("DELETE", "/v3/spaces/{guid}", Missing, Forbidden),
    ("GET", "/v3/spaces/{guid}/features", Missing, Ok),
    ("GET", "/v3/spaces/{guid}/features/{name}", Missing, Ok),
    ("PATCH", "/v3/spaces/{guid}/features/{name}", Missing, Forbidden),
    ("GET", "/v3/spaces/{guid}/users", Missing, Ok),
    ("GET", "/v3/spaces/{guid}/usage_summary", Missing, Ok),
    ("GET", "/v3/spaces/{guid}/running_security_groups", Missing, EmptyList),
    ("GET", "/v3/spaces/{guid}/staging_security_groups", Missing, EmptyList),
    ("GET", "/v3/spaces/{guid}/relationships/isolation_segment", Missing, Ok),
    ("PATCH", "/v3/spaces/{guid}/relationships/isolation_segment", Missing, Forbidden),
    ("GET", "/v3/roles", EmptyList, Ok),
    ("POST", "/v3/roles", Invalid, Forbidden),
    ("GET", "/v3/roles/{guid}", Missing, Ok),
    ("DELETE", "/v3/roles/{guid}", Missing, Forbidden),
    ("POST", "/v3/users", Forbidden, Forbidden),
    ("GET", "/v3/users/{guid}", Missing, Ok),
    ("PATCH", "/v3/users/{guid}", Missing, Forbidden),
    ("DELETE", "/v3/users/{guid}", Missing, Forbidden),
    ("GET", "/v3/audit_events", EmptyList, Ok),
    ("GET", "/v3/audit_events/{guid}", Missing, Ok),
    ("PATCH", "/v3/feature_flags/{name}", Forbidden, Forbidden),
    ("POST", "/v3/buildpacks", Forbidden, Forbidden),
    ("PATCH", "/v3/buildpacks/{guid}", Forbidden, Forbidden),
    ("DELETE", "/v3/buildpacks/{guid}", Forbidden, Forbidden),
    ("POST", "/v3/stacks", Forbidden, Forbidden),
    ("PATCH", "/v3/stacks/{guid}", Forbidden, Forbidden),
    ("DELETE", "/v3/stacks/{guid}", Forbidden, Forbidden),
    ("POST", "/v3/organization_quotas", Forbidden, Forbidden),
    ("PATCH", "/v3/organization_quotas/{guid}", Forbidden, Forbidden),
    ("DELETE", "/v3/organization_quotas/{guid}", Forbidden, Forbidden),
    (
        "POST",
        "/v3/organization_quotas/{quota_guid}/relationships/organizations",
        Forbidden,
        Forbidden,
    ),
    ("PATCH", "/v3/environment_variable_groups/{name}", Forbidden, Forbidden),
];

/// Operations that tell everybody the same, or nothing: what is told of the caller's own, what all
/// may see, and what is not there for anybody.
const OPEN: &[(&str, &str)] = &[
    ("GET", "/v3/jobs/{guid}"),
    ("GET", "/v3/users"),
    ("GET", "/v3/feature_flags"),
    ("GET", "/v3/feature_flags/{name}"),
    ("GET", "/v3/buildpacks"),
    ("GET", "/v3/buildpacks/{guid}"),
    ("GET", "/v3/stacks"),
    ("GET", "/v3/stacks/{guid}"),
    ("GET", "/v3/organization_quotas"),
    ("GET", "/v3/organization_quotas/{guid}"),
    ("GET", "/v3/environment_variable_groups/{name}"),
    ("GET", "/v3/isolation_segments/{guid}/organizations"),
];

/// Nouns that the platform does not have, so that nobody sees or makes one.
const EMPTY: &[&str] = &[
    "/v3/isolation_segments",
    "/v3/security_groups",
    "/v3/service_brokers",
    "/v3/service_offerings",
    "/v3/service_plans",
    "/v3/service_route_bindings",
    "/v3/space_quotas",
];

/// One of every noun, for those who are refused.
struct Fixture {
    ids: Vec<(&'static str, String)>,
    member: String,
    org: String,
    space: String,
    of_apps: AppFixture,
}

impl Fixture {
    async fn new(platform: &TestPlatform) -> Self {
        let admin = platform.as_admin().await;
        let member = platform.as_user("member", &[RoleKind::SpaceDeveloper]).await.user_id();
        let path = format!("/v3/spaces/{}", platform.space);
        admin.patch(&path, json!({ "name": "dev" })).await.expect(200);
        let event = first(&admin, "/v3/audit_events").await;
        let role = first(&admin, "/v3/roles").await;
        let of_apps = AppFixture::new(platform).await;
        let mut ids = vec![
            ("organizations", platform.org.to_string()),
            ("spaces", platform.space.to_string()),
            ("roles", role),
            ("users", member.clone()),
            ("audit_events", event),
            ("buildpacks", first(&admin, "/v3/buildpacks").await),
            ("stacks", first(&admin, "/v3/stacks").await),
            ("organization_quotas", first(&admin, "/v3/organization_quotas").await),
        ];
        ids.extend(of_apps.ids());
        let (org, space) = (platform.org.to_string(), platform.space.to_string());
        Self { ids, member, org, space, of_apps }
    }

    /// The template with the ids of the fixture.
    fn path(&self, template: &str) -> String {
        let noun = template.split('/').nth(2).unwrap_or_default();
        let id = self.ids.iter().find(|(plural, _)| *plural == noun);
        let id = id.map_or("none", |(_, id)| id.as_str());
        let name = match noun {
            "feature_flags" => "app_scaling",
            "environment_variable_groups" => "running",
            _ => "ssh",
        };
        let template = self.of_apps.path(template);
        template.replace("{guid}", id).replace("{quota_guid}", id).replace("{name}", name)
    }

    fn body(&self, method: &str, template: &str) -> Value {
        if let Some(body) = self.of_apps.body(method, template) {
            return body;
        }
        let in_org = json!({ "organization": { "data": { "guid": self.org } } });
        match (method, template) {
            ("POST", "/v3/organizations") => json!({ "name": "acme" }),
            ("POST", "/v3/spaces") => json!({ "name": "test", "relationships": in_org }),
            ("POST", "/v3/roles") => json!({
                "type": "space_auditor",
                "relationships": {
                    "user": { "data": { "guid": self.member } },
                    "space": { "data": { "guid": self.space } },
                },
            }),
            ("POST", "/v3/users") => json!({ "username": "x", "origin": "ldap" }),
            (_, path) if path.contains("isolation_segment") => json!({ "data": null }),
            (_, path) if path.contains("/features/") => json!({ "enabled": false }),
            _ => json!({}),
        }
    }
}

async fn first(client: &Client<'_>, list: &str) -> String {
    let list = client.get(list).await;
    list.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned()
}

fn gets(answer: &Answer) -> Option<Gets> {
    match answer.status.as_u16() {
        200 if answer.body["pagination"]["total_results"] == 0 => Some(EmptyList),
        200..300 => Some(Ok),
        403 => Some(Forbidden),
        404 if answer.body["errors"][0]["code"] == 10010 => Some(Missing),
        422 => Some(Invalid),
        400 | 502 if answer.body["errors"][0]["title"].as_str()?.ends_with("NotSupported") => {
            Some(Unsupported)
        }
        _ => None,
    }
}

#[tokio::test]
async fn those_who_may_not_are_refused_and_learn_no_more_than_they_may() {
    let platform = TestPlatform::start().await;
    let fixture = Fixture::new(&platform).await;
    let stranger = platform.as_user("stranger", &[]).await;
    let roles = [RoleKind::OrganizationAuditor, RoleKind::SpaceAuditor];
    let auditor = platform.as_user("auditor", &roles).await;

    let mut wrong = Vec::new();
    for (method, template, stranger_gets, auditor_gets) in
        OPERATIONS.iter().chain(of_apps::OPERATIONS)
    {
        let path = fixture.path(template);
        let body = fixture.body(method, template);
        let asked = [("stranger", &stranger, stranger_gets), ("auditor", &auditor, auditor_gets)];
        for (who, client, wanted) in asked {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = client.send_json(method, &path, &body).await;
            if gets(&answer) != Some(*wanted) {
                let (status, text) = (answer.status, answer.text());
                wrong.push(format!("{who} {}: {status}, not {wanted:?}: {text}", answer.request));
            }
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_operation_needs_a_token_and_is_in_the_tables() {
    let platform = TestPlatform::start().await;
    let anonymous = platform.anonymous();
    let listed: BTreeSet<(String, String)> = OPERATIONS
        .iter()
        .chain(of_apps::OPERATIONS)
        .map(|(method, path, _, _)| (*method, *path))
        .chain(OPEN.iter().chain(of_apps::OPEN).copied())
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    let is_listed = |operation: &(String, String)| {
        let is_empty = |path: &str| {
            let rest = operation.1.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest == "/{guid}")
        };
        listed.contains(operation) || EMPTY.iter().any(|path| is_empty(path))
    };

    let mut unlisted = Vec::new();
    for operation in Contract::load().operations() {
        let (method, template) = &operation;
        if ["/", "/v3", "/v3/info"].contains(&template.as_str()) {
            continue;
        }
        let path = template.replace(['{', '}'], "");
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = anonymous.send_json(method, &path, &json!({})).await;
        let is_there = answer.body["errors"][0]["code"] != 10000;
        if is_there {
            assert_eq!(answer.status, 401, "{} needs no token", answer.request);
        }
        if is_there != is_listed(&operation) {
            unlisted.push(format!("{} is there: {is_there}", answer.request));
        }
    }

    assert!(unlisted.is_empty(), "{}", unlisted.join("\n"));
}
