"""A node: a namespace that forwards, a real kube-proxy in it, and the Node object."""

from __future__ import annotations

import ipaddress
import itertools
import subprocess
from pathlib import Path

from . import cgroup, constants, netns
from .control import ControlPlane
from .parts import Parts
from .process import Process, spawn_in_netns
from .wait import until

READY_SECONDS = 60
KUBE_PROXY_HEALTH_PORT = 10256
RULES_COMMAND = {
    "iptables": ["iptables-save", "-t", "nat"],
    "nftables": ["nft", "list", "table", "ip", "kube-proxy"],
}


class Node:
    def __init__(self, name: str, control: ControlPlane, parts: Parts, mode: str, logs: Path):
        self.name = name
        self.ip = constants.NODE_IPS[name]
        self.netns = constants.node_netns(name)
        self._control = control
        self._parts = parts
        self._mode = mode
        self._logs = logs
        network = ipaddress.ip_network(constants.POD_CIDRS[name])
        # The first address of a pod range is by custom the node's.
        self._free_pod_ips = itertools.islice(network.hosts(), 1, None)
        self.proxy: Process | None = None

    def allocate_pod_ip(self) -> str:
        """An address is never given twice in a run."""
        return str(next(self._free_pod_ips))

    def start(self) -> None:
        netns.create_node(self.name)
        for other in constants.NODE_IPS:
            if other != self.name:
                netns.route_to_node(self.name, other)
        cgroup.create_node(self.name)
        self._post()
        self.proxy = spawn_in_netns(
            f"kube-proxy-{self.name}", self._proxy_command(), self.netns, self._logs
        )

    def wait_ready(self) -> None:
        """kube-proxy is ready when it answers on its health port and has written its chains."""

        def ready() -> bool:
            self.proxy.require_running()
            return (
                netns.listens(self.proxy.pid, KUBE_PROXY_HEALTH_PORT)
                and "KUBE" in self.rules().upper()
            )

        until(f"kube-proxy on {self.name} (see {self.proxy.log})", ready, READY_SECONDS)

    def rules(self) -> str:
        """What kube-proxy has programmed, as text."""
        command = [*netns.prefix(self.netns), *RULES_COMMAND[self._mode]]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    def _proxy_command(self) -> list[str]:
        return [
            str(self._parts.kubernetes / "kube-proxy"),
            f"--kubeconfig={self._control.kubeconfig('kube-proxy')}",
            f"--hostname-override={self.name}",
            f"--proxy-mode={self._mode}",
            f"--cluster-cidr={constants.CLUSTER_CIDR}",
            # The limit on conntrack entries belongs to the machine, not to a namespace.
            "--conntrack-max-per-core=0",
            "--iptables-min-sync-period=100ms",
            f"--healthz-bind-address=127.0.0.1:{KUBE_PROXY_HEALTH_PORT}",
            "--metrics-bind-address=127.0.0.1:10249",
        ]

    def _post(self) -> None:
        pod_cidr = constants.POD_CIDRS[self.name]
        self._control.api.create(
            "/api/v1/nodes",
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": self.name, "labels": {"kubernetes.io/hostname": self.name}},
                "spec": {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]},
            },
        )
        self._control.api.patch_status(
            f"/api/v1/nodes/{self.name}",
            {
                "addresses": [
                    {"type": "InternalIP", "address": self.ip},
                    {"type": "Hostname", "address": self.name},
                ],
                "conditions": [{"type": "Ready", "status": "True"}],
                "allocatable": {"pods": "110"},
                "capacity": {"pods": "110"},
            },
        )
