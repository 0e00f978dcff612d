//! The platform's feature flags.

use cupola_domain::feature_flags::{FEATURE_FLAGS, FeatureFlag};
use cupola_ports::store::{self, Query, ReadTx};

use crate::{Control, ControlError, caller::Caller};

/// A flag as it holds now, set or by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    pub name: &'static str,
    pub enabled: bool,
    /// None while nobody has set it.
    pub set: Option<FeatureFlag>,
}

impl Control {
    /// Every flag, by name.
    pub async fn feature_flags(&self) -> Result<Vec<Flag>, ControlError> {
        let mut tx = self.read().await?;
        let set = store::list::<FeatureFlag>(&mut *tx, &Query::all()).await?.items;
        let with_set = |(name, default): &(&'static str, bool)| {
            flag(name, *default, set.iter().find(|flag| flag.name == *name).cloned())
        };
        let mut flags: Vec<Flag> = FEATURE_FLAGS.iter().map(with_set).collect();
        flags.sort_unstable_by_key(|flag| flag.name);
        Ok(flags)
    }

    pub async fn feature_flag(&self, name: &str) -> Result<Flag, ControlError> {
        let (name, default) = known(name)?;
        let mut tx = self.read().await?;
        let set = store::get::<FeatureFlag>(&mut *tx, name).await?;
        Ok(flag(name, default, set))
    }

    /// Sets a flag. For administrators. A message that is not given stays as it is.
    pub async fn set_feature_flag(
        &self,
        caller: &Caller,
        name: &str,
        enabled: Option<bool>,
        custom_error_message: Option<String>,
    ) -> Result<Flag, ControlError> {
        let (name, default) = known(name)?;
        if !caller.admin {
            return Err(ControlError::NotAuthorized);
        }
        let mut tx = self.write().await?;
        let old = store::get::<FeatureFlag>(&mut *tx, name).await?;
        let old_message = old.as_ref().and_then(|old| old.custom_error_message.clone());
        let new = FeatureFlag {
            name: name.to_owned(),
            enabled: enabled.unwrap_or(old.as_ref().map_or(default, |old| old.enabled)),
            custom_error_message: custom_error_message.or(old_message),
            updated_at: self.ports.clock.now(),
        };
        match old {
            Some(_) => store::update(&mut *tx, &new).await?,
            None => store::insert(&mut *tx, &new).await?,
        }
        tx.commit().await?;
        Ok(flag(name, default, Some(new)))
    }

    /// Refuses callers who are not administrators while the flag is off.
    pub(crate) async fn require_flag_or_admin(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        caller: &Caller,
        flag: &'static str,
    ) -> Result<(), ControlError> {
        if caller.admin { Ok(()) } else { self.require_flag(tx, flag).await }
    }

    /// Refuses everybody, administrators too, while the flag is not set.
    pub(crate) async fn require_flag(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        flag: &'static str,
    ) -> Result<(), ControlError> {
        if self.is_flag_set(tx, flag).await? {
            return Ok(());
        }
        let set = store::get::<FeatureFlag>(tx, flag).await?;
        let message = set.and_then(|set| set.custom_error_message);
        Err(ControlError::FeatureDisabled { flag, message })
    }

    pub(crate) async fn is_flag_set(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        flag: &'static str,
    ) -> Result<bool, ControlError> {
        let (_, default) = known(flag)?;
        let set = store::get::<FeatureFlag>(tx, flag).await?;
        Ok(set.map_or(default, |set| set.enabled))
    }
}

fn known(name: &str) -> Result<(&'static str, bool), ControlError> {
    let found = FEATURE_FLAGS.iter().find(|(known, _)| *known == name);
    found.copied().ok_or(ControlError::NotFound { noun: "Feature flag" })
}

fn flag(name: &'static str, default: bool, set: Option<FeatureFlag>) -> Flag {
    Flag { name, enabled: set.as_ref().map_or(default, |set| set.enabled), set }
}
