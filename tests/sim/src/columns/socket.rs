//! The columns that tell of one socket: whose it is, and its two ends.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Builder, Int64Builder, StringBuilder};

use crate::address::End;
use crate::names::Pod;
use crate::observation::Role;
use crate::text::{self, BUFFER};

#[derive(Debug, Default)]
pub(super) struct Socket {
    netns_cookie: Int64Builder,
    cgroup_id: Int64Builder,
    pod_uid: StringBuilder,
    attributed_by: StringBuilder,
    socket_cookie: Int64Builder,
    role: StringBuilder,
    local_ip: StringBuilder,
    local_port: Int32Builder,
    remote_ip: StringBuilder,
    remote_port: Int32Builder,
}

impl Socket {
    pub(super) fn push(&mut self, pod: &Pod, cookie: i64, role: Role, local: End, remote: End) {
        let mut buffer = BUFFER;
        self.netns_cookie.append_value(pod.netns_cookie);
        self.cgroup_id.append_value(pod.cgroup_id);
        self.pod_uid.append_value(&pod.uid);
        self.attributed_by.append_value("netns");
        self.socket_cookie.append_value(cookie);
        self.role.append_value(match role {
            Role::Client => "client",
            Role::Server => "server",
        });
        self.local_ip.append_value(text::ip(local, &mut buffer));
        self.local_port.append_value(local.port.into());
        self.remote_ip.append_value(text::ip(remote, &mut buffer));
        self.remote_port.append_value(remote.port.into());
    }

    pub(super) fn finish(&mut self) -> [(&'static str, ArrayRef); 10] {
        [
            ("netns_cookie", Arc::new(self.netns_cookie.finish())),
            ("cgroup_id", Arc::new(self.cgroup_id.finish())),
            ("pod_uid", Arc::new(self.pod_uid.finish())),
            ("attributed_by", Arc::new(self.attributed_by.finish())),
            ("socket_cookie", Arc::new(self.socket_cookie.finish())),
            ("role", Arc::new(self.role.finish())),
            ("local_ip", Arc::new(self.local_ip.finish())),
            ("local_port", Arc::new(self.local_port.finish())),
            ("remote_ip", Arc::new(self.remote_ip.finish())),
            ("remote_port", Arc::new(self.remote_port.finish())),
        ]
    }
}
