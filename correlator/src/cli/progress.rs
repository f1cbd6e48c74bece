//! Signs of life on standard error: for an answer that takes longer than two seconds, and for work
//! on many windows.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use engine::backfill::Progress;
use indicatif::{ProgressBar, ProgressStyle};

const PATIENCE: Duration = Duration::from_secs(2);
const TURN: Duration = Duration::from_millis(120);

/// Between two lines where standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(3);

/// How far work on windows is: a bar on a terminal, elsewhere a line every few seconds.
pub(super) struct ProgressLine {
    started: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl ProgressLine {
    pub(super) fn start() -> Self {
        let template = "{bar:30} {msg}";
        let style = ProgressStyle::with_template(template);
        let bar = std::io::stderr().is_terminal().then(|| {
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let now = Instant::now();
        Self { started: now, told: now, bar }
    }

    pub(super) fn show(&mut self, so_far: Progress) {
        let now = Instant::now();
        let line = line(so_far, now - self.started);
        if let Some(bar) = &self.bar {
            bar.set_length(so_far.of);
            bar.set_position(so_far.windows);
            bar.set_message(line);
        } else if now - self.told >= LINE_EVERY {
            self.told = now;
            eprintln!("{line}");
        }
    }

    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(so_far: Progress, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(0.001);
    let left = so_far.of.saturating_sub(so_far.windows) as f64;
    let left_s = left * seconds / (so_far.windows.max(1) as f64);
    format!(
        "{}/{} windows, {:.0} rows/s, {left_s:.0} s left",
        so_far.windows,
        so_far.of,
        so_far.rows as f64 / seconds,
    )
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_tells_windows_rate_and_time_left() {
        let so_far = Progress { windows: 30, of: 120, rows: 5_000 };
        let line = line(so_far, Duration::from_secs(10));
        assert_eq!(line, "30/120 windows, 500 rows/s, 30 s left");
    }
}
