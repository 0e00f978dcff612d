//! `cupola revisions NAME`: what an app ran, and can be rolled back to.

use clap::Args;

use crate::{Common, commit, find::text, output, target::Target};

#[derive(Args)]
pub struct Arguments {
    name: String,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let app = target.app_guid(&arguments.name).await?;
    let revisions = target.all(&format!("/v3/apps/{app}/revisions?order_by=-created_at")).await?;
    if arguments.common.json {
        return output::print_json(&revisions);
    }
    let deployed = target.all(&format!("/v3/apps/{app}/revisions/deployed")).await?;
    let rows = revisions.iter().map(|revision| {
        let runs = deployed.iter().any(|one| one["guid"] == revision["guid"]);
        Ok(vec![
            revision["version"].to_string(),
            if runs { "yes" } else { "" }.to_owned(),
            text(revision, "created_at")?,
            commit::short(revision),
            text(revision, "description")?,
        ])
    });
    let rows = rows.collect::<anyhow::Result<Vec<_>>>()?;
    output::print_table(&["revision", "runs", "created", "commit", "what is new"], &rows)
}
