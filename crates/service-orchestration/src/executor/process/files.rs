//! Renders the `files` of a service before it starts. The host writes them.
//!
//! | who the file is for | who writes it |
//! |---|---|
//! | the daemon's user | the host's own processes, which follow no link that others could have made |
//! | another user (`user:`) | the shim: as root where nobody else may change anything on the way, else as that user |

use std::io;
use std::path::{Path, PathBuf};

use command_executor::Host;
use command_executor::host::{HostError, PutError, PutFile};
use harness_model::Template;

use crate::executor::program::{shown, text};
use crate::executor::{LaunchError, Order};

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
    fn failed(&self, error: HostError<PutError>) -> LaunchError {
        let source = match error {
            HostError::NotReached(error) => return error.into(),
            HostError::Failed(error) => io::Error::new(error.kind(), error),
        };
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

/// Writes each rendered file beside its target and renames it over the target, so that no reader sees half a file.
/// Targets are relative to `base`.
///
/// # Errors
/// When a target cannot be written, is not a regular file, or is a file of the project itself.
pub(super) async fn render(
    host: &dyn Host,
    order: &Order,
    user: Option<&str>,
    base: &Path,
) -> Result<(), LaunchError> {
    for file in rendered(order, base)? {
        let put = PutFile {
            target: file.target.clone(),
            content: file.content.clone().into_bytes(),
            mode: file.mode,
            owner: user.map(str::to_owned),
            keep: order.project_files.clone(),
        };
        host.put(put).await.map_err(|error| file.failed(error))?;
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
