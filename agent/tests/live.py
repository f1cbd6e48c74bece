#!/usr/bin/env python3
"""The agent against real traffic through real NAT, in namespaces of its own.

A node namespace routes between two pods and translates: a service address to the server pod, and
the server pod's calls to itself through the service (hairpin) with masquerade. The agent runs in
the node's namespace and prints what it sees; the peers write down what they did; each test
compares the two. Needs root, iptables and the built programs; without root it says so and passes.
"""

import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
WORKSPACE = HERE.parent.parent
NODE, CLIENT, SERVER, STRANGER = "tla-node", "tla-client", "tla-server", "tla-stranger"
PODS = {CLIENT: ("1", "aaaa-1111"), SERVER: ("2", "bbbb-2222")}
SERVICE, SERVICE6 = "10.78.0.10", "fd78::10"
POD_IP = {pod: f"10.77.{number}.2" for pod, (number, _) in PODS.items()}
POD_IP6 = {pod: f"fd77:{number}::2" for pod, (number, _) in PODS.items()}
EXCLUDED_PORT = 9999


def run(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True)


def in_namespace(namespace, *command):
    """`ip netns exec` would also hide the cgroup tree behind a fresh /sys."""
    return ["nsenter", f"--net=/run/netns/{namespace}", *command]


class Lab:
    """Two pods, a router between them, and its translations."""

    def __init__(self):
        self.clear()
        self.cgroups = self.cgroup_mount() / "tla-live"
        for namespace in (NODE, CLIENT, SERVER, STRANGER):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            run(*in_namespace(NODE, "sysctl", "-qw", f"{key}=1"))
        for pod, (number, uid) in PODS.items():
            self.link(pod, number)
            (self.cgroups / f"pod{uid}" / "container").mkdir(parents=True)
        self.translate()
        time.sleep(0.2)

    @staticmethod
    def cgroup_mount():
        for line in pathlib.Path("/proc/mounts").read_text().splitlines():
            _, path, kind, *_ = line.split()
            if kind == "cgroup2":
                return pathlib.Path(path)
        sys.exit("no cgroup2 mount: mount -t cgroup2 none /sys/fs/cgroup/unified")

    @staticmethod
    def link(pod, number):
        outer = f"tla-v{number}"
        run("ip", "-n", NODE, "link", "add", outer, "type", "veth", "peer", "eth0", "netns", pod)
        for namespace, device, host in ((NODE, outer, "1"), (pod, "eth0", "2")):
            run("ip", "-n", namespace, "address", "add", f"10.77.{number}.{host}/24", "dev", device)
            run("ip", "-n", namespace, "address", "add", f"fd77:{number}::{host}/64", "dev", device,
                "nodad")
            run("ip", "-n", namespace, "link", "set", device, "up")
        run("ip", "-n", pod, "route", "add", "default", "via", f"10.77.{number}.1")
        run("ip", "-n", pod, "-6", "route", "add", "default", "via", f"fd77:{number}::1")

    @staticmethod
    def translate():
        for tool, service, pod in (("iptables", SERVICE, POD_IP[SERVER]),
                                   ("ip6tables", SERVICE6, f"[{POD_IP6[SERVER]}]")):
            for chain in ("PREROUTING", "OUTPUT"):
                run(*in_namespace(NODE, tool, "-t", "nat", "-A", chain, "-d", service, "-p", "tcp",
                                  "-j", "DNAT", "--to-destination", pod))
            bare = pod.strip("[]")
            run(*in_namespace(NODE, tool, "-t", "nat", "-A", "POSTROUTING", "-s", bare, "-d", bare,
                              "-j", "MASQUERADE"))

    @staticmethod
    def clear():
        for namespace in (NODE, CLIENT, SERVER, STRANGER):
            run("ip", "netns", "delete", namespace, check=False)
        folder = Lab.cgroup_mount() / "tla-live"
        if folder.exists():
            for path in sorted(folder.rglob("*"), reverse=True):
                if path.is_dir():
                    path.rmdir()
            folder.rmdir()


