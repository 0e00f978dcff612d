//! Users: accounts that log in, and the users that the v3 API knows.
//!
//! As upstream there are two: an account (UAA's) has a name and a password; a user (Cloud
//! Controller's) may hold roles. Both are one row here. `registered` says whether it is a user, so
//! that a client may delete one and then the other.

use std::collections::BTreeSet;

use cupola_domain::{ids::UserId, jobs::Job, orgs::Metadata, roles::Role, users::User};
use cupola_ports::store::{self, Condition, Noun, Page, Query, ReadTx, Value};

use crate::{
    Control, ControlError, ListRequest,
    caller::Caller,
    control::ids,
    identity::{BUILT_IN_ORIGIN, LoginError, user_named},
    jobs::JobInput,
    orgs::MetadataChange,
};

/// Which account is to be a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    Id(UserId),
    Named { username: String, origin: String },
}

impl Control {
    /// Makes an account that can log in with this password.
    pub async fn create_account(
        &self,
        caller: &Caller,
        username: &str,
        password: Option<&str>,
        origin: &str,
    ) -> Result<User, LoginError> {
        if !caller.admin {
            return Err(ControlError::NotAuthorized.into());
        }
        check_username(username)?;
        let password_hash = match password {
            Some(password) => Some(self.hash_password(password).await?),
            None if origin == BUILT_IN_ORIGIN => {
                return Err(LoginError::BadPassword("a password is required".to_owned()));
            }
            None => None,
        };
        let mut tx = self.write().await?;
        let user = self.new_account(username, origin, password_hash);
        store::insert(&mut *tx, &user).await.map_err(|error| taken(error, username))?;
        tx.commit().await?;
        Ok(user)
    }

    pub(crate) fn new_account(
        &self,
        username: &str,
        origin: &str,
        password_hash: Option<String>,
    ) -> User {
        let now = self.ports.clock.now();
        User {
            id: UserId::random(),
            username: username.to_owned(),
            origin: origin.to_owned(),
            password_hash,
            admin: false,
            registered: false,
            tokens_valid_from: now,
            metadata: Metadata::default(),
            created_at: now,
            updated_at: now,
        }
    }

    /// Accounts, also those that are no users. For administrators.
    pub async fn list_accounts(
        &self,
        caller: &Caller,
        query: &Query,
    ) -> Result<Page<User>, ControlError> {
        require_admin(caller)?;
        let mut tx = self.read().await?;
        Ok(store::list(&mut *tx, query).await?)
    }

    /// One account, for administrators and for oneself.
    pub async fn account(&self, caller: &Caller, id: UserId) -> Result<User, ControlError> {
        if caller.user_id != id {
            require_admin(caller)?;
        }
        let mut tx = self.read().await?;
        let user = store::get::<User>(&mut *tx, id).await?;
        user.ok_or(ControlError::NotFound { noun: "User" })
    }

    /// Removes an account and the roles that it may still hold.
    pub async fn delete_account(&self, caller: &Caller, id: UserId) -> Result<User, ControlError> {
        require_admin(caller)?;
        let mut tx = self.write().await?;
        let user = store::get::<User>(&mut *tx, id).await?;
        let user = user.ok_or(ControlError::NotFound { noun: "User" })?;
        let of_user = [Condition::In("user_id", vec![Value::Text(id.to_string())])];
        tx.delete_rows(Role::TABLE, &of_user).await?;
        store::delete::<User>(&mut *tx, id).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// Makes an account a user who can hold roles.
    pub async fn register_user(
        &self,
        caller: &Caller,
        account: Account,
        metadata: Metadata,
    ) -> Result<User, ControlError> {
        require_admin(caller)?;
        let mut tx = self.write().await?;
        let found = match &account {
            Account::Id(id) => store::get::<User>(&mut *tx, *id).await?,
            Account::Named { username, origin } => user_named(&mut *tx, username, origin).await?,
        };
        let mut user = match (found, account) {
            (Some(user), account) if user.registered => return Err(registered(&account)),
            (Some(user), _) => user,
            (None, Account::Id(id)) => {
                let detail =
                    format!("no account with guid '{id}' exists; create it first with POST /Users");
                return Err(ControlError::Unprocessable(detail));
            }
            (None, Account::Named { username, origin }) => {
                check_username(&username)?;
                let user = self.new_account(&username, &origin, None);
                store::insert(&mut *tx, &user).await?;
                user
            }
        };
        user.registered = true;
        user.metadata = metadata;
        user.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &user).await?;
        tx.commit().await?;
        Ok(user)
    }

    pub async fn user(&self, caller: &Caller, id: UserId) -> Result<User, ControlError> {
        let mut tx = self.read().await?;
        self.readable_user(&mut *tx, caller, id).await
    }

