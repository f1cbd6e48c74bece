//! `throughline backfill`: computes past windows again, and changes only what differs.

use std::io::IsTerminal as _;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use engine::backfill::{Change, Progress, backfill, differences};
use engine::{Config, moment};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use crate::settings::{self, Flags, Mistakes};

/// Compute past windows again from the raw tables.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub flags: Flags,
    /// First moment: RFC 3339, UTC such as 2026-11-21T12:00, or relative such as -15m.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: String,
    /// Moment after the last one, written the same way.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, default_value = "now")]
    pub to: String,
    /// Print the paths that would change, and change nothing.
    #[arg(long)]
    pub diff: bool,
}

/// # Errors
/// When settings or times are wrong, or tables can't be read or written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = settings::read(&args.flags)?;
    let range = time_range(&args, Timestamp::now())?;
    if args.diff { show_differences(&config, range).await } else { fill(&config, range).await }
}

async fn show_differences(config: &Config, range: Range<i64>) -> anyhow::Result<ExitCode> {
    let tell = |change, path_id: &str| {
        let mark = match change {
            Change::Comes => '+',
            Change::Goes => '-',
            Change::Changes => '~',
        };
        println!("{mark} {path_id}");
    };
    let changes = differences(config, range, tell).await?;
    println!("{changes} paths would change");
    Ok(ExitCode::SUCCESS)
}

async fn fill(config: &Config, range: Range<i64>) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let bar = progress_bar();
    let report = |progress: Progress| {
        bar.set_length(progress.of);
        bar.set_position(progress.windows);
        let rate = progress.rows as f64 / bar.elapsed().as_secs_f64().max(0.001);
        bar.set_message(format!("{rate:.0} rows/s"));
    };
    let summary = backfill(config, range, report).await?;
    bar.finish_and_clear();
    println!(
        "{} windows changed, {} commits ({} windows computed, {} not final yet, {} raw rows, {:.1} s)",
        summary.changed,
        summary.commits,
        summary.windows,
        summary.skipped,
        summary.rows,
        started.elapsed().as_secs_f64(),
    );
    Ok(ExitCode::SUCCESS)
}

fn time_range(args: &Args, now: Timestamp) -> Result<Range<i64>, Mistakes> {
    let mut mistakes = Vec::new();
    let mut read = |name: &str, text: &str| {
        moment::parse(text, now).unwrap_or_else(|| {
            mistakes.push(format!("{name}: {text:?} is no time such as 2026-11-21T12:00 or -15m"));
            0
        })
    };
    let (from, to) = (read("from", &args.from), read("to", &args.to));
    if mistakes.is_empty() && from >= to {
        mistakes.push(format!("from: {:?} is not before {:?}", args.from, args.to));
    }
    if mistakes.is_empty() { Ok(from..to) } else { Err(Mistakes(mistakes)) }
}

/// Drawn on a terminal; elsewhere nothing but the summary.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let template = "{bar:30} {pos}/{len} windows  {msg}  {eta} left";
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}
