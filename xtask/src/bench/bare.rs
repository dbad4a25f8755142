//! The bare baseline: processes that are started as directly as this language can, without any records about them.

use std::path::Path;
use std::process::Child;

use super::command;
use crate::error::TaskError;

/// Children of the bench itself. They are killed when this is dropped.
pub(crate) struct Bare {
    children: Vec<Child>,
}

impl Bare {
    /// Starts a program once for each list of arguments. A start counts as done when the program is executed.
    /// `temporary` marks the children, so that they are found if the bench dies.
    ///
    /// # Errors
    /// When the system refuses to start one.
    pub(crate) fn spawn<'a>(
        program: &Path,
        arguments: impl IntoIterator<Item = Vec<&'a str>>,
        temporary: &Path,
    ) -> Result<Self, TaskError> {
        let mut bare = Self { children: Vec::new() };
        for arguments in arguments {
            let mut command = command(program);
            command.args(arguments).env("TMPDIR", temporary);
            bare.children
                .push(command.spawn().map_err(|source| TaskError::Spawn {
                    command: program.display().to_string(),
                    source,
                })?);
        }
        Ok(bare)
    }

    /// Sends SIGTERM to all of them, and waits until all have ended.
    pub(crate) fn stop(mut self) {
        for child in &self.children {
            if let Ok(pid) = i32::try_from(child.id())
                && let Some(pid) = rustix::process::Pid::from_raw(pid)
            {
                // It may have ended already, which is fine.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        }
        for mut child in self.children.drain(..) {
            let _ = child.wait();
        }
    }

    /// Waits until the first child has ended. It does not end by itself.
    pub(crate) fn wait_first(&mut self) {
        if let Some(child) = self.children.first_mut() {
            let _ = child.wait();
        }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended already.
            let _ = child.kill();
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}
