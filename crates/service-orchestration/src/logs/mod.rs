//! Reading what services wrote, over all their generations.

use std::path::Path;

use command_executor::logs::{FollowError, last_lines as tail};

/// The last lines of one generation, without line ends, oldest first.
///
/// # Errors
/// When its log cannot be read.
pub async fn last_lines(run_dir: &Path, count: u64) -> Result<Vec<Vec<u8>>, FollowError> {
    Ok(tail(run_dir, count)
        .await?
        .into_iter()
        .map(|line| line.bytes)
        .collect())
}
