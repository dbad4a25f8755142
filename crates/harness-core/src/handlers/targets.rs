//! Finds the services for the names in a request. The name of a group stands for its members.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::{ProjectSpec, ServiceName};
use harness_wire::message::{ErrorBody, ErrorCode};

use super::invalid;
use crate::convert;

/// The names that stand for several services, with those services.
pub(super) type Groups = BTreeMap<ServiceName, BTreeSet<ServiceName>>;

/// The services for names in a request that may name several. Members that are not known yet are left out, because
/// nothing can be done with them. If a service from before a change of the file has the same name as the group, it is
/// included.
///
/// # Errors
/// When a name is not known. The error suggests the nearest one.
pub(super) fn several(
    named: &[ServiceName],
    known: &BTreeSet<&ServiceName>,
    groups: &Groups,
) -> Result<BTreeSet<ServiceName>, ErrorBody> {
    let mut meant = BTreeSet::new();
    for name in named {
        let members = groups.get(name).into_iter().flatten();
        let found: BTreeSet<&ServiceName> = std::iter::once(name)
            .chain(members)
            .filter(|name| known.contains(name))
            .collect();
        if found.is_empty() {
            return Err(nobody(name, known, groups));
        }
        meant.extend(found.into_iter().cloned());
    }
    Ok(meant)
}

/// Refuses a name that stands only for services of profiles that are not chosen. A start would not touch them.
///
/// # Errors
/// When that is so. The error names a profile to choose.
pub(super) fn refuse_unchosen(name: &ServiceName, project: &ProjectSpec) -> Result<(), ErrorBody> {
    let mut meant = project.groups.get(name).into_iter().flatten().chain([name]);
    if meant.any(|name| project.services.contains_key(name)) {
        return Ok(());
    }
    let members = project.groups.get(name).into_iter().flatten();
    let mut profiles = members
        .chain([name])
        .filter_map(|name| project.unchosen.get(name));
    let Some(profile) = profiles.find_map(|profiles| profiles.first()) else {
        return Ok(());
    };
    let (what, is) = match project.groups.contains_key(name) {
        true => ("the group ", "has no service in the chosen profiles".to_owned()),
        false => (
            "",
            format!("belongs to the profile `{profile}`, which is not chosen"),
        ),
    };
    Err(ErrorBody {
        code: ErrorCode::NoSuchService {
            name: name.to_string(),
            suggestion: None,
        },
        message: format!("{what}`{name}` {is}"),
        hint: Some(format!("add --profile {profile}")),
    })
}

/// The error for a name that is not a service or group.
fn nobody(name: &ServiceName, known: &BTreeSet<&ServiceName>, groups: &Groups) -> ErrorBody {
    let Some(members) = groups.get(name) else {
        let names = known.iter().copied().chain(groups.keys());
        return convert::no_such_service(name.as_str(), &names.cloned().collect::<Vec<_>>());
    };
    let (message, hint) = if members.is_empty() {
        (
            format!("the group `{name}` has no service in the chosen profiles"),
            format!("harness start --profile NAME {name}"),
        )
    } else {
        (
            format!("no service of the group `{name}` has been started"),
            format!("harness start {name}"),
        )
    };
    ErrorBody {
        code: ErrorCode::NoSuchService {
            name: name.to_string(),
            suggestion: None,
        },
        message,
        hint: Some(hint),
    }
}

/// The error for a name that is not a service, where exactly one service is needed.
pub(super) fn not_one(name: &ServiceName, known: &BTreeSet<&ServiceName>, groups: &Groups) -> ErrorBody {
    let Some(members) = groups.get(name) else {
        return convert::no_such_service(name.as_str(), &known.iter().copied().cloned().collect::<Vec<_>>());
    };
    let members: Vec<&str> = members.iter().map(ServiceName::as_str).collect();
    let mut error = invalid(format!("`{name}` is a group, but this needs one service"));
    error.hint = match members.as_slice() {
        [] => Some("it has no service in the chosen profiles".to_owned()),
        members => Some(format!("name one of its services: {}", members.join(", "))),
    };
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServiceName {
        ServiceName::new(text).unwrap()
    }

    fn names(text: &str) -> BTreeSet<ServiceName> {
        text.split_whitespace().map(name).collect()
    }

    fn groups() -> Groups {
        BTreeMap::from([
            (name("stack"), names("api db")),
            (name("tools"), names("")),
            (name("later"), names("new")),
            (name("old"), names("api new")),
        ])
    }

    fn meant(named: &str) -> Result<String, String> {
        let named: Vec<ServiceName> = named.split_whitespace().map(name).collect();
        let known = names("api db old worker");
        match several(&named, &known.iter().collect(), &groups()) {
            Ok(meant) => Ok(meant
                .iter()
                .map(ServiceName::as_str)
                .collect::<Vec<_>>()
                .join(" ")),
            Err(error) => {
                assert!(matches!(error.code, ErrorCode::NoSuchService { .. }), "{error:?}");
                Err(format!("{}; {}", error.message, error.hint.unwrap_or_default()))
            }
        }
    }

    #[test]
    fn a_group_means_its_services_each_once() {
        assert_eq!(meant("worker stack db").unwrap(), "api db worker");
        assert_eq!(meant("").unwrap(), "");
    }

    #[test]
    fn members_that_were_never_started_are_left_out_and_a_former_service_goes_along() {
        assert_eq!(meant("old").unwrap(), "api old");
    }

    #[test]
    fn a_name_that_means_nobody_is_refused() {
        assert_eq!(
            meant("stakc").unwrap_err(),
            "there is no service `stakc`; did you mean `stack`?"
        );
        assert_eq!(
            meant("db tools").unwrap_err(),
            "the group `tools` has no service in the chosen profiles; harness start --profile NAME tools"
        );
        assert_eq!(
            meant("later").unwrap_err(),
            "no service of the group `later` has been started; harness start later"
        );
    }

    #[test]
    fn a_name_of_another_profile_is_told_which_one() {
        let path = std::path::PathBuf::from("/shop/services.yaml");
        let mut project =
            ProjectSpec::new(harness_model::ProjectName::from_lossy("shop"), path.clone(), path);
        let sleep = harness_model::ServiceSpec::process("sleep", ["1"]);
        project.services.insert(name("api"), sleep);
        for other in ["shell", "tracer"] {
            project.unchosen.insert(name(other), ["debug".to_owned()].into());
        }
        project.groups = BTreeMap::from([
            (name("stack"), names("api shell")),
            (name("tools"), names("shell tracer")),
        ]);
        let refused = |text: &str| {
            refuse_unchosen(&name(text), &project)
                .err()
                .map(|error| format!("{}; {}", error.message, error.hint.unwrap_or_default()))
        };
        for good in ["api", "stack", "nobody"] {
            assert_eq!(refused(good), None, "{good}");
        }
        assert_eq!(
            refused("shell").unwrap(),
            "`shell` belongs to the profile `debug`, which is not chosen; add --profile debug"
        );
        assert_eq!(
            refused("tools").unwrap(),
            "the group `tools` has no service in the chosen profiles; add --profile debug"
        );
    }

    #[test]
    fn one_service_is_not_a_group() {
        let known = names("api db");
        let error = |text: &str| not_one(&name(text), &known.iter().collect(), &groups());
        let group = error("stack");
        assert_eq!(group.code, ErrorCode::Invalid);
        assert_eq!(group.message, "`stack` is a group, but this needs one service");
        assert_eq!(group.hint.unwrap(), "name one of its services: api, db");
        assert_eq!(error("dbb").hint.unwrap(), "did you mean `db`?");
    }
}
