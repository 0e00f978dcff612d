//! Which rows a list shows: those in spaces that the caller sees and asks for.

use cupola_domain::{access::Access, apps::App, ids::AppId, spaces::Space};
use cupola_ports::store::{self, Condition, Query, ReadTx, Value};

use crate::{Control, ControlError, control::ids};

/// The spaces and organisations that a list is asked for; none means every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    pub spaces: Option<Vec<String>>,
    pub orgs: Option<Vec<String>>,
}

impl Owners {
    const fn is_everything(&self) -> bool {
        self.spaces.is_none() && self.orgs.is_none()
    }
}

impl Control {
    /// The conditions for tables with a column `space_id`.
    pub(crate) async fn in_spaces(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        owners: &Owners,
    ) -> Result<Vec<Condition>, ControlError> {
        let mut conditions = Vec::new();
        if let Some(visible) = self.visible_spaces(tx, access).await? {
            conditions.push(Condition::In("space_id", ids(&visible)));
        }
        if let Some(spaces) = &owners.spaces {
            conditions.push(Condition::In("space_id", texts(spaces)));
        }
        if let Some(orgs) = &owners.orgs {
            let query = Query::all().and(Condition::In("org_id", texts(orgs)));
            let spaces: Vec<_> =
                store::list::<Space>(tx, &query).await?.items.iter().map(|s| s.id).collect();
            conditions.push(Condition::In("space_id", ids(&spaces)));
        }
        Ok(conditions)
    }

    /// The conditions for tables with a column `app_id`.
    pub(crate) async fn of_apps(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        owners: &Owners,
    ) -> Result<Vec<Condition>, ControlError> {
        if access.is_admin() && owners.is_everything() {
            return Ok(Vec::new());
        }
        let mut query = Query::all();
        query.conditions = self.in_spaces(tx, access, owners).await?;
        let apps: Vec<AppId> =
            store::list::<App>(tx, &query).await?.items.iter().map(|app| app.id).collect();
        Ok(vec![Condition::In("app_id", ids(&apps))])
    }
}

fn texts(texts: &[String]) -> Vec<Value> {
    texts.iter().cloned().map(Value::Text).collect()
}
