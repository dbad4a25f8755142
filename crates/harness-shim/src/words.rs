//! What is said of a program that cannot be started, the same wherever it should have run.

/// Why the system refuses a file that is executable (ENOEXEC).
pub const NO_PROGRAM: &str = "it is neither a program for this machine nor a script that begins with `#!`";

/// That the user, or one of a `user:group`, does not exist.
pub fn unknown_user(user: &str) -> String {
    match user.contains(':') {
        true => format!("there is no such user or group as `{user}` on this machine"),
        false => format!("there is no user `{user}` on this machine"),
    }
}
