//! What a commit says of itself in its metadata: enough to compute the same rows again.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value, json};

use crate::late::Counts;
use crate::pins::Pins;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The raw rows that it rests on.
    pub(crate) inputs: Pins,
    /// Start of the first window and end of the last, seconds.
    pub(crate) windows: Range<i64>,
    /// Windows that are revised, by their start in seconds, each with its new revision.
    pub(crate) revisions: BTreeMap<i64, i32>,
    /// All raw rows that were visible, where somebody goes on from there.
    pub(crate) seen: Pins,
    pub(crate) late: Counts,
    pub(crate) backfill: Option<Mark>,
}

/// How far a backfill has come, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Start of the first window that is not done.
    pub(crate) next: i64,
    /// Number of this backfill among those that changed anything, from 1.
    pub(crate) generation: i64,
}

impl Entry {
    pub(crate) fn to_text(&self) -> String {
        let mut fields = Map::new();
        fields.insert("inputs".into(), self.inputs.to_json());
        fields.insert("windows".into(), json!([self.windows.start, self.windows.end]));
        if !self.revisions.is_empty() {
            let revisions = self.revisions.iter().map(|(win, n)| (win.to_string(), json!(n)));
            fields.insert("revisions".into(), Value::Object(revisions.collect()));
        }
        if self.seen != Pins::default() {
            fields.insert("seen".into(), self.seen.to_json());
        }
        if !self.late.is_empty() {
            fields.insert("late".into(), json!(self.late));
        }
        if let Some(mark) = &self.backfill {
            fields.insert("backfill".into(), mark.to_json());
        }
        Value::Object(fields).to_string()
    }

    /// None where the text is of another form, such as that of an earlier release.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let windows = value["windows"].as_array()?;
        let revision = |(win, n): (&String, &Value)| {
            Some((win.parse().ok()?, i32::try_from(n.as_i64()?).ok()?))
        };
        let revisions = match value["revisions"].as_object() {
            Some(revisions) => revisions.iter().map(revision).collect::<Option<_>>()?,
            None => BTreeMap::new(),
        };
        Some(Self {
            inputs: Pins::from_json(&value["inputs"])?,
            windows: windows.first()?.as_i64()?..windows.get(1)?.as_i64()?,
            revisions,
            seen: Pins::from_json(&value["seen"]).unwrap_or_default(),
            late: serde_json::from_value(value["late"].clone()).unwrap_or_default(),
            backfill: Mark::from_json(&value["backfill"]),
        })
    }
}

impl Mark {
    fn to_json(self) -> Value {
        json!({
            "from": self.from,
            "to": self.to,
            "next": self.next,
            "generation": self.generation,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            from: value["from"].as_i64()?,
            to: value["to"].as_i64()?,
            next: value["next"].as_i64()?,
            generation: value["generation"].as_i64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_were_written() {
        let mut inputs = Pins::default();
        inputs.saw("raw_span", "collector-1", 9);
        let plain = Entry { inputs, windows: 10..30, ..Entry::default() };
        let revised = Entry { revisions: [(10, 1), (20, 3)].into(), ..plain.clone() };
        let mark = Mark { from: 0, to: 60, next: 30, generation: 2 };
        let mut seen = Pins::default();
        seen.saw("raw_span", "collector-1", 12);
        let counts = Counts::from([(10, [("raw_span".to_owned(), 2)].into())]);
        let late = Entry { seen, late: counts, ..Entry::default() };
        let filled = Entry { backfill: Some(mark), ..plain.clone() };
        for entry in [plain, revised, late, filled] {
            assert_eq!(Entry::from_text(&entry.to_text()), Some(entry));
        }
    }

    #[test]
    fn text_of_another_form_is_no_entry() {
        for text in ["", "{}", r#"{"inputs":{"collector-1":9},"windows":[10,20]}"#] {
            assert_eq!(Entry::from_text(text), None, "{text}");
        }
    }
}
