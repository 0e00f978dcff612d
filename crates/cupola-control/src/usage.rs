//! How much an organisation or a space uses of what quotas limit.

use cupola_domain::{
    apps::{App, AppState},
    domains::Domain,
    ids::{OrgId, SpaceId},
    processes::Process,
    routes::Route,
    spaces::Space,
};
use cupola_ports::store::{self, Condition, Query, ReadTx};

use crate::{Control, ControlError, caller::Caller, control::ids};

/// Sums over everything that is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageSummary {
    pub started_instances: u64,
    pub memory_mib: u64,
    pub routes: u64,
    pub private_domains: u64,
}

impl Control {
    pub async fn org_usage(
        &self,
        caller: &Caller,
        id: OrgId,
    ) -> Result<UsageSummary, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        self.readable_org(&mut *tx, &access, id).await?;
        let in_org = Query::by("org_id", id.to_string());
        let spaces = store::list::<Space>(&mut *tx, &in_org).await?.items;
        let spaces: Vec<SpaceId> = spaces.iter().map(|space| space.id).collect();
        let owned = Query { limit: Some(0), ..Query::by("owner_id", id.to_string()) };
        let private_domains = store::list::<Domain>(&mut *tx, &owned).await?.total;
        Ok(UsageSummary { private_domains, ..usage_of(&mut *tx, &spaces).await? })
    }

    pub async fn space_usage(
        &self,
        caller: &Caller,
        id: SpaceId,
    ) -> Result<UsageSummary, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        self.readable_space(&mut *tx, &access, id).await?;
        usage_of(&mut *tx, &[id]).await
    }
}

async fn usage_of(
    tx: &mut (impl ReadTx + ?Sized),
    spaces: &[SpaceId],
) -> Result<UsageSummary, ControlError> {
    let in_spaces = Query::all().and(Condition::In("space_id", ids(spaces)));
    let apps = store::list::<App>(tx, &in_spaces).await?.items;
    let started: Vec<_> =
        apps.iter().filter(|app| app.desired == AppState::Started).map(|app| app.id).collect();
    let of_apps = Query::all().and(Condition::In("app_id", ids(&started)));
    let processes = store::list::<Process>(tx, &of_apps).await?.items;
    let routes = store::list::<Route>(tx, &Query { limit: Some(0), ..in_spaces }).await?.total;
    let memory =
        |process: &Process| u64::from(process.instances) * u64::from(process.limits.memory_mib);
    Ok(UsageSummary {
        started_instances: processes.iter().map(|process| u64::from(process.instances)).sum(),
        memory_mib: processes.iter().map(memory).sum(),
        routes,
        private_domains: 0,
    })
}
