//! What the Kubernetes watch tells: versions of objects.

use arrow::array::StringBuilder;

use super::{Common, columns};
use crate::observation::{ClusterObject, Row};

columns!(ClusterObjects {
    kind: StringBuilder,
    uid: StringBuilder,
    namespace: StringBuilder,
    name: StringBuilder,
    resource_version: StringBuilder,
    change: StringBuilder,
    body: StringBuilder,
});

impl ClusterObjects {
    pub(super) fn push(&mut self, o: &ClusterObject, row: &Row, common: &Common<'_>, hour: &str) {
        self.origin.push(common, row, hour);
        self.kind.append_value(o.kind);
        self.uid.append_value(&o.uid);
        self.namespace.append_value(o.namespace);
        self.name.append_value(&o.name);
        self.resource_version.append_value(&o.resource_version);
        self.change.append_value(o.change);
        self.body.append_value(&o.body);
    }
}
