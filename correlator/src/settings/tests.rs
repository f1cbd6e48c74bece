//! What the settings are read as.

use super::*;

fn flags() -> Flags {
    Flags { tables: Some("t".into()), ..Flags::default() }
}

#[test]
fn defaults_are_those_of_the_join_on_all_cores() {
    let config = read(&flags()).unwrap();
    let threads = std::thread::available_parallelism().unwrap().get();
    assert_eq!(config.settings, join::Settings { threads, ..join::Settings::default() });
    assert_eq!((config.job.as_str(), config.poll), ("live", Duration::from_secs(1)));
}

#[test]
fn flags_win_over_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "window = \"2s\"\nlateness = \"20s\"\n").unwrap();
    let flags =
        Flags { config: Some(file.path().to_owned()), window: Some("3s".into()), ..flags() };
    let settings = read(&flags).unwrap().settings;
    assert_eq!(settings.window_ns, 3 * join::SECOND);
    assert_eq!(settings.lateness_ns, 20 * join::SECOND);
}

#[test]
fn limits_of_the_slow_lane_are_settings() {
    let given = Flags {
        slow_back: Some("2m".into()),
        slow_pods: Some("4".into()),
        slow_exchanges: Some("0".into()),
        ..flags()
    };
    let limits = read(&given).unwrap().settings.slow;
    assert_eq!((limits.back_ns, limits.pods, limits.exchanges), (120 * join::SECOND, 4, 0));
    let wrong = Flags { slow_pods: Some("-1".into()), ..flags() };
    assert!(read(&wrong).is_err());
}

#[test]
fn what_is_kept_has_the_defaults_of_maintenance_and_0_is_never() {
    let (_, upkeep) = read_with_upkeep(&flags(), &UpkeepFlags::default()).unwrap();
    assert_eq!(upkeep.policy, Policy::default());
    assert_eq!(upkeep.every, Some(Duration::from_secs(600)));
    let given = UpkeepFlags {
        raw_days: Some("3".into()),
        maintain_every: Some("0s".into()),
        ..UpkeepFlags::default()
    };
    let (_, upkeep) = read_with_upkeep(&flags(), &given).unwrap();
    assert_eq!((upkeep.policy.raw_days, upkeep.every), (3, None));
    let wrong = UpkeepFlags { derived_days: Some("0".into()), ..UpkeepFlags::default() };
    assert!(read_with_upkeep(&flags(), &wrong).is_err());
}

#[test]
fn revisions_are_a_list_of_durations_that_may_be_empty() {
    let revise = |text: &str| {
        let flags = Flags { revise: Some(text.into()), ..flags() };
        read(&flags).map(|config| config.settings.revise_after_ns)
    };
    assert_eq!(revise("3m, 60s"), Ok(vec![60 * join::SECOND, 180 * join::SECOND]));
    assert_eq!(revise(""), Ok(Vec::new()));
    for wrong in ["1m,", "soon", "-1m", "0s"] {
        assert!(revise(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn all_mistakes_are_reported_together() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "wimdow = \"2s\"\n").unwrap();
    let flags = Flags {
        config: Some(file.path().to_owned()),
        window: Some("1500ms".into()),
        guard: Some("soon".into()),
        poll: Some("0s".into()),
        threads: Some("0".into()),
        ..Flags::default()
    };
    let Mistakes(mistakes) = read(&flags).unwrap_err();
    let about: Vec<_> = mistakes.iter().map(|m| m.split(':').next().unwrap()).collect();
    assert_eq!(about, ["window", "guard", "threads", "tables", "poll", "wimdow"]);
}
