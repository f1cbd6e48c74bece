//! `raw_cluster_object`: versions of pods, services, endpointslices and nodes.

super::raw_row! {
    /// Event time is when the collector saw the version. A full snapshot is written at start and
    /// each hour, so that a window needs only the snapshot before it and the changes since.
    ClusterObject, table = "raw_cluster_object", statistics = [], bloom = []
    {
        /// `pod`, `service`, `endpointslice` or `node`.
        kind: String,
        uid: String,
        namespace: String,
        name: String,
        /// The API server's version of the object.
        resource_version: String,
        /// `added`, `modified`, `deleted` or `snapshot`.
        change: String,
        /// JSON of the allow-listed fields: `tables::cluster::{Pod, Service, EndpointSlice, Node}`.
        body: String,
    }
}
