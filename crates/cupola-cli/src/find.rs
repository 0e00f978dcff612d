//! From names to what they name.

use anyhow::{Context, bail};
use serde_json::Value;

use crate::{client::encode, target::Target};

impl Target {
    pub(crate) async fn space_guid(&self) -> anyhow::Result<String> {
        let (organization, space) = (encode(&self.organization), encode(&self.space));
        let found = self.one(&format!("/v3/organizations?names={organization}")).await?;
        let Some(organization) = found else {
            bail!("there is no organisation `{}` that you can see", self.organization)
        };
        let organization = guid(&organization)?;
        let path = format!("/v3/spaces?names={space}&organization_guids={organization}");
        match self.one(&path).await? {
            Some(space) => guid(&space),
            None => bail!("there is no space `{}` in `{}`", self.space, self.organization),
        }
    }

    /// The app of this name in the space.
    pub(crate) async fn app(&self, name: &str) -> anyhow::Result<Value> {
        let space = self.space_guid().await?;
        let path = format!("/v3/apps?names={}&space_guids={space}", encode(name));
        self.one(&path).await?.with_context(|| {
            format!(
                "there is no app `{name}` in the space `{}`\n\nhint: `cupola apps` lists them",
                self.space
            )
        })
    }

    pub(crate) async fn app_guid(&self, name: &str) -> anyhow::Result<String> {
        guid(&self.app(name).await?)
    }

    /// The only resource of a list, if there is one.
    pub(crate) async fn one(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let mut list: Value = self.client.get(path).await?;
        Ok(list["resources"].get_mut(0).map(Value::take))
    }

    /// Every resource of a list: the largest page holds more than a screen.
    pub(crate) async fn all(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut list: Value = self.client.get(&format!("{path}{separator}per_page=5000")).await?;
        match list["resources"].take() {
            Value::Array(resources) => Ok(resources),
            _ => bail!("the API answered with something that is no list"),
        }
    }
}

pub(crate) fn guid(resource: &Value) -> anyhow::Result<String> {
    text(resource, "guid")
}

pub(crate) fn text(resource: &Value, key: &str) -> anyhow::Result<String> {
    let text = resource[key].as_str().map(str::to_owned);
    text.with_context(|| format!("the API's answer has no `{key}`"))
}
