//! Sizes as manifests write them: `64M`, `1G`, `512K`.

use crate::ControlError;

const UNITS: &str = "B, K, KB, M, MB, G, GB, T, or TB";

/// How many bytes a size names.
pub(super) fn bytes(text: &str, what: &str) -> Result<i64, ControlError> {
    let text = text.trim().to_ascii_uppercase();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(ControlError::Unprocessable(format!("{what} is not a number")));
    }
    let shift = match unit.trim() {
        "B" => 0,
        "K" | "KB" => 10,
        "M" | "MB" => 20,
        "G" | "GB" => 30,
        "T" | "TB" => 40,
        _ => {
            let detail = format!("{what} must use a supported unit: {UNITS}");
            return Err(ControlError::Unprocessable(detail));
        }
    };
    let number: Option<i64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| ControlError::Unprocessable(format!("{what} is too large")))
}

/// The shortest text for a number of bytes.
pub(super) fn text(bytes: i64) -> String {
    if bytes <= 0 {
        return bytes.to_string();
    }
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let whole = units.iter().find(|(shift, _)| bytes % (1 << shift) == 0);
    whole.map_or_else(|| format!("{bytes}B"), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_needs_a_unit() {
        assert_eq!(bytes("64M", "Memory").unwrap(), 64 << 20);
        assert_eq!(bytes("1gb", "Memory").unwrap(), 1 << 30);
        assert_eq!(
            bytes("64", "Memory").unwrap_err().to_string(),
            "Memory must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB"
        );
        assert_eq!(bytes("much", "Memory").unwrap_err().to_string(), "Memory is not a number");
        assert!(bytes("99999999999T", "Memory").is_err());
    }

    #[test]
    fn size_is_written_in_the_largest_whole_unit() {
        assert_eq!(text(1 << 20), "1M");
        assert_eq!(text(1536 << 10), "1536K");
        assert_eq!(text(-1), "-1");
        assert_eq!(text(3), "3B");
    }
}
