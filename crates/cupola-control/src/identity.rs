//! Who logs in, and the tokens that say so afterwards.
//!
//! Access tokens are JSON Web Tokens signed with ES256, so that others can verify them with the
//! published key. They are checked against the user's row at each request: a user who is gone or
//! got a new password is refused at once, and not when the token expires.

mod passwords;
mod tokens;

use cupola_domain::{ids::UserId, users::User};
use cupola_ports::store::{self, Query, ReadTx, WriteTx};

pub(crate) use passwords::Passwords;
use passwords::Verdict;
pub use tokens::{BadKey, GrantedTokens, PublicKey, TokenKeys, scopes};

use crate::{Control, ControlError, caller::Caller, users::USERNAME_BYTES_MAX};

/// Where users of the built-in list are known.
pub const BUILT_IN_ORIGIN: &str = "uaa";

/// A password may have this many bytes; more would only cost time to hash.
const PASSWORD_BYTES_MAX: usize = 255;

/// Why nobody was logged in, or a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Wrong name or wrong password; which of them is not told.
    #[error("Bad credentials")]
    BadCredentials,
    /// The `cf` CLI compares this sentence.
    #[error("Your account has been locked because of too many failed attempts to login.")]
    Locked,
    #[error("the refresh token is expired, revoked or not one of this platform; log in again")]
    BadRefreshToken,
    #[error("Old password is incorrect")]
    WrongOldPassword,
    #[error("{0}")]
    BadPassword(String),
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl From<store::StoreError> for LoginError {
    fn from(error: store::StoreError) -> Self {
        Self::Control(error.into())
    }
}

impl Control {
    /// Checks a password and issues tokens. An unknown name takes as long as a wrong password.
    pub async fn log_in(
        &self,
        username: &str,
        password: &str,
        origin: Option<&str>,
    ) -> Result<GrantedTokens, LoginError> {
        // Nobody has such a name, and remembering it would let strangers fill the memory.
        if username.len() > USERNAME_BYTES_MAX {
            return Err(LoginError::BadCredentials);
        }
        let mut tx = self.read().await?;
        let user = user_named(&mut *tx, username, origin.unwrap_or(BUILT_IN_ORIGIN)).await?;
        drop(tx);
        let hash = user.as_ref().and_then(|user| user.password_hash.clone());
        match (self.guess(username, password, hash).await?, user) {
            (Verdict::Right, Some(user)) => Ok(self.grant(&user)),
            (Verdict::Locked, _) => Err(LoginError::Locked),
            (Verdict::Wrong | Verdict::Right, _) => {
                // Quoted, because a stranger chose it: a line break in it would forge a line.
                tracing::info!(user.name = ?username, "log-in failed for {username:?}");
                Err(LoginError::BadCredentials)
            }
        }
    }

    /// Looks whether a password is the right one for a name, if the name has a guess left.
    async fn guess(
        &self,
        username: &str,
        password: &str,
        hash: Option<String>,
    ) -> Result<Verdict, ControlError> {
        let now = self.ports.clock.monotonic();
        self.passwords.guess(&username.to_lowercase(), now, password, hash).await
    }

    /// Issues new tokens for a refresh token that is still good.
    pub async fn refresh(&self, refresh_token: &str) -> Result<GrantedTokens, LoginError> {
        let now = self.ports.clock.now();
        let grant =
            self.tokens.read_refresh(refresh_token, now).ok_or(LoginError::BadRefreshToken)?;
        let mut tx = self.read().await?;
        let user = store::get::<User>(&mut *tx, grant.user_id).await?;
        let user = user.filter(|user| grant.issued_at >= user.tokens_valid_from);
        Ok(self.grant(&user.ok_or(LoginError::BadRefreshToken)?))
    }

    /// The caller that an access token tells, if it is still good.
    pub async fn authenticate(&self, token: &str) -> Result<Caller, ControlError> {
        let now = self.ports.clock.now();
        let grant = self.tokens.read_access(token, now).ok_or(ControlError::InvalidToken)?;
        let mut tx = self.read().await?;
        let user = store::get::<User>(&mut *tx, grant.user_id).await?;
        let user = user.filter(|user| grant.issued_at >= user.tokens_valid_from);
        let user = user.ok_or(ControlError::InvalidToken)?;
        Ok(Caller { user_id: user.id, username: user.username, admin: user.admin })
    }

