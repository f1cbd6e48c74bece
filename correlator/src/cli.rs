//! The verbs: `run`, `backfill`, `path`, `paths`, `ambiguous`, `doctor`. One file a verb.
//!
//! Each verb has its flags (`Args`) and a `run`, which reads the tables, prints to standard output
//! and says how it went as an [`Outcome`]. What a verb says is decided in pure functions over rows,
//! a [`screen::Screen`] and the present moment, so that it can be compared with text files. Notes go
//! to standard error; stored text never reaches a terminal with control characters in it.

pub mod ambiguous;
pub mod backfill;
pub mod doctor;
pub mod maintain;
pub mod path;
pub mod paths;
pub mod run;

mod explain;
mod line;
mod progress;
mod screen;
mod text;
mod undecided;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::builder::RangedI64ValueParser;
use engine::moment;
use query::{Interval, QueryError, Reader};

/// How a question was answered. Failing is an error, and misuse is clap's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Found,
    /// The flags contradict each other.
    Misused,
    /// Nothing passes the filters.
    NotFound,
    /// There is an answer, and it may still change or data for it is missing.
    Incomplete,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Found => 0,
            Outcome::Misused => 2,
            Outcome::NotFound => 3,
            Outcome::Incomplete => 4,
        })
    }
}

/// What the exit codes mean; each verb's help ends with it.
const EXIT_CODES: &str = "Exit codes: 0 found, 1 failed, 2 wrong usage, 3 nothing found, \
4 the answer is incomplete (a window that is not final, or data that is missing)";

/// Rows that one answer may have: all of them are held in memory.
fn limit() -> RangedI64ValueParser<u32> {
    RangedI64ValueParser::new().range(1..=100_000)
}

/// Where the tables are.
#[derive(Clone, Debug, clap::Args)]
struct Place {
    /// Folder or URL of the tables, as the collector's `--tables`
    #[arg(long, env = "THROUGHLINE_TABLES", value_name = "PATH|URL", hide_env_values = true)]
    tables: String,
}

/// When the request started.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
struct When {
    /// Started at this moment or later: `-15m`, `-2h`, `2026-11-21T12:00:00Z`
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, value_parser = moment_ns)]
    since: Option<i64>,
    /// Started before this moment
    #[arg(long, value_name = "MOMENT", allow_hyphen_values = true, value_parser = moment_ns)]
    until: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One JSON object a line, each a row as it is stored
    Json,
}

/// What a verb says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reply {
    /// For standard output.
    said: String,
    /// For standard error.
    noted: String,
    outcome: Outcome,
}

impl Reply {
    fn not_found(noted: impl Into<String>) -> Self {
        Self { said: String::new(), noted: noted.into(), outcome: Outcome::NotFound }
    }

    /// Prints it. A reader of ours that stops reading, such as `head`, is no failure.
    fn print(self) -> anyhow::Result<Outcome> {
        let mut out = io::stdout().lock();
        match out.write_all(self.said.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e).context("print the answer"),
            _ => {
                // Where standard error is closed there is nobody left to tell.
                let _ = io::stderr().write_all(self.noted.as_bytes());
                Ok(self.outcome)
            }
        }
    }
}

impl When {
    /// The interval, or what is wrong with it.
    fn interval(self) -> Result<Interval, Reply> {
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => Err(Reply {
                said: String::new(),
                noted: "--since must be before --until\n".to_owned(),
                outcome: Outcome::Misused,
            }),
            (since_ns, until_ns) => Ok(Interval { since_ns, until_ns }),
        }
    }
}

fn moment_ns(text: &str) -> Result<i64, &'static str> {
    moment::parse(text, jiff::Timestamp::now())
        .ok_or("a moment is a time ago such as -15m or -2h, `now`, or like 2026-11-21T12:00:00Z")
}

/// Opens the tables; an error says what to do about it.
async fn open(place: &Place) -> anyhow::Result<Reader> {
    Reader::open(&place.tables).await.map_err(with_remedy)
}

fn with_remedy(error: QueryError) -> anyhow::Error {
    let remedy = match &error {
        QueryError::NoTables { .. } => {
            "pass the folder that the collector writes with --tables or THROUGHLINE_TABLES"
        }
        QueryError::NoTable { table: "path" | "hop" | "ambiguous", .. } => {
            "the correlator writes it: start `throughline run`, or make it from the raw tables \
             with `throughline backfill`"
        }
        QueryError::NoTable { .. } => "the collector writes it when the first row arrives",
        QueryError::Store(_) | QueryError::Read { .. } | QueryError::Decode(_) => {
            return anyhow::Error::new(error)
                .context("`throughline doctor` says which tables can be read");
        }
    };
    anyhow::anyhow!("{error}: {remedy}")
}

/// One row as one line of JSON.
fn json_line(row: &impl serde::Serialize) -> anyhow::Result<String> {
    let json = serde_json::to_string(row).context("write a row as JSON")?;
    Ok(format!("{}\n", text::json_safe(&json)))
}

fn now_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
