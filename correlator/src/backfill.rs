//! `throughline backfill`: computes past windows again, and changes only what differs.
//!
//! Files are named by their content, so windows that come out as they are need no look at their
//! rows and no commit: a second run changes nothing.

use std::io::IsTerminal as _;
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use join::Stage;
use join::watermark::Watermark;
use join::window::window_start;
use store::Store;

use crate::config::{Config, Flags, Mistakes};
use crate::correlation::compute;
use crate::input::Input;
use crate::moment;
use crate::output::{Output, Writer};

mod difference;

/// Adjacent windows computed at once: the guard band is paid once for five minutes.
const WINDOWS_PER_RUN: i64 = 30;

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

/// What a backfill did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub windows: u64,
    pub changed: usize,
    pub commits: usize,
    /// Raw rows read.
    pub rows: usize,
    /// Windows that may still change, and were left to the live correlator.
    pub skipped: u64,
}

/// # Errors
/// When settings or times are wrong, or tables can't be read or written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = Config::read(&args.flags)?;
    let range = time_range(&args, Timestamp::now())?;
    let started = Instant::now();
    if args.diff {
        let changes = difference::of_range(&config, range).await?;
        println!("{changes} paths would change");
        return Ok(ExitCode::SUCCESS);
    }
    let summary = backfill(&config, range).await?;
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

/// Computes every window that touches the range, and writes the final rows of those that differ.
///
/// # Errors
/// As [`run`].
pub async fn backfill(config: &Config, range: Range<i64>) -> anyhow::Result<Summary> {
    let mut past = Past::open(config, range).await?;
    let output = Output::open(&past.store, &config.job).await?;
    let mut summary = Summary { skipped: past.skipped, ..Summary::default() };
    let bar = progress_bar(past.count());
    for windows in past.runs() {
        let settings = &config.settings;
        let computed = compute(&mut past.input, windows.clone(), Stage::Final, settings).await?;
        let written = output
            .write(Writer::Backfill, windows, &computed.rows, &computed.pins, settings)
            .await?;
        summary.windows += computed.rows.len() as u64;
        summary.changed += written.changed.len();
        summary.commits += written.commits;
        summary.rows += computed.read;
        bar.inc(computed.rows.len() as u64);
        let rate = summary.rows as f64 / bar.elapsed().as_secs_f64().max(0.001);
        bar.set_message(format!("{rate:.0} rows/s"));
    }
    bar.finish_and_clear();
    Ok(summary)
}

/// Past windows, and the raw tables they are computed from.
struct Past {
    store: Store,
    input: Input,
    windows: Range<i64>,
    window_ns: i64,
    skipped: u64,
}

impl Past {
    async fn open(config: &Config, range: Range<i64>) -> anyhow::Result<Self> {
        let store = Store::open(&config.tables).await?;
        let settings = &config.settings;
        let mut input = Input::new(&store);
        let mut watermark = Watermark::default();
        for heartbeat in input.refresh().await? {
            watermark.observe(&heartbeat);
        }
        let Some(watermark_ns) = watermark.advance() else {
            bail!(
                "no heartbeat is recorded in {}: nothing says how far the raw rows go",
                store.root()
            );
        };
        let end = window_start(range.end + settings.window_ns - 1, settings);
        let mut windows = window_start(range.start, settings)..end;
        let final_end = window_start(watermark_ns - settings.lateness_ns, settings);
        let mut skipped = 0;
        if final_end < windows.end {
            let first = final_end.max(windows.start);
            skipped = ((windows.end - first) / settings.window_ns).unsigned_abs();
            tracing::warn!(
                "{skipped} windows from {} on are skipped: they may change until the watermark, \
                 now {}, has passed their end by {} s (--lateness)",
                moment::show(first),
                moment::show(watermark_ns),
                settings.lateness_ns / join::SECOND,
            );
            windows.end = first;
        }
        let oldest_ns = input.oldest_ns().context("no raw row that a path could be made of")?;
        windows.start = windows.start.max(window_start(oldest_ns, settings)).min(windows.end);
        Ok(Self { store, input, windows, window_ns: settings.window_ns, skipped })
    }

    fn count(&self) -> u64 {
        ((self.windows.end - self.windows.start) / self.window_ns).unsigned_abs()
    }

    fn runs(&self) -> impl Iterator<Item = Range<i64>> + use<> {
        let (windows, longest_ns) = (self.windows.clone(), WINDOWS_PER_RUN * self.window_ns);
        (windows.start..windows.end)
            .step_by(usize::try_from(longest_ns).unwrap_or(usize::MAX))
            .map(move |start| start..(start + longest_ns).min(windows.end))
    }
}

/// Drawn on a terminal; elsewhere nothing but the summary.
fn progress_bar(windows: u64) -> ProgressBar {
    let bar = ProgressBar::new(windows);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let template = "{bar:30} {pos}/{len} windows  {msg}  {eta} left";
    bar.set_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}
