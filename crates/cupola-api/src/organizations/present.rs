//! How an organisation is written.

use cupola_domain::orgs::Org;
use cupola_wire::organizations::Organization;

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
