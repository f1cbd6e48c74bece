"""The control plane: etcd, kube-apiserver and kube-controller-manager in the namespace tl-control."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from pathlib import Path

from .api import Api
from .constants import API_PORT, CONTROL, CONTROL_IP, SERVICE_CIDR
from .parts import Parts
from .process import Process, spawn_in_netns
from .wait import until

READY_SECONDS = 60
USERS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", "system:masters"),
    "kube-proxy": ("system:kube-proxy", ""),
    "collector": ("throughline-collector", ""),
}
"""Name of the kubeconfig -> user and group. The collector's rights are those that it has in a real
cluster: to read what its history consists of."""

COLLECTOR_RULES = [
    {"apiGroups": [""], "resources": ["pods", "services", "nodes"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]},
]


class ControlPlane:
    def __init__(self, parts: Parts, directory: Path, logs: Path):
        self._parts = parts
        self._directory = directory
        self._logs = logs
        self._tokens = {name: secrets.token_hex(16) for name in USERS}
        self._certificates = directory / "certificates"
        self.authority = self._certificates / "apiserver.crt"
        """The API server writes its own certificate, followed by the authority that signed it."""
        self.api = Api(self._tokens["admin"], self.authority)
        self.processes: list[Process] = []

    def kubeconfig(self, user: str) -> Path:
        return self._directory / f"{user}.kubeconfig"

    def start(self) -> None:
        # An earlier run's objects would be another cluster's.
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True, mode=0o700)
        self._write_credentials()
        self._start_etcd()
        self._start_api_server()

        def ready() -> bool:
            for process in self.processes:
                process.require_running()
            return self.authority.exists() and self.api.ready()

        until(f"kube-apiserver ready (see {self._logs})", ready, READY_SECONDS)
        self._start_controller_manager()
        self._grant_collector()

    def _write_credentials(self) -> None:
        lines = []
        for name, (user, group) in USERS.items():
            lines.append(f'{self._tokens[name]},{user},{name},"{group}"')
            self.kubeconfig(name).write_text(json.dumps(self._kubeconfig_content(name)))
        self._token_file.write_text("\n".join(lines) + "\n")
        subprocess.run(
            ["openssl", "ecparam", "-genkey", "-noout", "-name", "prime256v1",
             "-out", str(self._service_account_key)],
            check=True, capture_output=True,
        )  # fmt: skip

    @property
    def _token_file(self) -> Path:
        return self._directory / "tokens.csv"

    @property
    def _service_account_key(self) -> Path:
        return self._directory / "service-account.key"

    def _kubeconfig_content(self, user: str) -> dict:
        """YAML is a superset of JSON."""
        server = f"https://{CONTROL_IP}:{API_PORT}"
        cluster = {"server": server, "certificate-authority": str(self.authority)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
            "current-context": "lab",
        }

    def _start_etcd(self) -> None:
        self._spawn(
            "etcd",
            self._parts.etcd,
            f"--data-dir={self._directory / 'etcd'}",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            # The cluster lives as long as the run: nobody reads this after a power cut.
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def _start_api_server(self) -> None:
        key = self._service_account_key
        self._spawn(
            "kube-apiserver",
            self._parts.kubernetes / "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--cert-dir={self._certificates}",
            f"--bind-address={CONTROL_IP}",
            f"--advertise-address={CONTROL_IP}",
            f"--secure-port={API_PORT}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://lab.invalid",
            f"--token-auth-file={self._token_file}",
            "--authorization-mode=Node,RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
        )

    def _start_controller_manager(self) -> None:
        """Only the endpoint slices are kept by a controller: nobody renews node leases here, so the
        controllers that watch them would evict every pod."""
        self._spawn(
            "kube-controller-manager",
            self._parts.kubernetes / "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig('controller-manager')}",
            f"--cert-dir={self._directory / 'controller-manager'}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--controllers=endpointslice-controller",
        )

    def _spawn(self, name: str, program: Path, *flags: str) -> None:
        self.processes.append(spawn_in_netns(name, [program, *flags], CONTROL, self._logs))

    def _grant_collector(self) -> None:
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        name = USERS["collector"][0]
        verbs = ["get", "list", "watch"]
        self.api.create(
            f"{rbac}/clusterroles",
            {
                "metadata": {"name": name},
                "rules": [{**rule, "verbs": verbs} for rule in COLLECTOR_RULES],
            },
        )
        group = "rbac.authorization.k8s.io"
        self.api.create(
            f"{rbac}/clusterrolebindings",
            {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
                "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
            },
        )
