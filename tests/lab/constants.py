"""Addresses and names of the lab: fixed, so that parts which are built apart fit together."""

from pathlib import Path

STATE_DIR = Path("/run/throughline-lab")
"""Lock and state of the one lab that a machine can hold."""

NETNS_DIR = Path("/run/netns")
CGROUP_TREE = "tl-lab"

NETWORK, CONTROL, COLLECTOR, CLIENT = "tl-net", "tl-control", "tl-collector", "tl-client"
"""Namespaces beside the nodes' and pods': the switch between nodes, the control plane, the
product's collector and correlator, and the client outside of the cluster."""

NODE_NETWORK_LENGTH = 24
CONTROL_IP = "10.89.0.2"
COLLECTOR_IP = "10.89.0.3"
API_PORT = 6443
NODE_IPS = {"node-1": "10.89.0.11", "node-2": "10.89.0.12"}
POD_CIDRS = {"node-1": "10.244.1.0/24", "node-2": "10.244.2.0/24"}
CLUSTER_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"

EDGE_NODE = "node-1"
"""The only node that the outside client has a link to."""
CLIENT_IP = "198.18.0.2"
CLIENT_GATEWAY_IP = "198.18.0.1"
CLIENT_NETWORK_LENGTH = 30
NODE_PORT = 30080

POD_GATEWAY_IP = "169.254.1.1"
"""Every pod has a /32 address and one neighbour, its node: each packet, also one between two pods
of a node, passes the node's routing and therefore kube-proxy's rules. A bridge would need
br_netfilter and hairpin mode for that."""
POD_GATEWAY_MAC = "02:74:6c:00:00:01"

OTLP_GRPC_PORT, OTLP_HTTP_PORT, AGENT_PORT, SYSLOG_PORT = 4317, 4318, 4319, 5514


def node_netns(node: str) -> str:
    return f"tl-{node}"


def pod_netns(pod: str) -> str:
    return f"tl-pod-{pod}"
