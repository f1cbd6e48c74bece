//! The columns that parquet has for the columns of a batch: one for each field at the end of lists
//! and structs.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use parquet::schema::types::ColumnPath;

/// The columns that parquet has for a schema, with the fields that they hold.
pub(super) fn leaves(schema: &Schema) -> Vec<(ColumnPath, FieldRef)> {
    schema.fields().iter().flat_map(leaves_of).collect()
}

/// The same for one of its fields.
pub(super) fn leaves_of(field: &FieldRef) -> Vec<(ColumnPath, FieldRef)> {
    let mut leaves = Vec::new();
    collect(field, &mut vec![field.name().clone()], &mut leaves);
    leaves
}

fn collect(field: &FieldRef, path: &mut Vec<String>, leaves: &mut Vec<(ColumnPath, FieldRef)>) {
    match field.data_type() {
        DataType::List(element) => {
            // With types coerced, lists have the names that parquet's standard gives them.
            path.extend(["list".to_owned(), "element".to_owned()]);
            collect(element, path, leaves);
            path.truncate(path.len() - 2);
        }
        DataType::Struct(fields) => {
            for field in fields {
                path.push(field.name().clone());
                collect(field, path, leaves);
                path.pop();
            }
        }
        _ => leaves.push((ColumnPath::new(path.clone()), field.clone())),
    }
}

/// Whether no list and no struct within a field may be null.
pub(super) fn is_all_there(field: &Field) -> bool {
    match field.data_type() {
        DataType::List(element) => !field.is_nullable() && is_all_there(element),
        DataType::Struct(fields) => {
            !field.is_nullable() && fields.iter().all(|field| is_all_there(field))
        }
        _ => true,
    }
}

/// Values at the end of lists that are all there.
#[derive(Clone)]
pub(super) struct Leaf {
    /// The outermost first.
    pub(super) lists: Vec<OffsetBuffer<i32>>,
    pub(super) values: ArrayRef,
    pub(super) is_nullable: bool,
}

impl Leaf {
    /// The leaves of a column in which all lists and structs are there.
    pub(super) fn of(field: &Field, array: &ArrayRef) -> Vec<Self> {
        let mut leaves = Vec::new();
        gather(field, array, &mut Vec::new(), &mut leaves);
        leaves
    }

    /// Which of the values the rows have.
    pub(super) fn range(&self, rows: usize) -> Range<usize> {
        let of_lists = |range: Range<usize>, lists: &OffsetBuffer<i32>| {
            lists[range.start] as usize..lists[range.end] as usize
        };
        self.lists.iter().fold(0..rows, of_lists)
    }

    /// The same as a column of its own.
    pub(super) fn column(self) -> (Field, ArrayRef) {
        let Self { lists, values, is_nullable } = self;
        let field = Field::new("element", values.data_type().clone(), is_nullable);
        lists.into_iter().rev().fold((field, values), |(element, values), offsets| {
            let list = ListArray::new(Arc::new(element), offsets, values, None);
            (Field::new("element", list.data_type().clone(), false), Arc::new(list))
        })
    }
}

fn gather(
    field: &Field,
    array: &ArrayRef,
    lists: &mut Vec<OffsetBuffer<i32>>,
    leaves: &mut Vec<Leaf>,
) {
    match field.data_type() {
        DataType::List(element) => {
            let list = array.as_list::<i32>();
            lists.push(list.offsets().clone());
            gather(element, list.values(), lists, leaves);
            lists.pop();
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            fields.iter().zip(columns).for_each(|(f, array)| gather(f, array, lists, leaves));
        }
        _ => {
            let (lists, values) = (lists.clone(), array.clone());
            leaves.push(Leaf { lists, values, is_nullable: field.is_nullable() });
        }
    }
}
