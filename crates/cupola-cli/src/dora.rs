//! `cupola dora NAME`: the five figures of DORA, with how each comes about.

use clap::Args;
use cupola_wire::dora::{Dora, DoraFigure};

use crate::{Common, client::encode, output, since::Since, target::Target};

#[derive(Args)]
pub struct Arguments {
    name: String,
    /// Of the time since then: a time such as 2030-01-31T23:59:59Z, or 90m, 24h, 7d ago.
    /// What is older than the platform keeps events (31 days by default) is told as unknown
    /// [default: 30d]
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let app = target.app_guid(&arguments.name).await?;
    let mut path = format!("/cupola/v1/apps/{app}/dora");
    if let Some(since) = &arguments.since {
        path.push_str(&format!("?since={}", encode(&since.time()?)));
    }
    let dora: Dora = target.client.get(&path).await?;
    if arguments.common.json {
        return output::print_json(&dora);
    }
    output::print(&format!("{} from {} to {}", dora.app, dora.since, dora.until))?;
    dora.figures.iter().try_for_each(|figure| output::print(&lines(figure)))
}

fn lines(figure: &DoraFigure) -> String {
    let value = value(figure);
    let mut lines = format!("\n{}: {value}, of {} deployments", figure.name, figure.sample);
    lines.push_str(&format!("\n  how: {}", figure.derivation));
    for unknown in &figure.unknown {
        lines.push_str(&format!("\n  unknown: {unknown}"));
    }
    lines
}

fn value(figure: &DoraFigure) -> String {
    match (figure.value, figure.unit.as_deref()) {
        (Some(seconds), Some("seconds")) => time(seconds),
        (Some(share), Some("share")) => format!("{:.0} %", share * 100.0),
        (Some(number), Some("per_day")) if number < 1.0 => {
            format!("{:.1} a week", number * 7.0)
        }
        (Some(number), Some("per_day")) => format!("{number:.1} a day"),
        (Some(number), _) => number.to_string(),
        (None, _) => "unknown".to_owned(),
    }
}

/// In the unit that says it with a small number.
fn time(seconds: f64) -> String {
    let units = [("d", 86_400.0), ("h", 3600.0), ("min", 60.0)];
    match units.iter().find(|(_, size)| seconds >= 2.0 * size) {
        Some((unit, size)) => format!("{:.1} {unit}", seconds / size),
        None => format!("{seconds:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figure_without_a_value_is_unknown_and_says_why() {
        let figure = DoraFigure {
            name: "change lead time".to_owned(),
            value: None,
            unit: None,
            derivation: "median".to_owned(),
            sample: 0,
            unknown: vec!["2 of 2 deployments have no commit with a time".to_owned()],
        };

        assert_eq!(
            lines(&figure),
            "\nchange lead time: unknown, of 0 deployments\n  how: median\n  \
             unknown: 2 of 2 deployments have no commit with a time"
        );
    }

    #[test]
    fn times_are_said_in_the_unit_that_fits() {
        let said: Vec<String> = [59.0, 119.0, 150.0, 7200.0, 200_000.0].map(time).into();

        assert_eq!(said, ["59 s", "119 s", "2.5 min", "2.0 h", "2.3 d"]);
    }
}
