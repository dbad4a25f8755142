//! Completion scripts: what clap generates, plus the names of services and projects where one is expected.
//!
//! The scripts ask `harness __complete-services`, `__complete-profiles` and `__complete-projects`, which never start a daemon, only when
//! a name may stand there.

use clap::Command;
use clap_complete::{Shell, generate};

use super::args::{Cli, CompletionShell};

/// Verbs that take names of services.
const WITH_SERVICES: [&str; 12] = [
    "start", "stop", "restart", "status", "logs", "wait", "run", "exec", "attach", "why", "events", "show",
];

/// The completion script for a shell.
pub(crate) fn script(shell: CompletionShell) -> String {
    match shell {
        CompletionShell::Bash => bash(),
        CompletionShell::Zsh => zsh(),
        CompletionShell::Fish => fish(),
    }
}

fn generated(shell: Shell) -> String {
    let mut command: Command = Cli::clap_command();
    let mut out = Vec::new();
    generate(shell, &mut command, "harness", &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Calls the function that clap generated first, then adds names of services to what it found.
fn bash() -> String {
    let verbs = WITH_SERVICES.join("|");
    format!(
        r#"{}
_harness_with_services() {{
    _harness "$@"
    local word cur="${{COMP_WORDS[COMP_CWORD]}}"
    [[ "$cur" == -* ]] && return 0
    case "${{COMP_WORDS[COMP_CWORD-1]}}" in
        -p|--project|forget)
            COMPREPLY=($(compgen -W "$(harness __complete-projects 2>/dev/null)" -- "$cur"))
            return 0
            ;;
        --profile)
            COMPREPLY=($(compgen -W "$(harness __complete-profiles 2>/dev/null)" -- "$cur"))
            return 0
            ;;
    esac
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$word" in
            --) return 0 ;;
            {verbs})
                COMPREPLY+=($(compgen -W "$(harness __complete-services 2>/dev/null)" -- "$cur"))
                return 0
                ;;
        esac
    done
}}
complete -F _harness_with_services -o bashdefault -o default harness
"#,
        generated(Shell::Bash)
    )
}

/// In zsh each argument names its completer. For services and projects, ours replaces the default.
fn zsh() -> String {
    let script = generated(Shell::Zsh);
    let mut out = String::with_capacity(script.len());
    for line in script.lines() {
        let begins = |words: &[&str]| words.iter().any(|word| line.starts_with(word));
        if begins(&["'*::services --", "':service --"]) {
            out.push_str(&line.replacen(":_default'", ":_harness_services'", 1));
        } else if begins(&["'*--profile=[", "'--profile=["]) {
            out.push_str(&line.replacen(":_default'", ":_harness_profiles'", 1));
        } else if begins(&["'-p+[", "'--project=[", "':name -- The project"]) {
            out.push_str(&line.replacen(":_default'", ":_harness_projects'", 1));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    let services = r#"
(( $+functions[_harness_services] )) ||
_harness_services() {
    local services
    services=(${(f)"$(harness __complete-services 2>/dev/null)"})
    compadd -a services
}
(( $+functions[_harness_projects] )) ||
_harness_projects() {
    local projects
    projects=(${(f)"$(harness __complete-projects 2>/dev/null)"})
    compadd -a projects
}
(( $+functions[_harness_profiles] )) ||
_harness_profiles() {
    local profiles
    profiles=(${(f)"$(harness __complete-profiles 2>/dev/null)"})
    compadd -a profiles
}
"#;
    // The functions must be defined before the line that runs the script's own function.
    match out.rfind("\nif [ \"$funcstack[1]\"") {
        Some(at) => out.insert_str(at, services),
        None => out.push_str(services),
    }
    out
}

fn fish() -> String {
    let verbs = WITH_SERVICES.join(" ");
    format!(
        "{}complete -c harness -n \"__fish_seen_subcommand_from {verbs}\" -f -a \"(harness __complete-services 2>/dev/null)\"\n\
         complete -c harness -n \"__fish_seen_subcommand_from forget\" -f -a \"(harness __complete-projects 2>/dev/null)\"\n\
         complete -c harness -s p -l project -x -a \"(harness __complete-projects 2>/dev/null)\"\n\
         complete -c harness -l profile -x -a \"(harness __complete-profiles 2>/dev/null)\"\n",
        generated(Shell::Fish)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_asks_for_services_and_projects() {
        for shell in [CompletionShell::Bash, CompletionShell::Zsh, CompletionShell::Fish] {
            let script = script(shell);
            assert!(script.contains("harness __complete-services"), "{shell:?}");
            assert!(script.contains("harness __complete-projects"), "{shell:?}");
            assert!(script.contains("harness __complete-profiles"), "{shell:?}");
            assert!(script.contains("daemon"), "{shell:?}");
        }
    }

    #[test]
    fn zsh_completes_services_where_they_stand() {
        let script = script(CompletionShell::Zsh);
        // start, stop, restart, status, logs, wait, run, events; exec, attach, why, service show.
        assert_eq!(script.matches(":_harness_services'").count(), 12, "{script}");
        // -p and --project of every verb, and the name for `project forget`.
        let projects = script.matches(":_harness_projects'").count();
        assert!(projects > 20 && projects % 2 == 1, "{projects}\n{script}");
        // validate, config, start, restart, run.
        assert_eq!(script.matches(":_harness_profiles'").count(), 5, "{script}");
        let (function, call) = (
            script.find("_harness_services() {"),
            script.rfind("if [ \"$funcstack[1]\""),
        );
        assert!(function < call && function.is_some());
    }

    #[test]
    fn the_verbs_with_services_exist() {
        let command = Cli::clap_command();
        for verb in WITH_SERVICES.iter().filter(|verb| **verb != "show") {
            assert!(command.find_subcommand(verb).is_some(), "{verb}");
        }
    }
}
