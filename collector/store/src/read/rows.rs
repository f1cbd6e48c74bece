//! Which rows of a file are decoded: the columns that say so are looked at first, and of the others
//! only what is left.

use std::collections::BTreeSet;
use std::ops::Range;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::kernels::cmp::{gt, gt_eq, lt};
use arrow::compute::kernels::numeric::sub_wrapping;
use arrow::compute::{and, or};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicate, ArrowPredicateFn};
use parquet::schema::types::SchemaDescriptor;

use super::Wanted;
use crate::file::FileRef;

/// What rows are left out by, as far as the file has rows to leave out.
pub(super) fn predicates(
    file: &FileRef,
    root: &SchemaDescriptor,
    wanted: &Wanted,
) -> Vec<Box<dyn ArrowPredicate>> {
    let mut predicates: Vec<Box<dyn ArrowPredicate>> = Vec::new();
    let mut push = |columns: &[&str], holds: Holds| {
        let mask = ProjectionMask::columns(root, columns.iter().copied());
        predicates.push(Box::new(ArrowPredicateFn::new(mask, holds)));
    };
    for (column, range) in &wanted.within {
        let holds_for_all = file
            .stats
            .get(*column)
            .is_some_and(|of_file| range.start <= of_file.min && of_file.max < range.end);
        if holds_for_all {
            continue;
        }
        let range = range.clone();
        push(&[column], Box::new(move |batch| is_within(&batch, &range)));
    }
    if let Some((from, to, least)) = wanted.apart {
        push(&[from, to], Box::new(move |batch| is_apart(&batch, from, to, least)));
    }
    if !wanted.any_of.is_empty() {
        let columns: Vec<&str> = wanted.any_of.iter().map(|(column, _)| *column).collect();
        let any_of = wanted.any_of.clone();
        push(
            &columns,
            Box::new(move |batch| {
                let mut any = BooleanArray::from(vec![false; batch.num_rows()]);
                for (column, texts) in &any_of {
                    // A column that a file of an older release lacks says nothing.
                    if let Some(values) = batch.column_by_name(column) {
                        any = or(&any, &is_among(values, texts))?;
                    }
                }
                Ok(any)
            }),
        );
    }
    predicates
}

type Holds = Box<dyn FnMut(RecordBatch) -> Result<BooleanArray, ArrowError> + Send>;

fn is_within(batch: &RecordBatch, range: &Range<i64>) -> Result<BooleanArray, ArrowError> {
    let values = batch.column(0).as_primitive::<Int64Type>();
    let from = Int64Array::new_scalar(range.start);
    let to = Int64Array::new_scalar(range.end);
    and(&gt_eq(values, &from)?, &lt(values, &to)?)
}

fn is_apart(
    batch: &RecordBatch,
    from: &str,
    to: &str,
    least: i64,
) -> Result<BooleanArray, ArrowError> {
    let column = |name: &str| {
        let missing = || ArrowError::SchemaError(format!("no column {name}"));
        batch.column_by_name(name).cloned().ok_or_else(missing)
    };
    let apart = sub_wrapping(&column(to)?, &column(from)?)?;
    gt(&apart, &Int64Array::new_scalar(least))
}

/// Whether each text is one of these. No text is none of them.
fn is_among(values: &dyn Array, texts: &BTreeSet<String>) -> BooleanArray {
    let has = |text: Option<&str>| Some(text.is_some_and(|text| texts.contains(text)));
    if let DataType::Dictionary(_, _) = values.data_type() {
        let dictionary = values.as_dictionary::<Int32Type>();
        let known = is_among(dictionary.values(), texts);
        let keys = dictionary.keys().iter();
        return keys.map(|key| Some(key.is_some_and(|key| known.value(key as usize)))).collect();
    }
    match values.as_string_opt::<i32>() {
        Some(values) => values.iter().map(has).collect(),
        None => BooleanArray::from(vec![false; values.len()]),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, StringArray};

    use super::*;

    fn check(values: &dyn Array, wanted: &[&str], expected: &[bool]) {
        let texts = wanted.iter().map(|&text| text.to_owned()).collect();
        let found: Vec<bool> = is_among(values, &texts).iter().flatten().collect();
        assert_eq!(found, expected, "{wanted:?}");
    }

    #[test]
    fn text_is_among_others_however_it_is_encoded_and_no_text_is_not() {
        let texts = [Some("a"), None, Some("b"), Some("a")];
        check(&StringArray::from(texts.to_vec()), &["a", "c"], &[true, false, false, true]);
        let dictionary: DictionaryArray<Int32Type> = texts.into_iter().collect();
        check(&dictionary, &["a", "c"], &[true, false, false, true]);
        check(&dictionary, &[], &[false; 4]);
    }

    #[test]
    fn integers_are_apart_by_more_than_the_least() {
        let column = |values: [i64; 3]| Arc::new(Int64Array::from(values.to_vec())) as Arc<_>;
        let columns = [("from", column([0, 10, 5])), ("to", column([30, 40, 36]))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let found = is_apart(&batch, "from", "to", 30).unwrap();
        assert_eq!(found, BooleanArray::from(vec![false, false, true]));
        assert!(is_apart(&batch, "from", "until", 30).is_err());
    }
}