class Process:
    """A child whose standard output is JSON lines."""

    def __init__(self, command, cgroup=None, **options):
        def enter():
            if cgroup:
                (cgroup / "cgroup.procs").write_text(str(os.getpid()))
        self.lines, self.fresh = [], queue.Queue()
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True, preexec_fn=enter, **options)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.child.stdout:
            fact = json.loads(line)
            self.lines.append(fact)
            self.fresh.put(fact)

    def say(self, text, event="answered"):
        self.child.stdin.write(text + "\n")
        self.child.stdin.flush()
        return self.expect(event)

    def expect(self, event, timeout=20):
        deadline = time.monotonic() + timeout
        while True:
            fact = self.fresh.get(timeout=max(0.01, deadline - time.monotonic()))
            if fact.get("event") == event:
                return fact

    def stop(self, sign=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(sign)
        self.child.wait(10)
        self.reader.join(5)


class Stage:
    """The lab with its peers and the agent."""

    def __init__(self):
        self.lab = Lab()
        self.processes = []

    def peer(self, namespace, *arguments):
        uid = PODS.get(namespace, (None, None))[1]
        cgroup = self.lab.cgroups / f"pod{uid}" / "container" if uid else None
        process = Process(in_namespace(namespace, sys.executable, str(HERE / "peers.py"),
                                       *arguments), cgroup)
        self.processes.append(process)
        return process

    def server(self, port, how="plain", ip="0.0.0.0", namespace=SERVER):
        process = self.peer(namespace, "serve", ip, str(port), how)
        process.expect("listening")
        return process

    def client(self, port, how="plain", ip=SERVICE, namespace=CLIENT):
        process = self.peer(namespace, "converse", ip, str(port), how)
        process.port = process.expect("connected")["port"]
        return process

    def agent(self):
        binary = os.environ.get("THROUGHLINE_AGENT", WORKSPACE / "target/debug/throughline-agent")
        process = Process(in_namespace(
            NODE, str(binary), "run", "--dump", "--node", "tla", "--cgroup-root",
            str(self.lab.cgroups), "--sweep", "500ms", "--heartbeat-interval", "1s",
            "--active-timeout", "3s", "--conntrack-interval", "1s",
            "--exclude", f"{POD_IP[SERVER]}:{EXCLUDED_PORT}"))
        self.processes.append(process)
        deadline = time.monotonic() + 20
        while not any(line["kind"] == "capability" for line in process.lines):
            if time.monotonic() > deadline or process.child.poll() is not None:
                sys.exit("the agent did not start")
            time.sleep(0.05)
        time.sleep(0.3)
        return process

    def end(self):
        for process in reversed(self.processes):
            process.stop(signal.SIGKILL)
        Lab.clear()


def address(ip, port):
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


class Seen:
    """What the agent printed, by the questions that tests ask."""

    def __init__(self, lines):
        self.lines = lines

    def of(self, kind, **wanted):
        return [line for line in self.lines if line["kind"] == kind
                and all(line[key] == value for key, value in wanted.items())]

    def exchanges(self, role, port):
        """Exchanges by the client's port, each at its last report."""
        side = "local" if role == "client" else "remote"
        latest = {}
        for line in self.of("exchange", role=role):
            if line[side].endswith(f":{port}"):
                known = latest.get(line["tcp_seq_req"])
                if known is None or known["end_ns"] <= line["end_ns"]:
                    latest[line["tcp_seq_req"]] = line
        return sorted(latest.values(), key=lambda line: line["start_ns"])

    def both_ends(self, port, count, server_port=None):
        client = self.exchanges("client", port)
        server = self.exchanges("server", server_port or port)
        assert len(client) == count, f"client end: {len(client)} exchanges of {count}"
        assert len(server) == count, f"server end: {len(server)} exchanges of {count}"
        for left, right in zip(client, server):
            for key in ("tcp_seq_req", "tcp_seq_resp", "bytes_request", "bytes_response"):
                assert left[key] == right[key], f"{key}: {left} and {right}"
        return client, server


def main():
    if os.geteuid() != 0:
        print("live agent test: needs root, not run\n0 passed, 0 failed")
        return 0
    programs = WORKSPACE / "target/bpf/throughline-programs"
    if not programs.exists():
        print(f"live agent test: {programs} is missing: run agent-ebpf/build.sh")
        return 1
    import scenes
    stage = Stage()
    try:
        tests = scenes.play(stage)
    finally:
        stage.end()
    passed = failed = 0
    for name, test in tests:
        try:
            test()
        except AssertionError as error:
            failed += 1
            print(f"FAILED {name}: {error}")
        else:
            passed += 1
            print(f"passed {name}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.modules.setdefault("live", sys.modules["__main__"])
    sys.exit(main())
