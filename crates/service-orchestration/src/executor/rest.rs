//! What a command leaves behind when it has ended.

use command_executor::{HostError, Managed};

/// Processes that a command left in the background, if it left any. [`Rest::end`] kills them and waits for that;
/// dropping this kills them without waiting.
#[derive(Debug, Default)]
pub struct Rest(Option<Box<dyn Managed>>);

impl Rest {
    /// For a command in a place that ends what the command leaves, as a container does.
    pub fn none() -> Self {
        Self::default()
    }

    /// For a command at a host that has ended.
    pub fn of(running: Option<Box<dyn Managed>>) -> Self {
        Self(running)
    }

    /// Kills the processes, and returns when all of them are gone.
    ///
    /// # Errors
    /// When some of them still exist after ten seconds.
    pub async fn end(self) -> std::io::Result<()> {
        match self.0 {
            Some(running) => running.end().await.map_err(|error| match error {
                HostError::Failed(source) => source,
                error => std::io::Error::other(error),
            }),
            None => Ok(()),
        }
    }
}
