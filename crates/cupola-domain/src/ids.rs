//! Typed ids, one per noun, so that a space can never be passed where an app is meant.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new random id.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// The id with the value of `uuid`, for ids that follow from another noun's.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bare value, for ids that follow from this one.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }
    )*};
}

typed_ids! {
    OrgId SpaceId UserId RoleId
    AppId ProcessId PackageId BuildId DropletId BuildpackId
    DomainId RouteId DestinationId
    JobId EventId
    DeploymentId RevisionId TaskId SidecarId
    ServiceInstanceId ServiceBindingId
    /// One run of one process index. A restarted instance gets a new id.
    InstanceId
    /// Changes whenever the running instances of an app must be replaced.
    GenerationId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_survives_text_and_json() {
        let id = AppId::random();

        assert_eq!(id.to_string().parse::<AppId>().unwrap(), id);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
    }
}
