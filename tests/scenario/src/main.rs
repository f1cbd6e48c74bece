//! Plays every transcript and says how each went; the last line is `passed/all`.
//!
//! Arguments, where there are any, are numbers of the scenarios to play, or a folder of others.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wanted: Vec<u32> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let folder = words.iter().find(|word| word.parse::<u32>().is_err());
    let folder = folder.map_or_else(scenario::folder, PathBuf::from);
    let (mut passed, mut all) = (0, 0);
    for path in scenario::transcripts(&folder)? {
        if !wanted.is_empty() && !wanted.contains(&scenario::number(&path)?) {
            continue;
        }
        let outcome = scenario::run(&path)?;
        all += 1;
        let is_passed = outcome.failures.is_empty();
        passed += u32::from(is_passed);
        println!("{:2} {} {}", outcome.number, word(is_passed), outcome.title);
        for failure in &outcome.failures {
            println!("{failure}");
        }
    }
    println!("{passed}/{all}");
    Ok(if passed == all && all > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn word(is_passed: bool) -> &'static str {
    if is_passed { "ok  " } else { "FAIL" }
}
