//! The dependency graph.

use std::collections::BTreeMap;

use harness_model::{Health, ServiceName, ServiceState};
use harness_wire::message::{Graph, GraphEdge, GraphNode, ServiceView};

use super::{Style, name_width};

/// In start order: each service with what it needs. Conditions that do not hold yet are marked.
pub(crate) fn text(graph: &Graph, style: &Style) -> String {
    let mut nodes: Vec<&GraphNode> = graph.nodes.iter().collect();
    nodes.sort_by(|a, b| a.depth.cmp(&b.depth).then_with(|| a.view.name.cmp(&b.view.name)));
    let width = name_width(nodes.iter().map(|node| node.view.name.as_str()));
    let mut out = String::new();
    for node in nodes {
        let name = &node.view.name;
        let needs: Vec<String> = graph
            .edges
            .iter()
            .filter(|edge| edge.from == *name)
            .map(|edge| need(edge, style))
            .collect();
        let needs = if needs.is_empty() {
            String::new()
        } else {
            format!("needs {}", needs.join(", "))
        };
        let state = state(&node.view);
        let line = format!("{} {name:<width$} {state:<10} {needs}", mark(&node.view, style));
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn need(edge: &GraphEdge, style: &Style) -> String {
    let words = format!("{} ({})", edge.to, edge.condition);
    if edge.holds {
        words
    } else {
        format!("{words} {}", style.middling("not yet"))
    }
}

fn state(view: &ServiceView) -> &'static str {
    match (view.status, view.health) {
        (ServiceState::Running, Health::None) => view.status.as_str(),
        (ServiceState::Running, health) => health.as_str(),
        (state, _) => state.as_str(),
    }
}

fn mark(view: &ServiceView, style: &Style) -> String {
    match state(view) {
        "healthy" | "running" | "completed" => style.good("✓"),
        "failed" | "unhealthy" => style.bad("✗"),
        _ => style.dim("·"),
    }
}

/// For Markdown pages: `graph TD` of Mermaid, with arrows from a service to those it depends on.
pub(crate) fn mermaid(graph: &Graph) -> String {
    let ids: BTreeMap<&ServiceName, usize> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (&node.view.name, index))
        .collect();
    let mut out = String::from("graph TD\n");
    for node in &graph.nodes {
        out.push_str(&format!("  n{}[\"{}\"]\n", ids[&node.view.name], node.view.name));
    }
    for edge in &graph.edges {
        if let (Some(from), Some(to)) = (ids.get(&edge.from), ids.get(&edge.to)) {
            out.push_str(&format!("  n{from} -->|{}| n{to}\n", edge.condition));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use harness_model::ProjectName;

    use super::*;
    use crate::cli::testing::view;

    fn graph() -> Graph {
        let name = |text: &str| ServiceName::new(text).unwrap();
        let node = |service: &str, depth, status, health| {
            let mut view = view(service);
            (view.status, view.health) = (status, health);
            GraphNode { view, depth }
        };
        let edge = |from: &str, to: &str, condition: &str, holds| GraphEdge {
            from: name(from),
            to: name(to),
            condition: condition.into(),
            holds,
        };
        Graph {
            project: ProjectName::new("shop").unwrap(),
            nodes: vec![
                node("api", 2, ServiceState::Pending, Health::None),
                node("db", 0, ServiceState::Running, Health::Healthy),
                node("schema", 1, ServiceState::Starting, Health::None),
            ],
            edges: vec![
                edge("api", "schema", "completed", false),
                edge("api", "db", "healthy", true),
                edge("schema", "db", "healthy", true),
            ],
        }
    }

    #[test]
    fn text_is_in_start_order() {
        assert_eq!(
            text(&graph(), &Style::new(false)),
            "\
✓ db       healthy
· schema   starting   needs db (healthy)
· api      pending    needs schema (completed) not yet, db (healthy)
"
        );
    }

    #[test]
    fn mermaid_draws_from_who_needs_to_who_is_needed() {
        assert_eq!(
            mermaid(&graph()),
            "\
graph TD
  n0[\"api\"]
  n1[\"db\"]
  n2[\"schema\"]
  n0 -->|completed| n2
  n0 -->|healthy| n1
  n2 -->|healthy| n1
"
        );
    }
}
