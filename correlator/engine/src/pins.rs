//! Which raw rows a result rests on: inputs are pinned, so that the same rows can be read again.
//!
//! A collector writes each raw table in the order of its spool. What was visible at a moment is
//! therefore one position for each table and collector, and reading up to it again gives the same
//! rows, whatever has come since.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// For each raw table and collector, the highest position in its spool of the rows that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pins(BTreeMap<String, BTreeMap<String, i64>>);

impl Pins {
    pub(crate) fn saw(&mut self, table: &str, collector: &str, ingest_seq: i64) {
        if let Some(highest) = self.0.get_mut(table).and_then(|t| t.get_mut(collector)) {
            *highest = ingest_seq.max(*highest);
            return;
        }
        self.0.entry(table.to_owned()).or_default().insert(collector.to_owned(), ingest_seq);
    }

    /// Whether a row was among those that were visible.
    pub(crate) fn admit(&self, table: &str, collector: &str, ingest_seq: i64) -> bool {
        let highest = self.0.get(table).and_then(|table| table.get(collector));
        highest.is_some_and(|highest| ingest_seq <= *highest)
    }

    /// The pins of both: of two reads at one moment.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (table, collectors) in &other.0 {
            for (collector, ingest_seq) in collectors {
                self.saw(table, collector, *ingest_seq);
            }
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!(self.0)
    }

    /// None where the text is of another form.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let table = |(name, value): (&String, &Value)| {
            let positions: Option<BTreeMap<String, i64>> = value
                .as_object()?
                .iter()
                .map(|(collector, seq)| Some((collector.clone(), seq.as_i64()?)))
                .collect();
            Some((name.clone(), positions?))
        };
        let tables: &Map<String, Value> = value.as_object()?;
        tables.iter().map(table).collect::<Option<BTreeMap<_, _>>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(seen: &[(&str, &str, i64)]) -> Pins {
        let mut pins = Pins::default();
        for (table, collector, seq) in seen {
            pins.saw(table, collector, *seq);
        }
        pins
    }

    #[test]
    fn pins_keep_the_highest_position_of_each_table_and_collector() {
        let all = pins(&[("span", "a", 3), ("span", "b", 9), ("span", "a", 7), ("span", "a", 5)]);
        assert_eq!(all, pins(&[("span", "a", 7), ("span", "b", 9)]));
        let mut merged = all.clone();
        merged.merge(&pins(&[("log", "a", 1), ("span", "a", 8)]));
        assert_eq!(merged, pins(&[("log", "a", 1), ("span", "a", 8), ("span", "b", 9)]));
    }

    #[test]
    fn only_rows_up_to_the_pin_of_their_table_and_collector_are_admitted() {
        let pins = pins(&[("span", "a", 7)]);
        assert!(pins.admit("span", "a", 7));
        assert!(!pins.admit("span", "a", 8));
        assert!(!pins.admit("span", "b", 1));
        assert!(!pins.admit("log", "a", 1));
    }

    #[test]
    fn pins_are_read_as_they_were_written() {
        let pins = pins(&[("span", "a", 7), ("log", "b", 2)]);
        assert_eq!(Pins::from_json(&pins.to_json()), Some(pins));
        assert_eq!(Pins::from_json(&json!({"collector-1": 7})), None);
    }
}
