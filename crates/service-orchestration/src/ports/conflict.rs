//! Whether two bound addresses exclude each other on the same port.

use std::net::IpAddr;

/// Whether a bound address prevents the binding of a wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflict {
    /// Both can be bound.
    No,
    /// Only one can be bound.
    Yes,
    /// `::` takes IPv4 too, unless its owner set IPV6_V6ONLY, which the tables do not show.
    UnlessV6Only,
}

/// Whether `bound` prevents the binding of `wanted`. IPv4 addresses mapped into IPv6 count as IPv4.
pub(super) fn between(wanted: IpAddr, bound: IpAddr) -> Conflict {
    let (wanted, bound) = (wanted.to_canonical(), bound.to_canonical());
    let conflict = |yes| if yes { Conflict::Yes } else { Conflict::No };
    match (wanted, bound) {
        (IpAddr::V4(_), IpAddr::V6(bound)) if bound.is_unspecified() => Conflict::UnlessV6Only,
        (IpAddr::V4(_), IpAddr::V6(_)) => Conflict::No,
        // A program that wants `::` has not set v6 only.
        (IpAddr::V6(wanted), IpAddr::V4(_)) => conflict(wanted.is_unspecified()),
        (wanted, bound) => conflict(wanted == bound || wanted.is_unspecified() || bound.is_unspecified()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_and_mapped_addresses() {
        let cases = [
            ("127.0.0.1", "127.0.0.1", Conflict::Yes),
            ("127.0.0.1", "127.0.0.2", Conflict::No),
            ("127.0.0.1", "0.0.0.0", Conflict::Yes),
            ("0.0.0.0", "127.0.0.2", Conflict::Yes),
            ("0.0.0.0", "::", Conflict::UnlessV6Only),
            ("127.0.0.1", "::", Conflict::UnlessV6Only),
            ("127.0.0.1", "::1", Conflict::No),
            ("0.0.0.0", "::1", Conflict::No),
            ("::1", "127.0.0.1", Conflict::No),
            ("::1", "0.0.0.0", Conflict::No),
            ("::1", "::1", Conflict::Yes),
            ("::1", "::", Conflict::Yes),
            ("::", "::1", Conflict::Yes),
            ("::", "127.0.0.1", Conflict::Yes),
            ("::", "0.0.0.0", Conflict::Yes),
            ("127.0.0.1", "::ffff:127.0.0.1", Conflict::Yes),
            ("127.0.0.1", "::ffff:127.0.0.2", Conflict::No),
            ("127.0.0.1", "::ffff:0.0.0.0", Conflict::Yes),
        ];
        for (wanted, bound, expected) in cases {
            let found = between(wanted.parse().unwrap(), bound.parse().unwrap());
            assert_eq!(found, expected, "{wanted} wanted, {bound} bound");
        }
    }
}
