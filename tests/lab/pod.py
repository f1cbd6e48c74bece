"""Pods: a network namespace, a cgroup, a process, and the Pod object that the kubelet would keep."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import cgroup, netns
from .api import Api
from .constants import pod_netns
from .node import Node
from .process import Process, spawn_in_netns
from .wait import until

READY_SECONDS = 30


@dataclass
class Pod:
    name: str
    namespace: str
    node: str
    uid: str
    ip: str
    port: int | None
    netns: str
    cgroup: Path
    process: Process = field(repr=False)
    ready_check: Callable[[Pod], bool] | None = field(repr=False, default=None)
    marked_ready: bool = False

    @property
    def path(self) -> str:
        """Of its object in the API."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


class PodRunner:
    """What the kubelets of both nodes do: start, report, kill."""

    def __init__(self, api: Api, nodes: Mapping[str, Node], logs: Path):
        self.running: dict[str, Pod] = {}
        self._api = api
        self._nodes = nodes
        self._logs = logs

    def start(self, name, namespace, node_name, labels, argv: Sequence[str], env, port, ready_check):
        if name in self.running:
            raise ValueError(f"pod {name} is already running")
        node = self._nodes[node_name]
        self._api.ensure_namespace(namespace)
        uid = self._api.create(
            f"/api/v1/namespaces/{namespace}/pods", pod_object(name, labels, node_name, argv, port)
        )["metadata"]["uid"]
        ip = node.allocate_pod_ip()
        netns.create_pod(name, ip, node.netns)
        group = cgroup.create_pod(node_name, uid)
        identity = {
            "POD_NAME": name,
            "POD_NAMESPACE": namespace,
            "POD_UID": uid,
            "POD_IP": ip,
            "NODE_NAME": node_name,
            "NODE_IP": node.ip,
        }
        process = spawn_in_netns(
            name, argv, pod_netns(name), self._logs, env={**identity, **env}, cgroup=group
        )
        pod = Pod(
            name, namespace, node_name, uid, ip, port, pod_netns(name), group, process, ready_check
        )
        self.running[name] = pod
        return pod

    def wait_ready(self, pods: Sequence[Pod]) -> None:
        waiting = [pod for pod in pods if not pod.marked_ready]
        with ThreadPoolExecutor(max_workers=8) as pool:
            for outcome in [pool.submit(self._wait_one, pod) for pod in waiting]:
                outcome.result()

    def _wait_one(self, pod: Pod) -> None:
        def ready() -> bool:
            pod.process.require_running()
            listening = pod.port is None or netns.listens(pod.process.pid, pod.port)
            return listening and (pod.ready_check is None or pod.ready_check(pod))

        until(f"pod {pod.name} ready (see {pod.process.log})", ready, READY_SECONDS)
        self._api.patch_status(pod.path, pod_status(pod, self._nodes[pod.node].ip))
        pod.marked_ready = True

    def kill_processes(self, name: str) -> None:
        pod = self.running[name]
        cgroup.kill(pod.cgroup)
        pod.process.kill9()

    def kill(self, name: str) -> None:
        self.kill_processes(name)
        pod = self.running.pop(name)
        self._api.delete(pod.path, {"gracePeriodSeconds": 0})
        netns.delete(pod.netns)
        cgroup.remove(pod.cgroup)


def pod_object(name, labels, node, argv, port) -> dict:
    container = {"name": "main", "image": f"lab/{Path(argv[0]).name}"}
    if port is not None:
        container["ports"] = [{"containerPort": port}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels)},
        # A node that has been chosen already needs no scheduler; without a token to mount it needs
        # no service account.
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "containers": [container],
        },
    }


def pod_status(pod: Pod, host_ip: str) -> dict:
    now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = ("Initialized", "PodScheduled", "ContainersReady", "Ready")
    return {
        "phase": "Running",
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "podIP": pod.ip,
        "podIPs": [{"ip": pod.ip}],
        "startTime": now,
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": now} for kind in conditions
        ],
        "containerStatuses": [
            {
                "name": "main",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "image": "lab",
                "imageID": "",
                "state": {"running": {"startedAt": now}},
            }
        ],
    }
