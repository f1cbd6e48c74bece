"""A real cluster in each proxy mode: does traffic go where it goes in Kubernetes?"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from lab import cgroup, cleanup, constants, netns
from lab.cluster import Cluster

SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.environ['POD_NAME']} {self.client_address[0]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
TRIES = 24
"""Of a fair choice between two pods, all go to the same one once in 8 million runs."""


def answers(run, address: str) -> set[tuple[str, str]]:
    """What the pods behind an address say: their name, and the address they saw as their client."""
    command = ["curl", "-sS", "--max-time", "5", *[f"http://{address}/"] * TRIES, "-w", "\n"]
    done = run(command, capture_output=True, text=True, check=True)
    return {tuple(line.split()) for line in done.stdout.splitlines() if line}


class ClusterChecks:
    """The same expectations of both modes."""

    mode: str

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="throughline-check-")
        cls.cluster = Cluster(cls.mode, Path(cls.folder.name), progress=lambda _: None).up()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.addClassCleanup(cls.cluster.down)
        cls.address = cls.cluster.create_service(
            "web", "check", {"app": "web"}, 80, 8080, constants.NODE_PORT
        )
        for number, node in enumerate(constants.NODE_IPS):
            cls.start(f"web-{number}", node)
        cls.cluster.wait_pods()
        cls.cluster.wait_endpoints("web", 2, "check")
        cls.cluster.wait_proxy_programmed()

    @classmethod
    def start(cls, name: str, node: str):
        argv = [sys.executable, "-c", SERVER]
        cls.cluster.start_pod(name, "check", node, {"app": "web"}, argv, port=8080, wait=False)

    def in_pod(self, name: str):
        prefix = netns.prefix(self.cluster.pods[name].netns)
        return lambda command, **options: subprocess.run([*prefix, *command], **options)

    def test_a_node_port_reaches_pods_of_both_nodes_with_the_nodes_address(self):
        node = constants.NODE_IPS[constants.EDGE_NODE]
        seen = answers(self.cluster.client_exec, f"{node}:{constants.NODE_PORT}")
        self.assertEqual(seen, {("web-0", node), ("web-1", node)})

    def test_a_cluster_ip_keeps_the_pods_address_and_masquerades_only_the_hairpin(self):
        seen = answers(self.in_pod("web-0"), self.address)
        node = constants.NODE_IPS["node-1"]
        self.assertEqual(seen, {("web-0", node), ("web-1", self.cluster.pods["web-0"].ip)})

    def test_a_killed_pod_leaves_slices_and_rules_and_its_successor_enters_them(self):
        self.start("web-2", "node-2")
        self.cluster.wait_pods()
        self.assertEqual(len(self.cluster.wait_endpoints("web", 3, "check")), 3)
        self.cluster.wait_proxy_programmed()
        gone = f"{self.cluster.pods['web-2'].ip}:8080"
        self.cluster.kill_pod("web-2")
        self.assertNotIn(gone, self.cluster.wait_endpoints("web", 2, "check"))
        self.cluster.wait_proxy_programmed()
        names = {name for name, _ in answers(self.in_pod("web-0"), self.address)}
        self.assertEqual(names, {"web-0", "web-1"})

    def test_a_pods_processes_are_in_the_cgroup_that_carries_its_uid(self):
        pod = self.cluster.pods["web-1"]
        expected = cgroup.node_root("node-2") / f"pod{pod.uid}"
        self.assertEqual(pod.cgroup, expected)
        pids = (expected / "cgroup.procs").read_text().split()
        self.assertIn(str(pod.process.pid), pids)

    def test_nothing_leads_out_of_the_lab(self):
        for namespace in cleanup.own_namespaces():
            command = ["ip", "-n", namespace, "route", "show", "default"]
            routes = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            is_pod = namespace.startswith("tl-pod-")
            expected = f"default via {constants.POD_GATEWAY_IP} dev eth0" if is_pod else ""
            self.assertEqual(routes.strip(), expected, namespace)


class IptablesCluster(ClusterChecks, unittest.TestCase):
    mode = "iptables"


class NftablesCluster(ClusterChecks, unittest.TestCase):
    mode = "nftables"


class CrashedLab(unittest.TestCase):
    def test_a_start_after_a_crash_removes_what_the_crash_left(self):
        with tempfile.TemporaryDirectory(prefix="throughline-check-") as folder:
            crashed = subprocess.run(
                [sys.executable, "-c", CRASH, folder], env=os.environ, stdout=subprocess.DEVNULL
            )
            self.assertEqual(crashed.returncode, 9)
            self.assertIn("tl-pod-orphan", cleanup.own_namespaces())
            with Cluster("iptables", Path(folder), progress=lambda _: None):
                self.assertNotIn("tl-pod-orphan", cleanup.own_namespaces())
            self.assertEqual(cleanup.own_namespaces(), [])
            self.assertFalse(cgroup.tree().exists())


CRASH = """
import os, sys
from pathlib import Path
from lab.cluster import Cluster
cluster = Cluster("iptables", Path(sys.argv[1])).up()
cluster.start_pod("orphan", "check", "node-1", {}, ["sleep", "600"])
os._exit(9)
"""


if __name__ == "__main__":
    unittest.main()
