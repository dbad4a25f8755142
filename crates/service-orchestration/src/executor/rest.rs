//! What a command leaves behind when it has ended.

use command_executor::Running;

/// Processes that a command left in the background, if it did. They end with this: [`Rest::end`] waits for it,
/// dropping does not.
#[derive(Debug, Default)]
pub struct Rest(Option<Running>);

impl Rest {
    /// Of a command whose place ends what it leaves, as a container does.
    pub fn none() -> Self {
        Self::default()
    }

    /// Of a command on this machine that has ended.
    pub fn of(running: Option<Running>) -> Self {
        Self(running)
    }

    /// Kills it, and returns when all of it is gone.
    ///
    /// # Errors
    /// When something of it is still there after ten seconds.
    pub async fn end(self) -> std::io::Result<()> {
        match self.0 {
            Some(running) => running.end().await,
            None => Ok(()),
        }
    }
}
