//! Label selectors: `env in (prod,test),tier=1,!legacy`.

use cupola_control::ControlError;
use cupola_ports::store::{Condition, WantedLabel};

const REQUIREMENTS_MAX: usize = 50;

/// The conditions that a selector stands for, all of which must hold.
pub(super) fn conditions(selector: &str) -> Result<Vec<Condition>, ControlError> {
    if selector.trim().is_empty() {
        return Err(ControlError::BadQuery("Missing label_selector value".to_owned()));
    }
    let requirements = split(selector);
    if requirements.len() > REQUIREMENTS_MAX {
        let detail =
            format!("Too many label_selector requirements (maximum is {REQUIREMENTS_MAX})");
        return Err(ControlError::BadQuery(detail));
    }
    let conditions: Option<Vec<_>> = requirements.into_iter().map(condition).collect();
    conditions.ok_or_else(|| ControlError::BadQuery("Invalid label_selector value".to_owned()))
}

/// Whether something without any label is selected.
pub(crate) fn select_unlabelled(conditions: &[Condition]) -> bool {
    conditions.iter().all(|condition| {
        matches!(condition, Condition::Label(_, WantedLabel::Absent | WantedLabel::NoneOf(_)))
    })
}

/// The requirements: commas in parentheses are between values.
fn split(selector: &str) -> Vec<&str> {
    let mut in_values = false;
    let between = |character| {
        match character {
            '(' => in_values = true,
            ')' => in_values = false,
            _ => {}
        }
        character == ',' && !in_values
    };
    selector.split(between).collect()
}

fn condition(requirement: &str) -> Option<Condition> {
    let requirement = requirement.trim();
    let (name, wanted) = if let Some(name) = requirement.strip_prefix('!') {
        (name, WantedLabel::Absent)
    } else if let Some((name, value)) = requirement.split_once("!=") {
        (name, WantedLabel::NoneOf(vec![word(value)?]))
    } else if let Some((name, value)) = requirement.split_once('=') {
        (name, WantedLabel::OneOf(vec![word(value.strip_prefix('=').unwrap_or(value))?]))
    } else if let Some(set) = requirement.strip_suffix(')') {
        let (head, values) = set.split_once('(')?;
        let (name, operator) = head.trim().split_once(char::is_whitespace)?;
        let values = values.split(',').map(word).collect::<Option<Vec<_>>>()?;
        match operator.trim() {
            "in" => (name, WantedLabel::OneOf(values)),
            "notin" => (name, WantedLabel::NoneOf(values)),
            _ => return None,
        }
    } else {
        (requirement, WantedLabel::Present)
    };
    Some(Condition::Label(word(name)?, wanted))
}

/// A name or a value, if the text is one.
fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let is_of_words = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    (!text.is_empty() && text.chars().all(is_of_words)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{
        WantedLabel::{Absent, NoneOf, OneOf, Present},
        *,
    };

    fn values(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    fn label(name: &str, wanted: WantedLabel) -> Condition {
        Condition::Label(name.to_owned(), wanted)
    }

    #[test]
    fn every_kind_of_requirement_is_read() {
        let selector = "a=1, b == 2,c!=3,d in (4, 5),e notin(6),acme.example/f , !g";

        let read = conditions(selector).unwrap();

        let wanted = [
            label("a", OneOf(values(&["1"]))),
            label("b", OneOf(values(&["2"]))),
            label("c", NoneOf(values(&["3"]))),
            label("d", OneOf(values(&["4", "5"]))),
            label("e", NoneOf(values(&["6"]))),
            label("acme.example/f", Present),
            label("g", Absent),
        ];
        assert_eq!(read, wanted);
    }

    #[test]
    fn what_selects_nothing_sensible_is_refused() {
        let bad = [
            "",
            " ",
            "!",
            "a=",
            "=1",
            "a=1,",
            ",",
            "a b",
            "a in",
            "a in ()",
            "a in (1",
            "a in 1)",
            "a within (1)",
            "a in (1,)",
            "a=1=2",
            "a!",
            "a='1'",
            "a>1",
            "a in (1)(2)",
        ];
        for selector in bad {
            assert!(conditions(selector).is_err(), "{selector}");
        }
        assert!(conditions(&vec!["a"; 51].join(",")).is_err());
    }
}
