//! Roles: who gives them to whom.

use cupola_domain::{
    access::Access,
    ids::{OrgId, RoleId, SpaceId, UserId},
    jobs::Job,
    orgs::Org,
    roles::{Role, RoleKind, RoleScope},
    spaces::Space,
    users::User,
};
use cupola_ports::store::{self, Condition, Page, Query, ReadTx};

use crate::{
    Control, ControlError, ListRequest,
    apps::may,
    caller::Caller,
    control::{ids, in_visible_orgs, in_visible_spaces},
    events::{NewEvent, target},
    jobs::JobInput,
};

/// Whom a role is given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    Id(UserId),
    Named { username: String, origin: Option<String> },
}

/// The organisation, and the space if it is a role in one, by name for messages.
struct Place {
    org: Org,
    space: Option<Space>,
}

impl Control {
    pub async fn create_role(
        &self,
        caller: &Caller,
        kind: RoleKind,
        holder: Holder,
        scope: RoleScope,
    ) -> Result<Role, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let place = place_of(&mut *tx, scope).await?;
        let place = place.filter(|place| sees(&access, place)).ok_or_else(|| invalid(scope))?;
        may_give(&access, &place)?;
        let mut user = self.holder(&mut *tx, caller, holder, &place).await?;
        let now = self.ports.clock.now();
        if !user.registered {
            user.registered = true;
            user.updated_at = now;
            store::update(&mut *tx, &user).await?;
        }
        let role = Role::new(kind, user.id, scope, now);
        store::insert(&mut *tx, &role)
            .await
            .map_err(|error| ControlError::taken(error, || held_already(&user, kind, &place)))?;
        let kind = format!("audit.user.{}_add", role.kind.name());
        self.record(&mut *tx, caller.party(), event(&kind, &role, &user, &place)).await?;
        tx.commit().await?;
        Ok(role)
    }

    pub async fn role(&self, caller: &Caller, id: RoleId) -> Result<Role, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        Ok(readable_role(&mut *tx, &access, id).await?.0)
    }

    /// The roles in organisations and spaces that the caller sees.
    pub async fn list_roles(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Role>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let spaces = self.visible_spaces(&mut *tx, &access).await?;
        let in_spaces = in_visible_spaces("space_id", &spaces);
        let in_orgs = in_visible_orgs("org_id", &access.visible_orgs());
        let visible =
            in_spaces.zip(in_orgs).map(|(spaces, orgs)| Condition::Any(vec![spaces, orgs]));
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    /// Begins to take a role away, and answers with the job.
    pub async fn delete_role(&self, caller: &Caller, id: RoleId) -> Result<Job, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (role, place) = readable_role(&mut *tx, &access, id).await?;
        may_give(&access, &place)?;
        if role.kind == RoleKind::OrganizationUser
            && holds_space_role(&mut *tx, role.user_id, place.org.id).await?
        {
            let detail = "Cannot delete organization_user role while user has roles in spaces in \
                          that organization.";
            return Err(ControlError::unprocessable(detail));
        }
        let job = self.enqueue(&mut *tx, caller, JobInput::DeleteRole { role: id }).await?;
        tx.commit().await?;
        Ok(job)
    }

    pub(crate) async fn perform_delete_role(
        &self,
        caller: &Caller,
        id: RoleId,
    ) -> Result<Vec<String>, ControlError> {
        let mut tx = self.write().await?;
        let Some(role) = store::get::<Role>(&mut *tx, id).await? else { return Ok(Vec::new()) };
        let user = store::get::<User>(&mut *tx, role.user_id).await?;
        let place = place_of(&mut *tx, role.scope).await?;
        if let Some((user, place)) = user.zip(place) {
            let kind = format!("audit.user.{}_remove", role.kind.name());
            self.record(&mut *tx, caller.party(), event(&kind, &role, &user, &place)).await?;
        }
        store::delete::<Role>(&mut *tx, id).await?;
        tx.commit().await?;
        Ok(Vec::new())
    }

    /// The user that a role is to be given to. For a role in a space it must hold one in the
    /// organisation already.
    async fn holder(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        caller: &Caller,
        holder: Holder,
        place: &Place,
    ) -> Result<User, ControlError> {
        let user = match holder {
            Holder::Id(id) => store::get::<User>(tx, id).await?.ok_or_else(|| {
                if place.space.is_some() { no_org_role() } else { no_user_with_id() }
            })?,
            Holder::Named { username, origin } => {
                self.require_flag_or_admin(tx, caller, "set_roles_by_username").await?;
                let found = named(tx, &username, origin.as_deref()).await?;
                found.ok_or_else(|| {
                    if place.space.is_some() {
                        no_org_role()
                    } else {
                        no_user_named(&username, origin.as_deref())
                    }
                })?
            }
        };
        if place.space.is_some() && !holds_org_role(tx, user.id, place.org.id).await? {
            return Err(no_org_role());
        }
        Ok(user)
    }
}

