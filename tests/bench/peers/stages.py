"""The exact stages of the correlation as SQL, in the order in which they build on each other.

They do what the correlator does with exact evidence: both ends of a stream by tuple and sequence
number, translations looked up, calls put to requests by the proxy's line and by thread, spans put to
their exchange, and the hops of a request grouped with a list of them. Who owned an address at a time,
what coverage says of a missing end, ambiguity, verdicts and clocks are left out, and requests are
followed three hops deep: all of that is in the peers' favour.

A stage is a name, its query, and whether it is kept or planned into each stage that reads it.
"""

from dataclasses import dataclass

KEPT, PLANNED = True, False


@dataclass(frozen=True)
class Dialect:
    """What an engine writes in its own way."""

    first_attempt: str
    # First group of a regular expression in the body of a cluster object.
    found: str
    # The server exchange that was open on the thread of each call, as `cid`, `sid`.
    by_thread: str
    # A list of a path's hops in their order, and the rows that it is made of.
    hops_of_path: str
    rows_of_path: str


def stages(dialect):
    return [
        ("pods", OBJECTS.format(kind="pod", field=dialect.found % '"node_name":"([^"]*)"'), KEPT),
        ("services", OBJECTS.format(kind="service", field=dialect.found % r'"cluster_ips":\["([^"]*)"'), KEPT),
        ("servers", SERVERS, KEPT),
        ("bindings", BINDINGS, KEPT),
        ("clients", CLIENTS, KEPT),
        ("legs", LEGS, KEPT),
        ("entries", ENTRIES, KEPT),
        ("lines", LINES.format(attempt=dialect.first_attempt), PLANNED),
        ("line_of_entry", LINE_OF_ENTRY, KEPT),
        ("by_line", BY_LINE, PLANNED),
        ("by_thread", dialect.by_thread, PLANNED),
        ("relays", RELAYS, KEPT),
        ("second", SECOND, KEPT),
        ("third", THIRD, PLANNED),
        ("tree", TREE, KEPT),
        ("traces", TRACES, KEPT),
        ("hop", HOP, KEPT),
        ("path", PATH.format(hops=dialect.hops_of_path, rows_of_path=dialect.rows_of_path), PLANNED),
    ]


OBJECTS = """
select uid, name, namespace, field from (
  select uid, name, namespace, {field} as field,
         row_number() over (partition by uid order by event_ns desc) as newest
  from raw_cluster_object where kind = '{kind}') as versions where newest = 1
"""

SERVERS = """
select row_number() over () as sid, node, pod_uid, thread, local_ip, local_port, remote_ip,
       remote_port, tcp_seq_req, tcp_seq_resp, start_ns, end_ns, bytes_request, bytes_response
from raw_exchange where role = 'server'
"""

BINDINGS = """
select original_source_ip, original_source_port, original_destination_ip,
       original_destination_port, reply_source_ip, reply_source_port, reply_destination_ip,
       reply_destination_port, min(node) as nat_node, min(first_seen_ns) as first_seen_ns
from raw_nat_binding group by 1, 2, 3, 4, 5, 6, 7, 8
"""

# The tuple of each call as its server sees it.
CLIENTS = """
select row_number() over () as cid, c.node, c.pod_uid, c.thread, c.local_ip, c.local_port,
       c.remote_ip, c.remote_port, c.tcp_seq_req, c.tcp_seq_resp, c.start_ns, c.end_ns,
       c.bytes_request, c.bytes_response, b.nat_node,
       coalesce(b.reply_destination_ip, c.local_ip) as peer_ip,
       coalesce(b.reply_destination_port, c.local_port) as peer_port,
       coalesce(b.reply_source_ip, c.remote_ip) as server_ip,
       coalesce(b.reply_source_port, c.remote_port) as server_port
from raw_exchange c left join bindings b
  on b.original_source_ip = c.local_ip and b.original_source_port = c.local_port
 and b.original_destination_ip = c.remote_ip and b.original_destination_port = c.remote_port
where c.role = 'client'
"""

