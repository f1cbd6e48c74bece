//! Scores the statistical relay on every set of spans in a folder: one line of JSON a set.
//!
//! `score-relay --help` tells what it takes. The relay sees times, operations, places and both ends of
//! each call; parents are read for the score alone.

mod made;
mod score;
mod shapes;
mod spans;
mod task;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use join::statistical::{Effort, assign};
use rustix::time::{ClockId, clock_gettime};
use score::Score;

const ENDING: &str = ".spans.csv.gz";

const HELP: &str = "\
Scores the statistical relay: which request caused which call, from times alone

Usage: score-relay <FOLDER> [OPTIONS]
       score-relay --made <SEED> [OPTIONS]

  <FOLDER>           every *.spans.csv.gz in it is a set
  --made <SEED>      score services made up from this seed instead
  --only <SET>       the made-up service of this name alone
  --compress <N>     divide the gaps between requests by N, keep durations [default: 1]
  --per-service      a line of each service before that of its set
  --told <N>         beside N copies of each set whose causes are told: the limit of the model
  --hypotheses <K>   alternatives kept of requests that depend on each other [default: 150]
  --rounds <R>       walks that teach at most [default: 10]

Prints one line of JSON a set. forced_accuracy is the share of traces of which every call was given
to its true cause; committed_precision and coverage are those of what the product would commit.";

/// Requests of each made-up service: as many as the recorded sets have.
const MADE_REQUESTS: usize = 1000;

struct Arguments {
    folder: PathBuf,
    compress: i64,
    made: Option<u64>,
    only: Option<String>,
    per_service: bool,
    told: u32,
    effort: Effort,
}

fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        return help();
    }
    let arguments = arguments()?;
    if let Some(seed) = arguments.made {
        for shape in shapes::SHAPES {
            if arguments.only.as_ref().is_some_and(|only| only != shape.name) {
                continue;
            }
            let mut spans = made::make(shape, MADE_REQUESTS, seed);
            task::compress(&mut spans, arguments.compress);
            score_set(shape.name, &spans, &arguments);
        }
        return Ok(());
    }
    let mut sets: Vec<PathBuf> = std::fs::read_dir(&arguments.folder)
        .with_context(|| format!("list {}", arguments.folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    sets.retain(|path| path.to_string_lossy().ends_with(ENDING));
    sets.sort();
    if sets.is_empty() {
        bail!("no *{ENDING} in {}", arguments.folder.display());
    }
    for path in sets {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let set = name.trim_end_matches(ENDING);
        let mut spans = spans::read(&path)?;
        let set = if arguments.compress > 1 {
            task::compress(&mut spans, arguments.compress);
            format!("{set}x{}", arguments.compress)
        } else {
            set.to_owned()
        };
        score_set(&set, &spans, &arguments);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
fn help() -> Result<()> {
    println!("{HELP}");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the score is what this program is for")]
fn score_set(set: &str, spans: &[spans::Span], arguments: &Arguments) {
    let (tasks, traces) = task::tasks(spans);
    let mut whole = Score::default();
    let mut cpu_ms = 0.0;
    for task in &tasks {
        let before = cpu_now_ms();
        let assignment = assign(&task.told(arguments.told), arguments.effort);
        let spent = cpu_now_ms() - before;
        cpu_ms += spent;
        whole.add(task, &assignment);
        if arguments.per_service {
            let mut score = Score::default();
            score.add(task, &assignment);
            println!("{}", score.line(&format!("{set}/{}", task.service), traces, spent));
        }
    }
    println!("{}", whole.line(set, traces, cpu_ms));
}

/// CPU time of this process.
fn cpu_now_ms() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

fn arguments() -> Result<Arguments> {
    let mut given = std::env::args().skip(1);
    let mut arguments = Arguments {
        folder: PathBuf::new(),
        compress: 1,
        made: None,
        only: None,
        per_service: false,
        told: 0,
        effort: Effort::default(),
    };
    while let Some(argument) = given.next() {
        if argument == "--only" {
            arguments.only = Some(given.next().context("--only needs the name of a set")?);
            continue;
        }
        let mut number = || -> Result<usize> {
            Ok(given.next().with_context(|| format!("{argument} needs a number"))?.parse()?)
        };
        match argument.as_str() {
            "--compress" => arguments.compress = number()? as i64,
            "--hypotheses" => arguments.effort.hypotheses = number()?,
            "--rounds" => arguments.effort.rounds = number()?,
            "--made" => arguments.made = Some(number()? as u64),
            "--told" => arguments.told = number()? as u32,
            "--per-service" => arguments.per_service = true,
            _ if arguments.folder.as_os_str().is_empty() => arguments.folder = argument.into(),
            _ => bail!("{argument} is not understood; score-relay --help tells what is"),
        }
    }
    if arguments.folder.as_os_str().is_empty() && arguments.made.is_none() {
        bail!("a folder of *{ENDING} is missing; score-relay --help tells more");
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests;
