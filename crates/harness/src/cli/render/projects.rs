//! The table of projects.

use harness_wire::message::{ProjectState, ProjectSummary};

use super::status::columns;

/// The projects as columns. The file comes last, because it may be long.
pub(crate) fn table(projects: &[ProjectSummary]) -> String {
    let row = |project: &ProjectSummary| {
        vec![
            project.name.to_string(),
            state(project.state).to_owned(),
            format!("{}/{}", project.up, project.services),
            project.source.display().to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = projects.iter().map(row).collect();
    columns(&["Project", "State", "Up", "File"], &rows)
}

fn state(state: ProjectState) -> &'static str {
    match state {
        ProjectState::Up => "up",
        ProjectState::Partly => "partly up",
        ProjectState::Stopped => "stopped",
        ProjectState::Unknown => "unknown",
    }
}

/// The name most like the one given, if any is.
pub(crate) fn nearest<'a>(given: &str, names: &[&'a str]) -> Option<&'a str> {
    names
        .iter()
        .map(|name| (strsim::jaro_winkler(given, name), *name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use harness_model::ProjectName;

    use super::*;

    #[test]
    fn projects_are_columns() {
        let project = |name: &str, state, up, source: &str| ProjectSummary {
            name: ProjectName::new(name).unwrap(),
            source: source.into(),
            services: 3,
            up,
            state,
        };
        let projects = [
            project("shop", ProjectState::Up, 3, "/srv/shop/services.yaml"),
            project("blog-two", ProjectState::Stopped, 0, "/srv/blog/services.yaml"),
        ];
        assert_eq!(
            table(&projects),
            "PROJECT   STATE    UP   FILE\n\
             shop      up       3/3  /srv/shop/services.yaml\n\
             blog-two  stopped  0/3  /srv/blog/services.yaml\n"
        );
        assert_eq!(nearest("shpo", &["blog", "shop"]), Some("shop"));
        assert_eq!(nearest("zzz", &["blog", "shop"]), None);
    }
}
