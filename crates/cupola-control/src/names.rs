//! What every name of a resource must be.

use crate::ControlError;

const NAME_CHARS_MAX: usize = 255;

/// Refuses names that are empty, too long or cannot be written on one line.
pub(crate) fn check_name(name: &str) -> Result<(), ControlError> {
    let chars = name.chars().count();
    if name.trim().is_empty() {
        return Err(ControlError::unprocessable("Name can't be blank"));
    }
    if chars > NAME_CHARS_MAX {
        let detail = format!("Name is too long (maximum is {NAME_CHARS_MAX} characters)");
        return Err(ControlError::Unprocessable(detail));
    }
    if name.chars().any(char::is_control) {
        return Err(ControlError::unprocessable("Name must not contain control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_of_one_to_255_characters() {
        assert!(check_name("räume & more").is_ok());
        assert!(check_name(&"ä".repeat(255)).is_ok());
        assert!(check_name(&"ä".repeat(256)).is_err());
        assert!(check_name("  ").is_err());
        assert!(check_name("two\nlines").is_err());
    }
}
