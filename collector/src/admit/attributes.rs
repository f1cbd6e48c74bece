//! Typed access to OTLP attributes by name. Only names that someone asks for can pass.

use std::collections::BTreeMap;
use std::net::IpAddr;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

/// Attributes of one span or resource.
pub(super) struct Attributes<'a> {
    values: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(attributes: &'a [KeyValue]) -> Self {
        let values = attributes
            .iter()
            .filter_map(|pair| Some((pair.key.as_str(), pair.value.as_ref()?.value.as_ref()?)))
            .collect();
        Self { values }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.values.keys().copied()
    }

    pub(super) fn has(&self, prefixes: &[&str]) -> bool {
        self.values.keys().any(|key| prefixes.iter().any(|prefix| key.starts_with(prefix)))
    }

    /// The first of these names that holds text; of a list, its first element.
    pub(super) fn text(&self, names: &[&str]) -> Option<&'a str> {
        names.iter().find_map(|name| match *self.values.get(name)? {
            Value::StringValue(text) => Some(text.as_str()),
            Value::ArrayValue(list) => list.values.iter().find_map(text_of),
            _ => None,
        })
    }

    /// The first of these names that holds a number, as such or in digits: some SDKs write text.
    pub(super) fn integer(&self, names: &[&str]) -> Option<i64> {
        names.iter().find_map(|name| match self.values.get(name)? {
            Value::IntValue(value) => Some(*value),
            Value::StringValue(text) => text.parse().ok(),
            _ => None,
        })
    }

    pub(super) fn port(&self, names: &[&str]) -> Option<i32> {
        let port = u16::try_from(self.integer(names)?).ok()?;
        (port != 0).then_some(i32::from(port))
    }

    /// The first of these names that holds an address. Host names are no addresses.
    pub(super) fn address(&self, names: &[&str]) -> Option<IpAddr> {
        names.iter().find_map(|name| match self.values.get(name)? {
            Value::StringValue(text) => text.trim_matches(['[', ']']).parse().ok(),
            _ => None,
        })
    }
}

fn text_of(value: &AnyValue) -> Option<&str> {
    match value.value.as_ref()? {
        Value::StringValue(text) => Some(text.as_str()),
        _ => None,
    }
}