LEGS = """
select c.cid, s.sid
from clients c join servers s
  on c.tcp_seq_req = s.tcp_seq_req and c.tcp_seq_resp = s.tcp_seq_resp
 and c.peer_ip = s.remote_ip and c.peer_port = s.remote_port
 and c.server_ip = s.local_ip and c.server_port = s.local_port
"""

# Requests from outside: no client of the cluster, and a translation that leads to one outside.
ENTRIES = """
select s.sid, b.original_source_ip, b.original_source_port, b.original_destination_ip,
       b.original_destination_port, b.nat_node
from servers s left join legs l on l.sid = s.sid
join bindings b
  on b.reply_source_ip = s.local_ip and b.reply_source_port = s.local_port
 and b.reply_destination_ip = s.remote_ip and b.reply_destination_port = s.remote_port
where l.sid is null and b.original_source_ip like 'ext-%'
"""

LINES = """
select emitter_ip, remote_ip, request_id, method, route, status, bytes_received, end_lo_ns,
       end_hi_ns, duration_ns, duration_error_ns, {attempt}['ip'] as upstream_ip,
       {attempt}['port'] as upstream_port
from raw_access_log
"""

LINE_OF_ENTRY = """
select * from (
  select s.sid, s.pod_uid, s.start_ns, s.end_ns, l.request_id, l.method, l.route, l.status,
         l.upstream_ip, l.upstream_port,
         row_number() over (partition by s.sid
                            order by abs(s.end_ns - s.start_ns - l.duration_ns)) as nearest
  from entries e join servers s on s.sid = e.sid join lines l
    on l.emitter_ip = s.local_ip and l.remote_ip = s.remote_ip
   and l.bytes_received = s.bytes_request
  where s.end_ns between l.end_lo_ns - 2000000 and l.end_hi_ns + 2000000
    and abs(s.end_ns - s.start_ns - l.duration_ns) <= l.duration_error_ns + 2000000) as candidates
where nearest = 1
"""

BY_LINE = """
select cid, sid from (
  select c.cid, l.sid, row_number() over (partition by c.cid order by l.start_ns desc) as nearest
  from clients c join line_of_entry l
    on l.pod_uid = c.pod_uid and l.upstream_ip = c.remote_ip and l.upstream_port = c.remote_port
  where c.start_ns >= l.start_ns and c.end_ns <= l.end_ns) as candidates
where nearest = 1
"""

BY_THREAD_ASOF = """
select c.cid, s.sid
from clients c asof join servers s
  on c.pod_uid = s.pod_uid and c.thread = s.thread and c.start_ns >= s.start_ns
where s.end_ns >= c.end_ns
"""

BY_THREAD_WINDOW = """
select cid, sid from (
  select cid, end_ns,
         last_value(sid) ignore nulls over w as sid,
         last_value(server_end_ns) ignore nulls over w as server_end_ns
  from (select cast(null as bigint) as cid, sid, pod_uid, thread, start_ns, end_ns,
               end_ns as server_end_ns, 0 as turn from servers
        union all
        select cid, null, pod_uid, thread, start_ns, end_ns, null, 1 from clients) as turns
  window w as (partition by pod_uid, thread order by start_ns, turn
               rows between unbounded preceding and current row)) as open
where cid is not null and server_end_ns >= end_ns
"""

# The server exchange that caused each call: the proxy's own word first.
RELAYS = """
select l.cid, l.sid, coalesce(b.sid, t.sid) as parent_sid, b.sid is not null as by_line
from legs l left join by_line b on b.cid = l.cid left join by_thread t on t.cid = l.cid
"""

SECOND = """
select r.cid, r.sid, r.parent_sid, e.sid as root, r.by_line
from relays r join entries e on e.sid = r.parent_sid
"""

THIRD = """
select r.cid, r.sid, r.parent_sid, s.root, r.by_line
from relays r join second s on s.sid = r.parent_sid
"""

TREE = """
select *, row_number() over (partition by root order by depth, sid) - 1 as position from (
  select cast(null as bigint) as cid, sid, cast(null as bigint) as parent_sid, sid as root,
         0 as depth, false as by_line from entries
  union all select cid, sid, parent_sid, root, 1, by_line from second
  union all select cid, sid, parent_sid, root, 2, by_line from third) as levels
"""

