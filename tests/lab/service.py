"""Services, and the wait until slices and kube-proxy's rules agree with them."""

from __future__ import annotations

import http
import re
from collections.abc import Mapping

from .api import Api, ApiError
from .node import Node
from .wait import until

PROGRAM_SECONDS = 30
ENDPOINT = re.compile(r"\b(\d+\.\d+\.\d+\.\d+)(?::| \. )(\d+)(?![\d.])")
"""An address and a port, as iptables (`10.244.1.2:8080`) and as nft (`10.244.1.2 . 8080`) writes
them in a rule that translates to it."""


class Services:
    def __init__(self, api: Api, nodes: Mapping[str, Node]):
        self._api = api
        self._nodes = nodes
        self._created: list[tuple[str, str]] = []
        self._programmed: set[str] = set()

    def create(self, name, namespace, selector, port, target_port, node_port) -> str:
        self._api.ensure_namespace(namespace)
        mapping = {"port": port, "targetPort": target_port, "protocol": "TCP", "name": "main"}
        if node_port is not None:
            mapping["nodePort"] = node_port
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {
                "type": "ClusterIP" if node_port is None else "NodePort",
                "selector": dict(selector),
                "ports": [mapping],
            },
        }
        made = until(f"service {name} created", lambda: self._try_create(namespace, service), 20)
        self._created.append((name, namespace))
        return made["spec"]["clusterIP"]

    def _try_create(self, namespace: str, service: dict) -> dict | None:
        """The range of service addresses is set up in the background after the API server says that
        it is ready; until then it answers with a server error."""
        try:
            return self._api.create(f"/api/v1/namespaces/{namespace}/services", service)
        except ApiError as error:
            if error.status < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            return None

    def endpoints(self, name: str, namespace: str) -> list[str]:
        selector = f"labelSelector=kubernetes.io/service-name={name}"
        slices = self._api.get(
            f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?{selector}"
        )
        return sorted(
            f"{address}:{port['port']}"
            for piece in slices["items"]
            for endpoint in piece["endpoints"] or []
            if endpoint["conditions"].get("ready")
            for address in endpoint["addresses"]
            for port in piece["ports"] or []
        )

    def wait_endpoints(self, name: str, namespace: str, count: int) -> list[str]:
        def settled() -> list[str] | bool:
            found = self.endpoints(name, namespace)
            return (found or True) if len(found) == count else False

        found = until(f"{count} endpoints of service {name}", settled, PROGRAM_SECONDS)
        return [] if found is True else found

    def wait_programmed(self) -> None:
        wanted = {
            endpoint
            for name, namespace in self._created
            for endpoint in self.endpoints(name, namespace)
        }
        gone = self._programmed - wanted

        def agrees(node: Node) -> bool:
            programmed = programmed_endpoints(node.rules())
            return wanted <= programmed and not gone & programmed

        for node in self._nodes.values():
            until(f"kube-proxy on {node.name} programmed", lambda: agrees(node), PROGRAM_SECONDS)
        self._programmed = wanted


def programmed_endpoints(rules: str) -> set[str]:
    return {f"{address}:{port}" for address, port in ENDPOINT.findall(rules)}
