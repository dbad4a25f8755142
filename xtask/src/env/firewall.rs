//! The engine's rules in the kernel's packet filter: whether the engine can have any, and removing them when it has
//! ended, which it does not do itself.

use crate::program::{Program, in_path};

/// Which `iptables` works here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Firewall {
    /// The machine's default one.
    Default,
    /// Only the one for old kernels.
    Legacy,
    /// None. Containers and the host can reach each other only by address, because the engine's name server is
    /// reached through rules.
    None,
}

impl Firewall {
    /// Tries what the engine needs: a chain of its own, and matching by the type of an address.
    pub(crate) fn probe() -> Self {
        let found = [Self::Default, Self::Legacy]
            .into_iter()
            .find(|firewall| firewall.works());
        found.unwrap_or(Self::None)
    }

    /// The name of its program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Default | Self::None => "iptables",
            Self::Legacy => "iptables-legacy",
        }
    }

    fn works(self) -> bool {
        let chain = format!("HARNESS-PROBE-{}", std::process::id());
        let nat = |args: &[&str]| {
            let base = Program::new(self.program()).args(["--wait", "10", "--table", "nat"]);
            base.args(args).succeeds()
        };
        if !in_path(self.program()) || !nat(&["--new-chain", &chain]) {
            return false;
        }
        let local = [
            "--append",
            &chain,
            "-m",
            "addrtype",
            "--dst-type",
            "LOCAL",
            "-j",
            "RETURN",
        ];
        let matches = nat(&local)
            && nat(&[
                "--append",
                &chain,
                "-m",
                "conntrack",
                "--ctstate",
                "NEW",
                "-j",
                "RETURN",
            ]);
        nat(&["--flush", &chain]) && nat(&["--delete-chain", &chain]) && matches
    }

    /// The policy of the chain `FORWARD`, which the engine sets to DROP.
    pub(crate) fn forward_policy(self) -> Option<String> {
        let listing = Program::new(self.program())
            .args(["--wait", "10", "--list-rules", "FORWARD"])
            .output()
            .ok()?;
        let words: Vec<&str> = listing.lines().next()?.split_whitespace().collect();
        match words[..] {
            ["-P", "FORWARD", policy] => Some(policy.to_owned()),
            _ => None,
        }
    }

    /// Removes what an engine left, and sets the policy of `FORWARD`.
    pub(crate) fn clean(self, forward_policy: Option<&str>) {
        if self == Self::None {
            return;
        }
        // Newer engines have rules for IPv6 too.
        for program in [self.program().to_owned(), self.program().replace("ip", "ip6")] {
            let Ok(rules) = Program::new(format!("{program}-save")).output() else {
                continue;
            };
            for command in undo(&rules) {
                // If somebody else has removed it meanwhile, that is fine.
                let _ = Program::new(&program)
                    .args(["--wait", "10"])
                    .args(command)
                    .succeeds();
            }
        }
        if let Some(policy) = forward_policy {
            let _ = Program::new(self.program())
                .args(["--wait", "10", "--policy", "FORWARD", policy])
                .succeeds();
        }
    }
}

/// The arguments of `iptables` that remove an engine's chains, and the rules that mention them or the engine's
/// bridges.
fn undo(saved: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut table = "";
    let mut chains = Vec::new();
    for line in saved.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [first, ..] if first.starts_with('*') => table = first.trim_start_matches('*'),
            [first, ..] if is_chain(first.trim_start_matches(':')) && first.starts_with(':') => {
                chains.push((table, first.trim_start_matches(':')));
            }
            // A rule with a quoted comment is not split as a shell would do it. No rule of an engine has a comment.
            ["-A", chain, ref rule @ ..] if !line.contains('"') && is_engines(chain, rule) => {
                let rule = rule.iter().copied();
                let command = ["-t", table, "-D", chain].into_iter().chain(rule);
                commands.push(command.map(str::to_owned).collect());
            }
            _ => {}
        }
    }
    // The chains refer to each other, so empty all of them first.
    for action in ["-F", "-X"] {
        let of_chain =
            |(table, chain): &(&str, &str)| ["-t", table, action, chain].map(str::to_owned).to_vec();
        commands.extend(chains.iter().map(of_chain));
    }
    commands
}

/// Whether a rule in a chain that stays belongs to the engine.
fn is_engines(chain: &str, rule: &[&str]) -> bool {
    !is_chain(chain) && rule.iter().any(|word| is_chain(word) || is_bridge(word))
}

fn is_chain(word: &str) -> bool {
    word == "DOCKER" || word.starts_with("DOCKER-")
}

/// `docker0`, or `br-` with the first twelve digits of a network's id.
fn is_bridge(word: &str) -> bool {
    let id = word.strip_prefix("br-");
    word == "docker0"
        || id.is_some_and(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n:DOCKER-USER - [0:0]\n\
        :MINE - [0:0]\n\
        -A INPUT -i eth0 -j ACCEPT\n\
        -A INPUT -m comment --comment \"about docker0 and DOCKER\" -j ACCEPT\n\
        -A FORWARD -j DOCKER-USER\n\
        -A FORWARD -i docker0 ! -o docker0 -j ACCEPT\n\
        -A FORWARD -i br-0123456789ab -j ACCEPT\n\
        -A FORWARD -i br-lan -j ACCEPT\n\
        -A DOCKER-USER -j RETURN\n\
        -A MINE -j RETURN\nCOMMIT\n\
        *nat\n:POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n\
        -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n\
        -A POSTROUTING -s 10.1.0.0/16 -j MASQUERADE\n\
        -A DOCKER -i docker0 -j RETURN\nCOMMIT\n";

    #[test]
    fn only_the_engines_rules_and_chains_go_and_rules_before_chains() {
        let commands: Vec<String> = undo(SAVED).iter().map(|words| words.join(" ")).collect();
        let expected = [
            "-t filter -D FORWARD -j DOCKER-USER",
            "-t filter -D FORWARD -i docker0 ! -o docker0 -j ACCEPT",
            "-t filter -D FORWARD -i br-0123456789ab -j ACCEPT",
            "-t nat -D POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
            "-t filter -F DOCKER",
            "-t filter -F DOCKER-USER",
            "-t nat -F DOCKER",
            "-t filter -X DOCKER",
            "-t filter -X DOCKER-USER",
            "-t nat -X DOCKER",
        ];
        assert_eq!(commands, expected);
    }

    #[test]
    fn an_untouched_filter_is_left_alone() {
        assert!(undo("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -i eth0 -j ACCEPT\nCOMMIT\n").is_empty());
    }
}
