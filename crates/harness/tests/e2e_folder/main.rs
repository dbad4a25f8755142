//! A folder means its project. With its own file it means only that file's project, even if it was moved or linked. A
//! copy, or a folder without a file, never means somebody else's services.

#![cfg(test)]

#[path = "../common/mod.rs"]
mod common;

mod moved;
mod names;
mod near;
mod ways;

use std::fs;
use std::path::PathBuf;

use common::{Output, Sandbox};

/// A file with one service that sleeps; `head` comes before its services.
pub(crate) fn file(head: &str, service: &str) -> String {
    format!(
        "version: \"1.0\"\n{head}services:\n  {service}:\n    type: process\n    binary: sleep\n    args: [1000]\n"
    )
}

pub(crate) struct Places {
    pub(crate) sandbox: Sandbox,
}

impl Places {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            sandbox: Sandbox::new(name),
        }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.sandbox.root().join(path)
    }

    /// A folder with a services.yaml.
    pub(crate) fn folder(&self, path: &str, head: &str, service: &str) {
        fs::create_dir_all(self.at(path)).unwrap();
        fs::write(self.at(path).join("services.yaml"), file(head, service)).unwrap();
    }

    pub(crate) fn run(&self, folder: &str, words: &str) -> Output {
        let words: Vec<&str> = words.split_whitespace().collect();
        self.sandbox.harness_in(&self.at(folder), &words)
    }

    pub(crate) fn ok(&self, folder: &str, words: &str) -> Output {
        self.run(folder, words).code(0)
    }

    /// The pid of a service of a project in any folder.
    pub(crate) fn pid(&self, project: &str, service: &str) -> Option<u64> {
        let status = self
            .ok("tmp", &format!("--json -p {project} status {service}"))
            .json();
        status["services"][0]["pid"].as_u64()
    }

    /// The project that a folder means.
    pub(crate) fn means(&self, folder: &str, words: &str) -> String {
        let status = self.ok(folder, &format!("--json {words} status")).json();
        status["project"].as_str().unwrap().to_owned()
    }
}

/// Every verb that chooses a project by the folder, with a service.
pub(crate) fn verbs(service: &str) -> Vec<String> {
    let of_service = ["why", "service show", "stop", "wait", "logs", "status", "events"];
    let mut verbs: Vec<String> = of_service
        .iter()
        .map(|verb| format!("{verb} {service}"))
        .collect();
    verbs.extend(["status", "logs", "wait", "graph", "env", "service list", "events"].map(str::to_owned));
    verbs.push(format!("exec {service} -- true"));
    verbs.push(format!("attach --no-stdin {service}"));
    verbs
}
