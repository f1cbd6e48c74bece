//! Arrow columns of one batch by name. Texts may be plain or dictionary-encoded; of a dictionary,
//! each value is looked at once.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Int32Type};

/// A raw table's batch is not what the join can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column} of {table} is {problem}")]
pub struct ColumnError {
    table: &'static str,
    column: &'static str,
    problem: &'static str,
}

/// One batch of one raw table.
pub(super) struct Batch<'a> {
    pub(super) table: &'static str,
    pub(super) batch: &'a RecordBatch,
}

impl<'a> Batch<'a> {
    fn column(&self, column: &'static str) -> Result<&'a ArrayRef, ColumnError> {
        let found = self.batch.column_by_name(column);
        found.ok_or_else(|| self.error(column, "missing"))
    }

    pub(super) fn error(&self, column: &'static str, problem: &'static str) -> ColumnError {
        ColumnError { table: self.table, column, problem }
    }

    fn typed<A: Array + 'static>(&self, column: &'static str) -> Result<&'a A, ColumnError> {
        let array = self.column(column)?.as_any().downcast_ref::<A>();
        array.ok_or_else(|| self.error(column, "of another type"))
    }

    pub(super) fn longs(&self, column: &'static str) -> Result<&'a Int64Array, ColumnError> {
        self.typed(column)
    }

    pub(super) fn ints(&self, column: &'static str) -> Result<&'a Int32Array, ColumnError> {
        self.typed(column)
    }

    pub(super) fn flags(&self, column: &'static str) -> Result<&'a BooleanArray, ColumnError> {
        self.typed(column)
    }

    /// One value a row: what `read` makes of its text, `absent` where there is none.
    pub(super) fn texts<T: Copy>(
        &self,
        column: &'static str,
        absent: T,
        mut read: impl FnMut(&str) -> T,
    ) -> Result<Vec<T>, ColumnError> {
        let array = self.column(column)?;
        match array.data_type() {
            DataType::Utf8 => Ok(plain(array.as_string::<i32>(), absent, read)),
            DataType::Dictionary(_, _) => {
                let dictionary = array
                    .as_dictionary_opt::<Int32Type>()
                    .ok_or_else(|| self.error(column, "a dictionary with other keys"))?;
                let values = dictionary.values().as_string_opt::<i32>();
                let values =
                    values.ok_or_else(|| self.error(column, "a dictionary of no texts"))?;
                let values: Vec<T> =
                    values.iter().map(|text| text.map_or(absent, &mut read)).collect();
                let value = |key: Option<i32>| {
                    let value = key.and_then(|k| values.get(usize::try_from(k).ok()?));
                    value.copied().unwrap_or(absent)
                };
                Ok(dictionary.keys().iter().map(value).collect())
            }
            _ => Err(self.error(column, "no text")),
        }
    }
}

/// Rows that follow each other often say the same.
fn plain<T: Copy>(texts: &StringArray, absent: T, mut read: impl FnMut(&str) -> T) -> Vec<T> {
    let mut last: Option<(&str, T)> = None;
    let mut values = Vec::with_capacity(texts.len());
    for row in 0..texts.len() {
        let text = texts.is_valid(row).then(|| texts.value(row));
        values.push(match (text, last) {
            (None, _) => absent,
            (Some(text), Some((known, value))) if text == known => value,
            (Some(text), _) => {
                let value = read(text);
                last = Some((texts.value(row), value));
                value
            }
        });
    }
    values
}

/// Value of a row, `None` where the column has none.
pub(super) fn long(array: &Int64Array, row: usize) -> Option<i64> {
    array.is_valid(row).then(|| array.value(row))
}

pub(super) fn int(array: &Int32Array, row: usize) -> Option<i32> {
    array.is_valid(row).then(|| array.value(row))
}
