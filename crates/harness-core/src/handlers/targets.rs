//! Which services the names in a request mean: each its own, and the name of a group those of its members.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::{ProjectSpec, ServiceName};
use harness_wire::message::{ErrorBody, ErrorCode};

use super::invalid;
use crate::convert;

/// The names that stand for several services, and for which.
pub(super) type Groups = BTreeMap<ServiceName, BTreeSet<ServiceName>>;

/// The services that are meant where several may be named. Members that are not known yet are left out: nothing can be
/// said of them or done to them. A service that is called as the group is, from before the file changed, goes with it.
///
/// # Errors
/// When a name means nothing: with the nearest one that does.
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

/// Refuses a name that means only services of profiles that are not chosen, which a start leaves as they are.
///
/// # Errors
/// When it does: with a profile that has it.
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
        false => ("", format!("is of the profile `{profile}`, which is not chosen")),
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

/// That a name means no service.
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

/// That a name means no service where one is asked for.
pub(super) fn not_one(name: &ServiceName, known: &BTreeSet<&ServiceName>, groups: &Groups) -> ErrorBody {
    let Some(members) = groups.get(name) else {
        return convert::no_such_service(name.as_str(), &known.iter().copied().cloned().collect::<Vec<_>>());
    };
    let members: Vec<&str> = members.iter().map(ServiceName::as_str).collect();
    let mut error = invalid(format!("`{name}` is a group, and this is for one service"));
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
            "`shell` is of the profile `debug`, which is not chosen; add --profile debug"
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
        assert_eq!(group.message, "`stack` is a group, and this is for one service");
        assert_eq!(group.hint.unwrap(), "name one of its services: api, db");
        assert_eq!(error("dbb").hint.unwrap(), "did you mean `db`?");
    }
}
