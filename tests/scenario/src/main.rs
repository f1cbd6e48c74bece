//! Plays every transcript and says how each went; the last line is `passed/all`.
//!
//! Arguments, where there are any, are numbers of the scenarios to play.

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let wanted: Vec<u32> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let (mut passed, mut all) = (0, 0);
    for path in scenario::transcripts(&scenario::folder())? {
        let outcome = scenario::run(&path)?;
        if !wanted.is_empty() && !wanted.contains(&outcome.number) {
            continue;
        }
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
