"""Network namespaces and the links between them. Both ends of each link are made inside the lab's
namespaces, so the machine's own network is never touched."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from . import constants

CLONE_NEWNET = 0x40000000
LISTEN_STATE = "0A"
LINK_NAME_LENGTH_MAX = 15
SWITCH = "tl-switch"
UPLINK = "tl-uplink"

_libc = ctypes.CDLL(None, use_errno=True)


def prefix(namespace: str) -> list[str]:
    """What runs a command in a namespace. Unlike `ip netns exec`, nsenter leaves the mounts alone:
    cgroups and BTF stay visible below /sys."""
    return ["nsenter", f"--net={constants.NETNS_DIR / namespace}", "--"]


@contextlib.contextmanager
def entered(namespace: str) -> Iterator[None]:
    """Moves this thread, and only this thread, into the namespace. Sockets made meanwhile belong to
    it for good."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(constants.NETNS_DIR / namespace, os.O_RDONLY)
    try:
        _setns(there)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(there)
        os.close(home)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"failed to enter a network namespace: {os.strerror(error)}")


def ip(*commands: str, namespace: str | None = None) -> None:
    """Runs lines of iproute2 commands, inside `namespace` when one is given."""
    inside = ["-n", namespace] if namespace else []
    done = subprocess.run(
        ["ip", *inside, "-batch", "-"], input="\n".join(commands), text=True, capture_output=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(inside)} failed: {done.stderr.strip()}; of {commands}")


def create(*names: str) -> None:
    ip(*[f"netns add {name}" for name in names])
    for name in names:
        ip("link set lo up", namespace=name)


def delete(name: str) -> None:
    ip(f"netns del {name}")


def write_sysctl(namespace: str, name: str, value: int) -> None:
    """/proc/sys/net shows the namespace of the thread that looks."""
    with entered(namespace):
        Path("/proc/sys/net", name).write_text(str(value))


def create_backbone() -> None:
    """The switch between nodes, control plane and collector, and the client outside."""
    create(constants.NETWORK, constants.CONTROL, constants.COLLECTOR, constants.CLIENT)
    ip(f"link add {SWITCH} type bridge", f"link set {SWITCH} up", namespace=constants.NETWORK)
    _attach_to_switch(constants.CONTROL, constants.CONTROL_IP)
    _attach_to_switch(constants.COLLECTOR, constants.COLLECTOR_IP)
    for node, cidr in constants.POD_CIDRS.items():
        ip(f"route add {cidr} via {constants.NODE_IPS[node]}", namespace=constants.COLLECTOR)


def create_node(node: str) -> None:
    """Routes, never bridges: the node forwards between its pods, the other nodes and the client."""
    namespace, address = constants.node_netns(node), constants.NODE_IPS[node]
    create(namespace)
    # A hairpin leaves by the link it came from; the node must not tell the pod of a shorter way.
    for scope in ("all", "default"):
        write_sysctl(namespace, f"ipv4/conf/{scope}/send_redirects", 0)
        write_sysctl(namespace, f"ipv4/conf/{scope}/rp_filter", 0)
    write_sysctl(namespace, "ipv4/ip_forward", 1)
    _attach_to_switch(namespace, address)
    if node == constants.EDGE_NODE:
        _attach_client(namespace, address)


def route_to_node(from_node: str, to_node: str) -> None:
    via = constants.NODE_IPS[to_node]
    ip(
        f"route add {constants.POD_CIDRS[to_node]} via {via}",
        namespace=constants.node_netns(from_node),
    )


def create_pod(pod: str, address: str, node_namespace: str) -> None:
    namespace, link = constants.pod_netns(pod), pod_link(pod)
    create(namespace)
    ip(
        f"link add {link} address {constants.POD_GATEWAY_MAC} type veth "
        f"peer name eth0 netns {namespace}",
        f"link set {link} up",
        f"route add {address}/32 dev {link}",
        namespace=node_namespace,
    )
    gateway = constants.POD_GATEWAY_IP
    ip(
        f"addr add {address}/32 dev eth0",
        "link set eth0 up",
        f"neigh add {gateway} lladdr {constants.POD_GATEWAY_MAC} dev eth0",
        f"route add {gateway} dev eth0 scope link",
        f"route add default via {gateway}",
        namespace=namespace,
    )


def pod_link(pod: str) -> str:
    """The node's end of a pod's link; the kernel limits its length."""
    name = f"tl-{pod}"
    if len(name) <= LINK_NAME_LENGTH_MAX:
        return name
    return f"tl-{hashlib.sha256(pod.encode()).hexdigest()[:12]}"


def listens(pid: int, port: int) -> bool:
    """Whether anything listens on a TCP port in the namespace of a process. It is read from the
    kernel, because a probe would be traffic that the product sees."""
    wanted = f"{port:04X}"
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{family}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == LISTEN_STATE and local.rpartition(":")[2] == wanted:
                return True
    return False


def _attach_to_switch(namespace: str, address: str) -> None:
    port = namespace[:LINK_NAME_LENGTH_MAX]
    ip(
        f"link add {port} type veth peer name {UPLINK} netns {namespace}",
        f"link set {port} master {SWITCH}",
        f"link set {port} up",
        namespace=constants.NETWORK,
    )
    ip(
        f"addr add {address}/{constants.NODE_NETWORK_LENGTH} dev {UPLINK}",
        f"link set {UPLINK} up",
        namespace=namespace,
    )


def _attach_client(namespace: str, node_address: str) -> None:
    length = constants.CLIENT_NETWORK_LENGTH
    ip(
        f"link add tl-edge type veth peer name tl-edge netns {constants.CLIENT}",
        f"addr add {constants.CLIENT_GATEWAY_IP}/{length} dev tl-edge",
        "link set tl-edge up",
        namespace=namespace,
    )
    ip(
        f"addr add {constants.CLIENT_IP}/{length} dev tl-edge",
        "link set tl-edge up",
        f"route add {node_address}/32 via {constants.CLIENT_GATEWAY_IP}",
        namespace=constants.CLIENT,
    )
