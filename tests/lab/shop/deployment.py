"""Puts the shop into a lab cluster: services first, then pods that are told their addresses."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from pathlib import Path

from .. import constants
from . import contract, driver

NAMESPACE = "shop"
TESTS = Path(__file__).resolve().parents[2]
"""The folder that holds the package `lab`."""

COLLECTOR = constants.COLLECTOR_IP
TRACE_ENVIRONMENT = {
    "OTEL_BSP_SCHEDULE_DELAY": "1000",
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST": "X-Request-ID,Cookie,Authorization",
}
EXPORTERS = {
    "frontend": {
        contract.TRACED: "grpc",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{COLLECTOR}:{constants.OTLP_GRPC_PORT}",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http",
    },
    # The older attribute names, which most installations still send.
    "cart": {
        contract.TRACED: "http",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{COLLECTOR}:{constants.OTLP_HTTP_PORT}",
    },
}


@dataclass
class Shop:
    """The shop as it runs in one cluster."""

    cluster: object = field(repr=False)
    traced: bool
    truth: Path
    marker: str
    """A word planted in bodies, headers, cookies, query strings, values and spans."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Services by name, as ip:port."""
    replicas: dict[str, int] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)
    """Pods that were killed."""

    def drive(self, requests: int, rate: float, kill: bool = True) -> driver.Driven:
        """Sends this many requests, `rate` a second, from outside. With `kill`, the one in the
        middle loses its cart pod while that serves it, and a new pod takes its place."""
        return driver.drive(self, requests, rate, kill)

    def wait_programmed(self) -> None:
        """Waits until every Service has its replicas and kube-proxy knows all of them."""
        for name, count in self.replicas.items():
            self.cluster.wait_endpoints(name, count)
        self.cluster.wait_proxy_programmed()

    def environment(self, name: str) -> dict[str, str]:
        """What a pod is told beside its own identity."""
        workload, _ = name.rsplit("-", 1)
        folder = self.cluster.workdir / "pods" / name
        folder.mkdir(parents=True, exist_ok=True)
        services = {contract.service_variable(n): ip for n, ip in self.addresses.items()}
        environment = {
            "PYTHONPATH": str(TESTS),
            contract.FOLDER: str(folder),
            contract.TRUTH_FILE: str(self.truth),
            contract.MARKER: self.marker,
            **services,
        }
        if self.traced and workload in EXPORTERS:
            environment |= TRACE_ENVIRONMENT | EXPORTERS[workload]
            environment["OTEL_SERVICE_NAME"] = workload
        return environment

    def start(self, name: str, node: str, port: int, wait: bool = False, environment=None):
        """Starts one pod of the workload that the name begins with."""
        workload, _ = name.rsplit("-", 1)
        argv = [self.cluster.python, "-m", f"lab.shop.{workload}"]
        if self.traced and workload in EXPORTERS:
            # As the downward API fills in the environment of a container.
            resource = (
                "k8s.pod.uid=$POD_UID,k8s.pod.name=$POD_NAME,k8s.pod.ip=$POD_IP,"
                "k8s.namespace.name=$POD_NAMESPACE,k8s.node.name=$NODE_NAME"
            )
            shell = f'OTEL_RESOURCE_ATTRIBUTES="{resource}" exec "$@"'
            argv = ["/bin/sh", "-c", shell, "sh", *argv]
        return self.cluster.start_pod(
            name,
            NAMESPACE,
            node,
            {"app": workload},
            argv,
            {**self.environment(name), **(environment or {})},
            port=port,
            wait=wait,
        )


def deploy(cluster, traced: bool, truth: Path) -> Shop:
    """Starts the shop and returns when kube-proxy sends traffic to every pod of it. The collector
    should be up by then: nginx does not repeat a log line that nobody received."""
    marker = "tlmarker" + "".join(secrets.choice(string.ascii_letters) for _ in range(24))
    shop = Shop(cluster, traced, Path(truth).resolve(), marker)

    def expose(name, port, target_port, node_port=None):
        ip = cluster.create_service(name, NAMESPACE, {"app": name}, port, target_port, node_port)
        shop.addresses[name] = f"{ip}:{port}"

    expose("cart", 80, contract.HTTP_PORT)
    expose("price", 80, contract.HTTP_PORT)
    expose("frontend", 80, contract.HTTP_PORT)
    expose("store", contract.STORE_PORT, contract.STORE_PORT)
    expose("ingress", 80, contract.INGRESS_PORT, constants.NODE_PORT)

    shop.start("store-0", "node-2", contract.STORE_PORT)
    for name in ("price", "cart", "frontend"):
        shop.start(f"{name}-0", "node-1", contract.HTTP_PORT)
        shop.start(f"{name}-1", "node-2", contract.HTTP_PORT)
    frontends = [f"{cluster.pods[f'frontend-{n}'].ip}:{contract.HTTP_PORT}" for n in (0, 1)]
    shop.start(
        "ingress-0",
        "node-2",
        contract.INGRESS_PORT,
        environment={
            contract.FRONTENDS: ",".join(frontends),
            contract.SYSLOG: f"{COLLECTOR}:{constants.SYSLOG_PORT}",
            contract.PASS_REQUEST_ID: "1" if traced else "",
        },
    )
    cluster.wait_pods()
    shop.replicas = {"store": 1, "price": 2, "cart": 2, "frontend": 2, "ingress": 1}
    shop.wait_programmed()
    return shop
