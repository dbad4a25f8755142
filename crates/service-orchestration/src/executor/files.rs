//! Renders the `files` of a service before it starts.
//!
//! | who the file is for | who writes it |
//! |---|---|
//! | the daemon's user | the daemon, which follows no link that others could have made |
//! | another user (`user:`) | the shim: as root where nobody else may change anything on the way, else as that user |

use std::io;
use std::path::{Path, PathBuf};

use blocking::unblock;
use command_executor::write;
use harness_files::{Content, FileError, FileId};
use harness_model::Template;

use super::program::{shown, text};
use super::{LaunchError, Order};

/// A file to write.
struct Rendered {
    target: PathBuf,
    content: String,
    /// A file that contains a secret is readable only by its owner.
    mode: u32,
    /// The target as the project file says it, for messages.
    written: Template,
}

impl Rendered {
    fn failed(&self, source: io::Error) -> LaunchError {
        LaunchError::Path {
            what: "file target",
            path: shown(&self.written, self.target.clone()),
            // The error may name the path, so it must not show a secret.
            source: match self.written.has_secret() {
                true => source.kind().into(),
                false => source,
            },
        }
    }
}

/// Writes files for other users.
pub(super) struct Writer<'a> {
    /// Runs commands under supervision.
    pub(super) commands: &'a command_executor::Executor,
    pub(super) shim: &'a Path,
    /// Marks the command that writes.
    pub(super) run_id: String,
}

/// Writes each rendered file beside its target and renames it over the target, so that no reader sees half a file.
/// Targets are relative to `base`.
///
/// # Errors
/// When a target cannot be written, is not a regular file, or is a file of the project itself.
pub(super) async fn render(
    writer: Writer<'_>,
    order: &Order,
    user: Option<&str>,
    base: &Path,
) -> Result<(), LaunchError> {
    let files = rendered(order, base)?;
    if files.is_empty() {
        return Ok(());
    }
    let own = order.project_files.clone();
    let keep: Vec<FileId> = unblock(move || own.iter().filter_map(|path| FileId::of(path)).collect()).await;
    let Some(user) = user else {
        return unblock(move || files.iter().try_for_each(|file| put(file, &keep))).await;
    };
    for file in files {
        let options = write::Options {
            user: user.to_owned(),
            mode: file.mode,
            keep: keep.clone(),
        };
        let Writer {
            commands,
            shim,
            run_id,
        } = &writer;
        write::write(
            commands,
            shim,
            run_id,
            &options,
            &file.target,
            file.content.as_bytes(),
        )
        .await
        .map_err(|error| file.failed(io::Error::other(error)))?;
    }
    Ok(())
}

fn rendered(order: &Order, base: &Path) -> Result<Vec<Rendered>, LaunchError> {
    let mut out = Vec::new();
    for file in &order.spec.files {
        let Some(content) = &file.content else { continue };
        out.push(Rendered {
            target: base.join(text(&file.target)?),
            mode: if content.has_secret() { 0o600 } else { 0o644 },
            content: text(content)?,
            written: file.target.clone(),
        });
    }
    Ok(out)
}

fn put(file: &Rendered, keep: &[FileId]) -> Result<(), LaunchError> {
    let content = Content {
        bytes: file.content.as_bytes(),
        mode: file.mode,
        owner: None,
        keep,
    };
    harness_files::write(&file.target, &content)
        .map_err(|error: FileError| file.failed(io::Error::new(error.kind(), error)))
}
