//! Stand-ins for the jobs of nouns that are still being written.

use cupola_domain::ids::{AppId, DomainId, RouteId, SpaceId};

use crate::{Control, ControlError, caller::Caller};

fn missing() -> Result<Vec<String>, ControlError> {
    Err(ControlError::Busy("this operation is not there yet".to_owned()))
}

impl Control {
    pub(crate) async fn perform_delete_domain(&self, _: &Caller, _: DomainId) -> Result<Vec<String>, ControlError> { missing() }
    pub(crate) async fn perform_delete_app(&self, _: &Caller, _: AppId) -> Result<Vec<String>, ControlError> { missing() }
    pub(crate) async fn perform_delete_route(&self, _: &Caller, _: RouteId) -> Result<Vec<String>, ControlError> { missing() }
    pub(crate) async fn perform_delete_unmapped_routes(&self, _: &Caller, _: SpaceId) -> Result<Vec<String>, ControlError> { missing() }
    pub(crate) async fn perform_apply_manifest(&self, _: &Caller, _: SpaceId, _: &str) -> Result<Vec<String>, ControlError> { missing() }
}