TRACES = """
select s.sid, p.trace_id
from raw_span p join servers s
  on p.pod_uid = s.pod_uid and p.peer_ip = s.remote_ip and p.peer_port = s.remote_port
where p.kind = 'server' and p.start_ns >= s.start_ns - 1000000 and p.end_ns <= s.end_ns + 1000000
"""

HOP = """
select md5(concat(a.local_ip, ':', a.local_port, '-', a.remote_ip, ':', a.remote_port, '-',
                  a.tcp_seq_req, '-', a.start_ns)) as path_id,
       t.position, p.position as parent,
       case when t.depth = 0 then 'edge' when t.by_line then 'ingress' else 'service' end as kind,
       c.pod_uid as source_pod_uid, cp.name as source_pod, cp.namespace as source_namespace,
       c.node as source_node, coalesce(c.local_ip, e.original_source_ip) as source_ip,
       coalesce(c.local_port, e.original_source_port) as source_port,
       coalesce(c.remote_ip, e.original_destination_ip) as requested_ip,
       coalesce(c.remote_port, e.original_destination_port) as requested_port,
       v.name as service, v.namespace as service_namespace,
       s.pod_uid as destination_pod_uid, sp.name as destination_pod,
       sp.namespace as destination_namespace, s.node as destination_node,
       s.local_ip as destination_ip, s.local_port as destination_port,
       case when c.nat_node is not null then 'dnat'
            when e.nat_node is not null then 'dnat+snat' else 'none' end as nat,
       coalesce(c.nat_node, e.nat_node) as nat_node,
       coalesce(c.start_ns, s.start_ns) as start_ns, coalesce(c.end_ns, s.end_ns) as end_ns,
       (c.end_ns - c.start_ns) - (s.end_ns - s.start_ns) as network_ns,
       s.end_ns - s.start_ns as server_ns, s.bytes_request, s.bytes_response,
       s.tcp_seq_req, t.root
from tree t join servers s on s.sid = t.sid join servers a on a.sid = t.root
left join clients c on c.cid = t.cid
left join entries e on e.sid = t.sid
left join tree p on p.sid = t.parent_sid
left join pods cp on cp.uid = c.pod_uid
left join pods sp on sp.uid = s.pod_uid
left join services v on v.field = c.remote_ip
"""

PATH = """
select h.path_id, l.request_id, r.trace_id, l.method, l.route, l.status, h.start_ns, h.end_ns,
       h.end_ns - h.start_ns as duration_ns, h.hop_count, h.hops
from (
  select root, min(path_id) as path_id, min(start_ns) as start_ns, max(end_ns) as end_ns,
         count(*) as hop_count, {hops} as hops
  from {rows_of_path} group by root) as h
left join line_of_entry l on l.sid = h.root
left join (
  select t.root, min(x.trace_id) as trace_id from traces x join tree t on t.sid = x.sid group by 1
) as r on r.root = h.root
"""

HOP_FIELDS = """position parent kind source_pod source_node source_ip source_port requested_ip
requested_port service destination_pod destination_node destination_ip destination_port nat
nat_node start_ns end_ns""".split()

DUCKDB = Dialect(
    first_attempt="attempts[1]",
    found="regexp_extract(body, '%s', 1)",
    by_thread=BY_THREAD_ASOF,
    hops_of_path="list({"
    + ", ".join(f"'{name}': {name}" for name in HOP_FIELDS)
    + "} order by position)",
    rows_of_path="hop",
)

# An ordered aggregation of structs takes a minute and gigabytes for some thousand paths, so the rows
# are brought in order before.
DATAFUSION = Dialect(
    first_attempt="attempts[1]",
    found="regexp_match(body, '%s')[1]",
    by_thread=BY_THREAD_WINDOW,
    hops_of_path="array_agg(named_struct("
    + ", ".join(f"'{name}', {name}" for name in HOP_FIELDS)
    + "))",
    rows_of_path="(select * from hop order by root, position) as ordered",
)
