//! A sign of life on standard error when an answer takes longer than two seconds.

use std::time::Duration;

use indicatif::ProgressBar;

const PATIENCE: Duration = Duration::from_secs(2);
const TURN: Duration = Duration::from_millis(120);

/// Waits for the work, and says what it is once that takes long. Shows nothing where standard error
/// is no terminal.
pub(super) async fn while_waiting<T>(what: &'static str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
        return done;
    }
    let spinner = ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(TURN);
    let done = work.await;
    spinner.finish_and_clear();
    done
}
