//! The table of budgets, and the page it is written to.

use std::fmt::Write as _;

/// One measured budget.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) budget: String,
    pub(super) measured: String,
    pub(super) n: usize,
    pub(super) verdict: Verdict,
    /// How it was measured, and what else there is to know.
    pub(super) method: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Met,
    /// By how much not.
    Missed(String),
    /// There is no budget.
    Information,
}

impl Verdict {
    /// Of two numbers of which the smaller is the better.
    pub(super) fn at_most(measured: f64, budget: f64, unit: &str) -> Self {
        if measured <= budget {
            return Self::Met;
        }
        Self::Missed(format!("by {:.1} {unit}", measured - budget))
    }

    pub(super) fn at_least(measured: f64, budget: f64, unit: &str) -> Self {
        if measured >= budget {
            return Self::Met;
        }
        Self::Missed(format!("by {:.0} {unit}", budget - measured))
    }

    fn text(&self) -> String {
        match self {
            Self::Met => "met".to_owned(),
            Self::Missed(by) => format!("**missed** {by}"),
            Self::Information => "-".to_owned(),
        }
    }
}

/// Where and when it was measured.
pub(super) struct Setting {
    pub(super) date: String,
    pub(super) machine: Vec<String>,
    /// Processes that wanted to run when it began, as the kernel averages them.
    pub(super) busy_cores: f64,
    pub(super) minutes: f64,
}

pub(super) fn page(setting: &Setting, rows: &[Row]) -> String {
    let mut page = String::from(
        "# Benchmarks\n\n\
         Written by `make bench`; not by hand. Budgets are the design's. Figures are medians; in\n\
         brackets the smallest and the largest value. Ratios to a peer are from the same run.\n\n",
    );
    let _ = writeln!(page, "- Date: {}, {:.0} minutes", setting.date, setting.minutes);
    for line in &setting.machine {
        let _ = writeln!(page, "- {line}");
    }
    let _ = writeln!(page, "- {}\n", told_load(setting.busy_cores));
    page += "| what | budget | measured | n | verdict |\n|---|---|---|---|---|\n";
    for row in rows {
        let Row { what, budget, measured, n, verdict, .. } = row;
        let _ = writeln!(page, "| {what} | {budget} | {measured} | {n} | {} |", verdict.text());
    }
    page += "\n## Method\n\n";
    for row in rows.iter().filter(|row| !row.method.is_empty()) {
        let _ = writeln!(page, "**{}.** {}\n", capitalised(row.what), row.method);
    }
    page += "Not here: the time of a clean build with all tests, which `make test` prints by part; HTTP/2 and TLS at \
             the router, which are not built.\n";
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// What `make soak` writes below everything else.
const SOAK: &str = "\n## Soak\n";

/// The section of `make soak`, which a run of `make bench` leaves alone.
pub(crate) fn soak_of(page: &str) -> &str {
    page.find(SOAK).map_or("", |at| &page[at..])
}

/// The page with this section in the place of the one that it had.
pub(crate) fn with_soak(page: &str, section: &str) -> String {
    let rest = page.strip_suffix(soak_of(page)).unwrap_or(page);
    format!("{rest}{section}")
}

/// The section with these lines.
pub(crate) fn soak_section(text: &str) -> String {
    format!("{SOAK}\n{}\n", text.trim_end())
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn told_load(busy_cores: f64) -> String {
    if busy_cores < 0.2 {
        return "Nothing else ran when it began".to_owned();
    }
    format!(
        "When it began, **other programs kept {busy_cores:.1} cores busy**, so that times are worse and \
         scatter more than they would alone"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_a_row_and_a_method_per_budget() {
        let setting = Setting {
            date: "2026-01-01".to_owned(),
            machine: vec![],
            busy_cores: 0.0,
            minutes: 1.0,
        };
        let row = Row {
            what: "idle platform",
            budget: "60 MiB".to_owned(),
            measured: "61.0 MiB".to_owned(),
            n: 1,
            verdict: Verdict::at_most(61.0, 60.0, "MiB"),
            method: "Read.".to_owned(),
        };

        let page = page(&setting, &[row]);

        assert!(page.contains("| idle platform | 60 MiB | 61.0 MiB | 1 | **missed** by 1.0 MiB |"));
        assert!(page.contains("\n**Idle platform.** Read.\n"));
    }

    #[test]
    fn section_of_the_soak_is_kept_and_replaced() {
        let page = "# Benchmarks\n\nNot here.\n";

        let first = with_soak(page, &soak_section("1 deployment"));
        let second = with_soak(&first, &soak_section("2 deployments"));

        assert_eq!(second, "# Benchmarks\n\nNot here.\n\n## Soak\n\n2 deployments\n");
        assert_eq!(with_soak(page, soak_of(&second)), second);
        assert_eq!(soak_of(page), "");
    }
}