    /// The users that the caller knows: itself, and whoever holds a role where it holds one.
    pub async fn list_users(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<User>, ControlError> {
        let mut tx = self.read().await?;
        let visible = match self.known_users(&mut *tx, caller).await? {
            Some(known) => Condition::In("id", known.into_iter().map(Value::Text).collect()),
            None => Condition::NotIn("id", Vec::new()),
        };
        let mut query = request.query([visible]);
        query.offset = 0;
        query.limit = None;
        // `registered` is no column, so that the page is cut here.
        let users = store::list::<User>(&mut *tx, &query).await?.items;
        let users: Vec<User> = users.into_iter().filter(|user| user.registered).collect();
        Ok(request.cut(users))
    }

    pub async fn update_user(
        &self,
        caller: &Caller,
        id: UserId,
        metadata: MetadataChange,
    ) -> Result<User, ControlError> {
        let mut tx = self.write().await?;
        let mut user = self.readable_user(&mut *tx, caller, id).await?;
        require_admin(caller)?;
        metadata.apply(&mut user.metadata);
        user.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &user).await?;
        tx.commit().await?;
        Ok(user)
    }

    /// Begins to take every role from a user, and answers with the job. The account stays.
    pub async fn delete_user(&self, caller: &Caller, id: UserId) -> Result<Job, ControlError> {
        let mut tx = self.write().await?;
        self.readable_user(&mut *tx, caller, id).await?;
        require_admin(caller)?;
        let job = self.enqueue(&mut *tx, caller, JobInput::DeleteUser { user: id }).await?;
        tx.commit().await?;
        Ok(job)
    }

    pub(crate) async fn perform_delete_user(
        &self,
        _caller: &Caller,
        id: UserId,
    ) -> Result<Vec<String>, ControlError> {
        let mut tx = self.write().await?;
        let of_user = [Condition::In("user_id", vec![Value::Text(id.to_string())])];
        tx.delete_rows(Role::TABLE, &of_user).await?;
        if let Some(mut user) = store::get::<User>(&mut *tx, id).await? {
            user.registered = false;
            user.updated_at = self.ports.clock.now();
            store::update(&mut *tx, &user).await?;
        }
        tx.commit().await?;
        Ok(Vec::new())
    }

    async fn readable_user(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        caller: &Caller,
        id: UserId,
    ) -> Result<User, ControlError> {
        let known = self.known_users(tx, caller).await?;
        let user = store::get::<User>(tx, id).await?;
        let sees = |user: &User| known.is_none_or(|known| known.contains(&user.id.to_string()));
        user.filter(|user| user.registered)
            .filter(sees)
            .ok_or(ControlError::NotFound { noun: "User" })
    }

    /// Ids of the users that the caller sees; none for every one.
    async fn known_users(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        caller: &Caller,
    ) -> Result<Option<BTreeSet<String>>, ControlError> {
        let access = self.access(tx, caller).await?;
        let Some(orgs) = access.visible_orgs() else { return Ok(None) };
        let spaces = self.visible_spaces(tx, &access).await?.unwrap_or_default();
        let query = Query::all().and(Condition::Any(vec![
            Condition::In("org_id", ids(&orgs)),
            Condition::In("space_id", ids(&spaces)),
        ]));
        let roles = store::list::<Role>(tx, &query).await?.items;
        let mut known: BTreeSet<String> =
            roles.into_iter().map(|role| role.user_id.to_string()).collect();
        known.insert(caller.user_id.to_string());
        Ok(Some(known))
    }
}

pub(crate) fn require_admin(caller: &Caller) -> Result<(), ControlError> {
    if caller.admin { Ok(()) } else { Err(ControlError::NotAuthorized) }
}

pub(crate) const USERNAME_BYTES_MAX: usize = 255;

fn check_username(username: &str) -> Result<(), ControlError> {
    let is_fine = !username.trim().is_empty()
        && username.len() <= USERNAME_BYTES_MAX
        && !username.chars().any(char::is_control);
    if is_fine {
        Ok(())
    } else {
        let detail = "a username has 1 to 255 characters, none of them a control character";
        Err(ControlError::unprocessable(detail))
    }
}

fn taken(error: store::StoreError, username: &str) -> ControlError {
    ControlError::taken(error, || format!("Username already in use: {username}"))
}

fn registered(account: &Account) -> ControlError {
    ControlError::NameTaken {
        detail: match account {
            Account::Id(id) => format!("User with guid '{id}' already exists."),
            Account::Named { username, origin } => {
                format!("User with username '{username}' and origin '{origin}' already exists.")
            }
        },
    }
}
