//! `throughline backfill`: computes past windows again, and changes only what differs.

use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use engine::backfill::{Begin, Change, Progress, Summary, backfill, differences};
use engine::{Config, moment};
use jiff::Timestamp;

use super::progress::ProgressLine;
use crate::settings::{self, Flags, Mistakes};
use crate::shutdown;

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
    /// Begin anew where an earlier run of the same range was stopped, instead of going on there.
    #[arg(long)]
    pub restart: bool,
}

/// # Errors
/// When settings or times are wrong, or tables can't be read or written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = settings::read(&args.flags)?;
    let range = time_range(&args, Timestamp::now())?;
    let begin = if args.restart { Begin::Anew } else { Begin::WhereItStopped };
    if args.diff {
        show_differences(&config, range).await
    } else {
        fill(&config, range, begin).await
    }
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

async fn fill(config: &Config, range: Range<i64>, begin: Begin) -> anyhow::Result<ExitCode> {
    let stop = shutdown::on_signal().context("listen for signals")?;
    let started = Instant::now();
    let mut progress = ProgressLine::start();
    let report = |so_far: Progress| progress.show(so_far);
    let summary = backfill(config, range, begin, &stop, report).await?;
    progress.finish();
    println!("{}", told(&summary, started.elapsed()));
    if summary.left > 0 {
        eprintln!(
            "stopped with {} windows left: the same command goes on there, --restart begins anew",
            summary.left
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn told(summary: &Summary, took: Duration) -> String {
    let resumed = match summary.resumed {
        0 => String::new(),
        windows => format!("{windows} done before, "),
    };
    let generation = match summary.generation {
        Some(generation) => format!(", generation {generation}"),
        None => String::new(),
    };
    format!(
        "{} windows changed, {} commits{generation} ({resumed}{} windows computed, {} not final \
         yet, {} raw rows, {:.1} s)",
        summary.changed,
        summary.commits,
        summary.windows,
        summary.skipped,
        summary.rows,
        took.as_secs_f64(),
    )
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
