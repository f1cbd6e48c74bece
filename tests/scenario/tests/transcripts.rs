//! Every transcript by `cargo test`, as `make scenarios` plays them.

#[test]
fn every_transcript_gives_exactly_its_rows() {
    let transcripts = scenario::transcripts(&scenario::folder()).unwrap();
    assert_eq!(transcripts.len(), 26);
    let mut failed = String::new();
    for path in transcripts {
        let outcome = scenario::run(&path).unwrap();
        if !outcome.failures.is_empty() {
            failed += &format!("{} {}\n", outcome.number, outcome.title);
            failed += &format!("{}\n", outcome.failures.join("\n"));
        }
    }
    assert!(failed.is_empty(), "\n{failed}");
}