/// The account with this name. More than one origin with it must be told apart by the client.
async fn named(
    tx: &mut (impl ReadTx + ?Sized),
    username: &str,
    origin: Option<&str>,
) -> Result<Option<User>, ControlError> {
    let mut query = Query::by("username_lower", username.to_lowercase());
    if let Some(origin) = origin {
        query = query.and_by("origin", origin);
    }
    let mut users = store::list::<User>(tx, &query).await?.items;
    if users.len() > 1 {
        let mut origins: Vec<&str> = users.iter().map(|user| user.origin.as_str()).collect();
        origins.sort_unstable();
        let origins = origins.join(", ");
        return Err(ControlError::Unprocessable(format!(
            "Ambiguous user. User with username '{username}' exists in the following origins: \
             {origins}. Specify an origin to disambiguate."
        )));
    }
    Ok(users.pop())
}

async fn place_of(
    tx: &mut (impl ReadTx + ?Sized),
    scope: RoleScope,
) -> Result<Option<Place>, ControlError> {
    let (org_id, space) = match scope {
        RoleScope::Org(org) => (org, None),
        RoleScope::Space(space) => match store::get::<Space>(tx, space).await? {
            Some(space) => (space.org_id, Some(space)),
            None => return Ok(None),
        },
    };
    Ok(store::get::<Org>(tx, org_id).await?.map(|org| Place { org, space }))
}

async fn readable_role(
    tx: &mut (impl ReadTx + ?Sized),
    access: &Access,
    id: RoleId,
) -> Result<(Role, Place), ControlError> {
    let missing = ControlError::NotFound { noun: "Role" };
    let Some(role) = store::get::<Role>(tx, id).await? else { return Err(missing) };
    let place = place_of(tx, role.scope).await?.filter(|place| sees(access, place));
    Ok((role, place.ok_or(missing)?))
}

async fn holds_org_role(
    tx: &mut (impl ReadTx + ?Sized),
    user: UserId,
    org: OrgId,
) -> Result<bool, ControlError> {
    let query = Query::by("user_id", user.to_string()).and_by("org_id", org.to_string());
    Ok(store::first::<Role>(tx, &query).await?.is_some())
}

async fn holds_space_role(
    tx: &mut (impl ReadTx + ?Sized),
    user: UserId,
    org: OrgId,
) -> Result<bool, ControlError> {
    let spaces = store::list::<Space>(tx, &Query::by("org_id", org.to_string())).await?.items;
    let spaces: Vec<SpaceId> = spaces.iter().map(|space| space.id).collect();
    let query = Query::by("user_id", user.to_string()).and(Condition::In("space_id", ids(&spaces)));
    Ok(store::first::<Role>(tx, &query).await?.is_some())
}

fn sees(access: &Access, place: &Place) -> bool {
    match &place.space {
        Some(space) => access.can_read_space(place.org.id, space.id),
        None => access.can_read_org(place.org.id),
    }
}

fn may_give(access: &Access, place: &Place) -> Result<(), ControlError> {
    let allowed = match &place.space {
        Some(space) => access.can_manage_space(place.org.id, space.id),
        None => access.can_manage_org(place.org.id),
    };
    may(access, &place.org, allowed)
}

fn invalid(scope: RoleScope) -> ControlError {
    let noun = match scope {
        RoleScope::Org(_) => "organization",
        RoleScope::Space(_) => "space",
    };
    ControlError::Unprocessable(format!(
        "Invalid {noun}. Ensure that the {noun} exists and you have access to it."
    ))
}

fn no_org_role() -> ControlError {
    ControlError::unprocessable(
        "Users cannot be assigned roles in a space if they do not have a role in that space's \
         organization.",
    )
}

fn no_user_with_id() -> ControlError {
    let detail = "Invalid user. Ensure that the user exists and you have access to it.";
    ControlError::unprocessable(detail)
}

fn no_user_named(username: &str, origin: Option<&str>) -> ControlError {
    ControlError::Unprocessable(match origin {
        Some(origin) => {
            format!("No user exists with the username '{username}' and origin '{origin}'.")
        }
        None => format!("No user exists with the username '{username}'."),
    })
}

fn held_already(user: &User, kind: RoleKind, place: &Place) -> String {
    let (noun, name) = match &place.space {
        Some(space) => ("space", &space.name),
        None => ("organization", &place.org.name),
    };
    let (user, kind) = (&user.username, kind.name());
    format!("User '{user}' already has '{kind}' role in {noun} '{name}'.")
}

/// Records a change of a role. Upstream names the events by role: `audit.user.space_developer_add`.
fn event<'a>(kind: &'a str, role: &Role, user: &User, place: &Place) -> NewEvent<'a> {
    NewEvent {
        kind,
        target: target("user", user.id, &user.username),
        data: serde_json::json!({ "role": role.kind.name() }),
        space_id: place.space.as_ref().map(|space| space.id),
        org_id: Some(place.org.id),
    }
}
