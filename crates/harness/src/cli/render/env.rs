//! Variables for shells and files.

use std::collections::BTreeMap;

/// `export NAME='value'`, safe to evaluate with any value.
pub(crate) fn shell(variables: &BTreeMap<String, String>) -> String {
    let quoted = |value: &String| format!("'{}'", value.replace('\'', r"'\''"));
    variables
        .iter()
        .map(|(name, value)| format!("export {name}={}\n", quoted(value)))
        .collect()
}

/// `NAME=value`, quoted where a reader of .env files would need it.
pub(crate) fn dotenv(variables: &BTreeMap<String, String>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:/@%+,".contains(c);
    let quoted = |value: &String| {
        if value.chars().all(plain) {
            value.clone()
        } else {
            let escaped = value
                .replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace('\n', r"\n")
                .replace('$', r"\$");
            format!("\"{escaped}\"")
        }
    };
    variables
        .iter()
        .map(|(name, value)| format!("{name}={}\n", quoted(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_shell() {
        let variables = [("A", "127.0.0.1"), ("B", "it's $HOME")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        assert_eq!(
            shell(&variables),
            "export A='127.0.0.1'\nexport B='it'\\''s $HOME'\n"
        );
        assert_eq!(dotenv(&variables), "A=127.0.0.1\nB=\"it's \\$HOME\"\n");
    }
}
