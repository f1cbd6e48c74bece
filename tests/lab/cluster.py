"""The lab as one object: what tests, the demo and the shop program against.

    with Cluster("iptables", workdir) as cluster:        # or .up() and .down()
        address = cluster.create_service("cart", "shop", {"app": "cart"}, 80, 8080)
        pod = cluster.start_pod("cart-0", "shop", "node-1", {"app": "cart"},
                                [cluster.python, "-m", "lab.shop.cart"], port=8080)
        cluster.wait_endpoints("cart", 1)
        cluster.wait_proxy_programmed()
        cluster.client_exec(["curl", "http://10.89.0.11:30080/"])

One machine holds one lab. `up()` waits for another one to end, then removes whatever a crash left.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import cleanup, constants, lock, netns
from .control import ControlPlane
from .node import Node
from .parts import Parts
from .pod import Pod, PodRunner
from .process import spawn_in_netns, Process
from .product import Product, ProductSettings
from .service import Services
from .wait import until

REAP_SECONDS = 5


class Cluster:
    """A control plane, two nodes with kube-proxy in one mode, and the pods started on them."""

    def __init__(
        self,
        mode: str,
        workdir: Path,
        product: ProductSettings | None = None,
        progress: Callable[[str], None] = print,
    ):
        """`mode` is `iptables` or `nftables`. Everything the run writes goes below `workdir`:
        `logs/` (one file a process), `tables/`, `spool/`, and `control/` (etcd, certificates)."""
        if mode not in ("iptables", "nftables"):
            raise ValueError(f"unknown kube-proxy mode {mode!r}")
        self.mode = mode
        self.workdir = Path(workdir).resolve()
        self.logs = self.workdir / "logs"
        self.progress = progress
        self.parts = Parts.locate()
        self.control = ControlPlane(self.parts, self.workdir / "control", self.logs)
        self.nodes = {
            name: Node(name, self.control, self.parts, mode, self.logs)
            for name in constants.NODE_IPS
        }
        self.services = Services(self.control.api, self.nodes)
        self.product = Product(self.control, self.workdir, product or ProductSettings())
        """Agents, collector and correlator; `up()` does not start them, `product.start()` does."""
        self._pods = PodRunner(self.control.api, self.nodes, self.logs)
        self._lock = lock.LabLock()

    @property
    def python(self) -> str:
        """The interpreter that has the OpenTelemetry SDK, flask, redis and duckdb."""
        return str(self.parts.python)

    @property
    def pods(self) -> dict[str, Pod]:
        """The pods that run now, by name."""
        return self._pods.running

    # Life of the cluster

    def up(self) -> Cluster:
        self._lock.acquire(self.progress)
        started = time.monotonic()
        try:
            cleanup.remove_leftovers()
            self.logs.mkdir(parents=True, exist_ok=True)
            lock.write_state(self.mode, self.workdir)
            netns.create_backbone()
            self.progress("lab: starting etcd, kube-apiserver and kube-controller-manager")
            self.control.start()
            for node in self.nodes.values():
                node.start()
            for node in self.nodes.values():
                node.wait_ready()
        except BaseException:
            self.down()
            raise
        seconds = time.monotonic() - started
        self.progress(f"lab: two nodes with kube-proxy ({self.mode}) after {seconds:.1f} s")
        return self

    def down(self) -> None:
        """Stops the product gently, then removes every process, namespace and cgroup of the lab.
        Nothing happens when this cluster is not up."""
        if not self._lock.held:
            return
        try:
            self.product.stop()
        finally:
            cleanup.remove_leftovers()
            self._reap()
            lock.remove_state()
            self._lock.release()

    def _reap(self) -> None:
        """Takes note of the ends of our children, which the removal has killed."""
        proxies = [node.proxy for node in self.nodes.values() if node.proxy is not None]
        pods = [pod.process for pod in self.pods.values()]
        for process in (*self.control.processes, *proxies, *pods):
            process.wait(REAP_SECONDS)

    def __enter__(self) -> Cluster:
        return self.up()

    def __exit__(self, *_) -> None:
        self.down()

    # Pods

    def start_pod(
        self,
        name: str,
        namespace: str,
        node: str,
        labels: Mapping[str, str],
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        port: int | None = None,
        ready_check: Callable[[Pod], bool] | None = None,
        wait: bool = True,
    ) -> Pod:
        """Runs `argv` as a pod: own network namespace, own cgroup, Pod object with status.

        The process gets `env` on top of PATH and of POD_NAME, POD_NAMESPACE, POD_UID, POD_IP,
        NODE_NAME and NODE_IP. Its output goes to `logs/<name>.log`. It is ready when `port` listens
        (seen without a packet being sent) and `ready_check(pod)` is true; either may be left out.
        With `wait=False` the call returns at once; `wait_pods()` then waits for all such pods
        together, which is much faster for interpreters that take a second to start. `ready_check`
        is repeated until it is true, for 30 seconds.
        """
        pod = self._pods.start(name, namespace, node, labels, argv, env or {}, port, ready_check)
        if wait:
            self._pods.wait_ready([pod])
        return pod

    def wait_pods(self) -> None:
        """Waits until every pod that runs is ready and its status says so in the API."""
        self._pods.wait_ready(list(self.pods.values()))

    def kill_pod(self, name: str) -> None:
        """SIGKILL to every process of the pod's cgroup at once, then the Pod object is deleted, so
        that the endpoint slices and kube-proxy follow as they do in a cluster."""
        self._pods.kill(name)

    def kill_pod_processes(self, name: str) -> None:
        """Only the SIGKILL: the API still lists the pod as ready (a crash nobody has noticed)."""
        self._pods.kill_processes(name)

    # Services

    def create_service(
        self,
        name: str,
        namespace: str,
        selector: Mapping[str, str],
        port: int,
        target_port: int,
        node_port: int | None = None,
    ) -> str:
        """Creates a Service (ClusterIP, or NodePort when `node_port` is given) and returns its
        cluster address. It may be created before its pods, so that they can be told the address."""
        return self.services.create(name, namespace, selector, port, target_port, node_port)

    def wait_endpoints(self, name: str, count: int, namespace: str = "shop") -> list[str]:
        """Waits until the service has exactly `count` ready endpoints; returns them as ip:port."""
        return self.services.wait_endpoints(name, namespace, count)

    def wait_proxy_programmed(self) -> None:
        """Waits until kube-proxy of every node has rules for all ready endpoints of all services
        created here, and none for endpoints that are gone."""
        self.services.wait_programmed()

    # The client outside of the cluster

    def client_exec(self, argv: Sequence[str], **options) -> subprocess.CompletedProcess:
        """Runs a command to its end as the outside client; options are those of subprocess.run.
        It reaches the cluster at http://10.89.0.11:30080 and nothing else."""
        return subprocess.run([*netns.prefix(constants.CLIENT), *argv], **options)

    def client_start(self, name: str, argv: Sequence[str], env=None) -> Process:
        """Starts a command as the outside client; its output goes to `logs/<name>.log`."""
        return spawn_in_netns(name, argv, constants.CLIENT, self.logs, env=env)

    def wait_until(self, what: str, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Polls `condition`; a TimeoutError that names `what` when it does not come true."""
        until(what, condition, seconds)
