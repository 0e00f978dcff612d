//! How an organisation is written.

use cupola_control::usage::UsageSummary;
use cupola_domain::orgs::Org;
use cupola_wire::organizations::Organization;
use serde_json::{Value, json};

use crate::{Api, metadata, quotas::DEFAULT_QUOTA};

pub(crate) fn org(api: &Api, org: &Org) -> Organization {
    let own = format!("/v3/organizations/{}", org.id);
    Organization {
        guid: org.id.to_string(),
        name: org.name.clone(),
        suspended: org.suspended,
        relationships: serde_json::json!({ "quota": { "data": { "guid": DEFAULT_QUOTA } } }),
        metadata: metadata::present(&org.metadata),
        created_at: org.created_at.rfc3339(),
        updated_at: org.updated_at.rfc3339(),
        links: api.links([
            ("self", own.clone()),
            ("domains", format!("{own}/domains")),
            ("default_domain", format!("{own}/domains/default")),
            ("quota", format!("/v3/organization_quotas/{DEFAULT_QUOTA}")),
        ]),
    }
}

/// How much is used, of organisations and of spaces.
pub(crate) fn usage(usage: &UsageSummary) -> Value {
    json!({
        "started_instances": usage.started_instances,
        "memory_in_mb": usage.memory_mib,
        "routes": usage.routes,
        "service_instances": 0,
        "reserved_ports": 0,
        "domains": usage.private_domains,
        "per_app_tasks": 0,
        "service_keys": 0,
    })
}
