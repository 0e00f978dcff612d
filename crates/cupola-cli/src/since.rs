//! A point in the past, as people say it: a time, or how long ago.

use std::{str::FromStr, time::Duration};

use anyhow::{Context, bail};

/// As given to `--since`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    Time(String),
    Ago(Duration),
}

impl FromStr for Since {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit_s = match &text[digits.len()..] {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            _ if text.contains('T') => return Ok(Self::Time(text.to_owned())),
            _ => bail!("expected a time such as 2030-01-31T23:59:59Z, or 90m, 24h, 7d"),
        };
        let count: u64 = digits.parse().context("expected a number before the unit")?;
        Ok(Self::Ago(Duration::from_secs(count.saturating_mul(unit_s))))
    }
}

impl Since {
    /// RFC 3339.
    pub(crate) fn time(&self) -> anyhow::Result<String> {
        match self {
            Self::Time(text) => Ok(text.clone()),
            Self::Ago(ago) => {
                let now = jiff::Timestamp::now();
                let point = now.checked_sub(*ago).context("that is before the calendar begins")?;
                Ok(point.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_is_said_as_a_time_or_as_how_long_ago() {
        let parse = |text: &str| text.parse::<Since>();

        assert_eq!(parse("90m").unwrap(), Since::Ago(Duration::from_secs(5400)));
        assert_eq!(parse("7d").unwrap(), Since::Ago(Duration::from_secs(604_800)));
        let time = "2028-02-29T12:00:00Z";
        assert_eq!(parse(time).unwrap(), Since::Time(time.to_owned()));
        for wrong in ["", "h", "7", "7w", "yesterday", "-7d"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