    /// Makes every token of a user worthless. Users may do it for themselves.
    pub async fn revoke_tokens(&self, caller: &Caller, of: UserId) -> Result<(), ControlError> {
        if caller.user_id != of && !caller.admin {
            return Err(ControlError::NotAuthorized);
        }
        let mut tx = self.write().await?;
        let user = store::get::<User>(&mut *tx, of).await?;
        let mut user = user.ok_or(ControlError::NotFound { noun: "User" })?;
        self.end_sessions(&mut user);
        store::update(&mut *tx, &user).await?;
        Ok(tx.commit().await?)
    }

    /// Sets a password. Users give their old one; administrators need none for others.
    pub async fn change_password(
        &self,
        caller: &Caller,
        of: UserId,
        old: Option<&str>,
        new: &str,
    ) -> Result<(), LoginError> {
        let mut tx = self.read().await?;
        let found = store::get::<User>(&mut *tx, of).await?;
        drop(tx);
        let is_own = caller.user_id == of;
        if !is_own && !caller.admin {
            return Err(ControlError::NotAuthorized.into());
        }
        let user = found.ok_or(ControlError::NotFound { noun: "User" })?;
        if is_own || old.is_some() {
            self.check_old_password(&user, old.unwrap_or_default(), new).await?;
        }
        let hash = self.hash_password(new).await?;
        let mut tx = self.write().await?;
        self.set_password_hash(&mut *tx, of, hash).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Hashes a password that a client or the operator chose.
    pub(crate) async fn hash_password(&self, password: &str) -> Result<String, LoginError> {
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
            let detail = format!("a password has 1 to {PASSWORD_BYTES_MAX} bytes");
            return Err(LoginError::BadPassword(detail));
        }
        Ok(self.passwords.hash(password).await?)
    }

    pub(crate) async fn set_password_hash(
        &self,
        tx: &mut (impl WriteTx + ?Sized),
        of: UserId,
        hash: String,
    ) -> Result<(), ControlError> {
        let user = store::get::<User>(tx, of).await?;
        let mut user = user.ok_or(ControlError::NotFound { noun: "User" })?;
        user.password_hash = Some(hash);
        self.end_sessions(&mut user);
        Ok(store::update(tx, &user).await?)
    }

    async fn check_old_password(
        &self,
        user: &User,
        old: &str,
        new: &str,
    ) -> Result<(), LoginError> {
        // The same lock as for log-ins, or a stolen token could try passwords without end.
        match self.guess(&user.username, old, user.password_hash.clone()).await? {
            Verdict::Right => {}
            Verdict::Wrong => return Err(LoginError::WrongOldPassword),
            Verdict::Locked => return Err(LoginError::Locked),
        }
        if old == new {
            let detail = "Your new password cannot be the same as the old password.";
            return Err(LoginError::BadPassword(detail.to_owned()));
        }
        Ok(())
    }

    fn end_sessions(&self, user: &mut User) {
        let now = self.ports.clock.now();
        // The clock may have been set back since tokens were issued as of `tokens_valid_from`.
        let after_all = user.tokens_valid_from + std::time::Duration::from_micros(1);
        user.tokens_valid_from = now.max(after_all);
        user.updated_at = now;
    }

    fn grant(&self, user: &User) -> GrantedTokens {
        let now = self.ports.clock.now();
        self.tokens.grant(user, now, self.settings.access_token_lifetime, self.issuer())
    }

    /// What tokens name as their issuer.
    pub fn issuer(&self) -> String {
        format!("{}/oauth/token", self.settings.external_url)
    }

    /// The key that others verify tokens with.
    pub fn public_key(&self) -> &PublicKey {
        self.tokens.public_key()
    }
}

/// The user with this name, without regard to case.
pub(crate) async fn user_named(
    tx: &mut (impl ReadTx + ?Sized),
    username: &str,
    origin: &str,
) -> Result<Option<User>, ControlError> {
    let query = Query::by("username_lower", username.to_lowercase()).and_by("origin", origin);
    Ok(store::first::<User>(tx, &query).await?)
}
