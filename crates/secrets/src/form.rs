//! What a value that has not its form was probably meant to be. The forms themselves are
//! [`stack::VariableForm`]'s, so that a default and a value are held to the same.

use stack::VariableForm;

/// The nearest value that `form` takes, when one can be guessed.
pub(crate) fn suggestion<'a>(form: &'a VariableForm, value: &str) -> Option<&'a str> {
    match form {
        VariableForm::OneOf(allowed) => stack::suggest(value, allowed.iter().map(String::as_str)),
        VariableForm::Boolean => match value.to_ascii_lowercase().as_str() {
            "1" | "yes" | "y" | "on" | "true" => Some("true"),
            "0" | "no" | "n" | "off" | "false" => Some("false"),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_suggested() {
        let levels = VariableForm::OneOf(["debug", "info", "warn", "error"].map(str::to_owned).to_vec());
        assert_eq!(suggestion(&levels, "wran"), Some("warn"));
        assert_eq!(suggestion(&levels, "INFO"), Some("info"));
        assert_eq!(suggestion(&levels, "verbose"), None);
        assert_eq!(suggestion(&VariableForm::Boolean, "Yes"), Some("true"));
        assert_eq!(suggestion(&VariableForm::Boolean, "0"), Some("false"));
        assert_eq!(suggestion(&VariableForm::Port, "80x"), None);
    }
}
