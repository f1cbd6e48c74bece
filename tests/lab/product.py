"""The product in the lab: one agent a node, a collector, and a correlator that runs all the time.

    cluster.product.start()                     # returns when all of it is ready
    cluster.product.kill9("collector")          # SIGKILL, nothing flushed
    cluster.product.restart("collector")        # the same command again
    cluster.product.stop_agent("node-1")        # SIGTERM, as a rollout does
    cluster.product.restart("agent-node-1")
    cluster.product.stop()                      # correlator, agents, collector, each by SIGTERM
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import cgroup, constants
from .control import ControlPlane
from .parts import binary
from .process import Process, spawn_in_netns
from .wait import until

READY_SECONDS = 30
STOP_SECONDS = 20
OWN_PORTS = (
    constants.OTLP_GRPC_PORT,
    constants.OTLP_HTTP_PORT,
    constants.AGENT_PORT,
    constants.SYSLOG_PORT,
)
COLLECTOR, CORRELATOR = "collector", "correlator"
READY_WORDS = {"collector": "ready", "correlator": "correlator runs", "agent": "started"}
"""What each says once: the collector listens, the agent's programs are attached."""


def agent_name(node: str) -> str:
    return f"agent-{node}"


@dataclass(frozen=True)
class ProductSettings:
    """Seconds instead of minutes, so that final windows are seen within a run."""

    heartbeat_interval: str = "2s"
    sweep: str = "1s"
    commit_interval: str = "1s"
    window_seconds: int = 10
    guard: str = "30s"
    lateness: str = "20s"
    settle: str = "5s"
    agent_flags: Sequence[str] = ()
    collector_flags: Sequence[str] = ()
    correlator_flags: Sequence[str] = ()
    correlate: bool = True
    """Whether the correlator runs beside the traffic."""


class Product:
    def __init__(self, control: ControlPlane, workdir: Path, settings: ProductSettings):
        self.settings = settings
        self.tables = workdir / "tables"
        self.spool = workdir / "spool"
        self._workdir = workdir
        self._logs = workdir / "logs"
        self._control = control
        self._processes: dict[str, Process] = {}

    @property
    def processes(self) -> dict[str, Process]:
        """`collector`, `correlator`, `agent-node-1` and `agent-node-2`, as far as started."""
        return dict(self._processes)

    def start(self) -> None:
        """Starts the collector, and when that listens the rest; waits for all of it."""
        self.restart(COLLECTOR)
        others = [agent_name(node) for node in constants.NODE_IPS]
        if self.settings.correlate:
            others.append(CORRELATOR)
        # The kernel verifies the programs of both agents at the same time.
        for process in [self._spawn(name) for name in others]:
            self._wait_ready(process)

    def restart(self, name: str) -> Process:
        """Starts a process that does not run (yet, or any more) and waits until it is ready."""
        earlier = self._processes.get(name)
        if earlier is not None and earlier.running:
            raise RuntimeError(f"{name} is still running")
        process = self._spawn(name)
        self._wait_ready(process)
        return process

    def kill9(self, name: str) -> None:
        self._processes[name].kill9()

    def stop_process(self, name: str) -> int:
        """SIGTERM and the wait for its end; returns the exit status."""
        return self._processes[name].stop(STOP_SECONDS)

    def stop_agent(self, node: str) -> int:
        return self.stop_process(agent_name(node))

    def stop(self) -> None:
        """Agents first, so that the collector takes what they still have to send."""
        agents = [agent_name(node) for node in constants.NODE_IPS]
        for name in (*agents, COLLECTOR, CORRELATOR):
            process = self._processes.pop(name, None)
            if process is not None:
                process.stop(STOP_SECONDS)

    def require_running(self) -> None:
        """Fails with the end of the log of a process that has ended by itself."""
        for process in self._processes.values():
            process.require_running()

    def _spawn(self, name: str) -> Process:
        namespace, argv = self._command(name)
        process = spawn_in_netns(name, argv, namespace, self._logs)
        self._processes[name] = process
        return process

    def _command(self, name: str) -> tuple[str, list[str]]:
        if name == COLLECTOR:
            return constants.COLLECTOR, self.collector_command()
        if name == CORRELATOR:
            return constants.COLLECTOR, self.correlator_command()
        node = name.removeprefix("agent-")
        return constants.node_netns(node), self.agent_command(node)

    def agent_command(self, node: str) -> list[str]:
        collector = constants.COLLECTOR_IP
        excluded = [flag for port in OWN_PORTS for flag in ("--exclude", f"{collector}:{port}")]
        return [
            str(binary("throughline-agent")), "run",
            "--node", node,
            "--collector", f"http://{collector}:{constants.AGENT_PORT}",
            "--cgroup-root", str(cgroup.node_root(node)),
            *excluded,
            "--heartbeat-interval", self.settings.heartbeat_interval,
            "--sweep", self.settings.sweep,
            *self.settings.agent_flags,
        ]  # fmt: skip

    def collector_command(self) -> list[str]:
        address = constants.COLLECTOR_IP
        return [
            str(binary("throughline-collector")), "run",
            "--name", "collector-0",
            "--spool", str(self.spool),
            "--tables", str(self.tables),
            "--otlp-grpc", f"{address}:{constants.OTLP_GRPC_PORT}",
            "--otlp-http", f"{address}:{constants.OTLP_HTTP_PORT}",
            "--agent", f"{address}:{constants.AGENT_PORT}",
            "--syslog", f"{address}:{constants.SYSLOG_PORT}",
            "--kubernetes", str(self._control.kubeconfig("collector")),
            "--cluster-cidr", constants.CLUSTER_CIDR,
            "--cluster-cidr", constants.SERVICE_CIDR,
            "--cluster-cidr", f"10.89.0.0/{constants.NODE_NETWORK_LENGTH}",
            "--hash-key-file", str(self._workdir / "hash.key"),
            "--commit-interval", self.settings.commit_interval,
            "--heartbeat-interval", self.settings.heartbeat_interval,
            *self.settings.collector_flags,
        ]  # fmt: skip

    def correlator_command(self) -> list[str]:
        return [
            str(binary("throughline")), "run",
            "--tables", str(self.tables),
            "--window", f"{self.settings.window_seconds}s",
            "--guard", self.settings.guard,
            "--lateness", self.settings.lateness,
            "--settle", self.settings.settle,
            *self.settings.correlator_flags,
        ]  # fmt: skip

    def _wait_ready(self, process: Process) -> None:
        words = READY_WORDS[process.name.split("-")[0]]

        def ready() -> bool:
            process.require_running()
            return words in process.output()

        until(f"{process.name} says '{words}' in {process.log}", ready, READY_SECONDS)
