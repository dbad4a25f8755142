//! Decides which names are names of secrets.

/// Words that make a name secret wherever they occur in it.
const ANYWHERE: [&str; 5] = ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "CREDENTIAL"];

/// Whether a variable with this name is a secret by default: PASSWORD, SECRET or CREDENTIAL occurs in it, or its last
/// word is TOKEN or KEY. A change of case also separates words, and a number at the end is ignored.
///
/// ```
/// use harness_model::secret::is_secret_name;
/// assert!(is_secret_name("PGPASSWORD"));
/// assert!(is_secret_name("API_KEY_2") && is_secret_name("apiKey"));
/// assert!(!is_secret_name("TOKENIZERS_PARALLELISM"));
/// assert!(!is_secret_name("KEYBOARD") && !is_secret_name("KEY_COUNT"));
/// ```
pub fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    if ANYWHERE.iter().any(|word| upper.contains(word)) {
        return true;
    }
    let last = last_word(name);
    // No other word ends with TOKEN, but some end with KEY: MONKEY, HOTKEY.
    ["KEY", "KEYS"].contains(&last.as_str())
        || ["TOKEN", "TOKENS", "APIKEY", "APIKEYS"]
            .iter()
            .any(|word| last.ends_with(word))
}

/// The last word of a name, in capitals.
fn last_word(name: &str) -> String {
    let name = name.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
    let chars: Vec<char> = name.chars().collect();
    let begins = |at: usize| {
        let (before, this) = (chars[at - 1], chars[at]);
        !before.is_ascii_alphanumeric() || before.is_ascii_lowercase() && this.is_ascii_uppercase()
    };
    let start = (1..chars.len()).rev().find(|at| begins(*at)).unwrap_or(0);
    chars[start..].iter().collect::<String>().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known() {
        for name in [
            "POSTGRES_PASSWORD",
            "PGPASSWORD",
            "dbPassword",
            "PASSWORD_FILE",
            "MYSQL_ROOT_PASSWORD_2",
            "client-secret",
            "SECRETS_DIR",
            "AWS_CREDENTIALS",
            "KEY",
            "A_KEY",
            "api.key",
            "apiKey",
            "APIKEY",
            "SSH_KEYS",
            "SIGNING_KEY_2",
            "TOKEN",
            "GITHUB_TOKEN",
            "authtoken",
            "refreshToken",
            "BOT_TOKENS",
            "TOKEN1",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn names_that_only_look_like_them_are_not() {
        for name in [
            "",
            "_",
            "42",
            "LOG_LEVEL",
            "KEYBOARD",
            "MONKEY",
            "HOTKEY",
            "KEY_COUNT",
            "KEYCLOAK_URL",
            "TOKENIZERS_PARALLELISM",
            "TOKEN_LIFETIME",
            "MAX_TOKENS_PER_MINUTE",
            "AWS_ACCESS_KEY_ID",
            "keyName",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
