//! The hard cases of correlation as transcripts: observe these, move the watermark, expect those
//! rows. A row that is not expected fails, and so does an expected row that does not come.
//!
//! A transcript is a text file below `transcripts`; `transcripts/README.md` says how to read one.
//! [`run`] plays one the way the product works: log lines go through the collector's parsers,
//! heartbeats move the watermark, the schedule says which windows are due for which stage, and the
//! join computes those from the rows that have arrived by then.

mod cluster;
mod observe;
mod play;
mod render;
mod repeat;
mod statement;
mod words;
mod world;

use std::path::{Path, PathBuf};

use anyhow::Context;

/// How one transcript went.
#[derive(Debug)]
pub struct Outcome {
    pub number: u32,
    pub title: String,
    /// Empty when every row was the expected one.
    pub failures: Vec<String>,
}

/// Transcripts of a folder in the order of their numbers.
///
/// # Errors
/// When the folder can't be read.
pub fn transcripts(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("failed to list {}", folder.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    found.retain(|path| path.extension().is_some_and(|e| e == "scenario"));
    found.sort();
    Ok(found)
}

/// The number of a transcript, without playing it.
///
/// # Errors
/// When it can't be read as a transcript.
pub fn number(path: &Path) -> anyhow::Result<u32> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))?;
    let heading = play::heading(&text);
    Ok(heading.with_context(|| format!("failed to read {}", path.display()))?.0)
}

/// Plays one transcript.
///
/// # Errors
/// When it can't be read as a transcript.
pub fn run(path: &Path) -> anyhow::Result<Outcome> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))?;
    play(&text).with_context(|| format!("failed to play {}", path.display()))
}

/// Plays a transcript's text.
///
/// # Errors
/// When it can't be read as a transcript.
pub fn play(text: &str) -> anyhow::Result<Outcome> {
    play::play(text)
}

/// The folder of the transcripts beside this package.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}
