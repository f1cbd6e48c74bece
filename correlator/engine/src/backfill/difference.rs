//! `backfill --diff`: the paths that a backfill would change, without changing any.

use std::collections::BTreeMap;
use std::ops::Range;

use join::Stage;

use super::Past;
use crate::correlation::{Feed, compute};
use crate::output::Output;
use crate::{Config, EngineError};

/// What would become of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Comes,
    Goes,
    Changes,
}

/// Tells each path that a backfill of the range would change, and counts them.
///
/// # Errors
/// When tables can't be read.
pub async fn differences(
    config: &Config,
    range: Range<i64>,
    mut tell: impl FnMut(Change, &str),
) -> Result<usize, EngineError> {
    let mut past = Past::open(config, range).await?;
    let output = Output::open(&past.store, &config.job).await?;
    let mut changes = 0;
    for windows in past.runs() {
        let current = output.current_paths(&windows).await?;
        let feed = Feed::anew(&mut past.input, None, &config.settings);
        let computed = compute(feed, windows, Stage::Final).await?;
        let new = computed.into_iter().flat_map(|window| window.paths);
        let new = new.map(|path| (path.path_id.clone(), path)).collect();
        for (change, path_id) in difference(&current, &new) {
            tell(change, path_id);
            changes += 1;
        }
    }
    Ok(changes)
}

type Paths = BTreeMap<String, tables::Path>;

fn difference<'a>(current: &'a Paths, new: &'a Paths) -> Vec<(Change, &'a str)> {
    let gone =
        current.keys().filter(|id| !new.contains_key(*id)).map(|id| (Change::Goes, id.as_str()));
    let changed = new.iter().filter_map(|(id, path)| match current.get(id) {
        None => Some((Change::Comes, id.as_str())),
        Some(old) if says_the_same(old, path) => None,
        Some(_) => Some((Change::Changes, id.as_str())),
    });
    gone.chain(changed).collect()
}

/// A path that only became final says what it said before.
fn says_the_same(old: &tables::Path, new: &tables::Path) -> bool {
    let aged = tables::Path {
        stage: new.stage.clone(),
        revision: new.revision,
        finality: new.finality.clone(),
        ..old.clone()
    };
    aged == *new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(id: &str, stage: &str, status: i32) -> (String, tables::Path) {
        let path = tables::Path {
            path_id: id.into(),
            stage: stage.into(),
            status: Some(status),
            ..Default::default()
        };
        (id.to_owned(), path)
    }

    #[test]
    fn paths_that_come_go_or_change_are_listed_and_those_that_age_are_not() {
        let current = Paths::from([
            path("aged", "P", 200),
            path("changed", "P", 200),
            path("gone", "P", 200),
        ]);
        let new =
            Paths::from([path("aged", "F", 200), path("changed", "F", 502), path("new", "F", 200)]);
        let expected =
            [(Change::Goes, "gone"), (Change::Changes, "changed"), (Change::Comes, "new")];
        assert_eq!(difference(&current, &new), expected);
    }
}
