"""A small client of the Kubernetes API: JSON over HTTPS with a bearer token, from inside the lab."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path

from . import netns
from .constants import API_PORT, CONTROL, CONTROL_IP

TIMEOUT_SECONDS = 10


class ApiError(RuntimeError):
    def __init__(self, method: str, path: str, status: int, body: str):
        super().__init__(f"{method} {path} answered {status}: {body[:500]}")
        self.status = status


class Api:
    """Each call has a connection of its own, so any thread may call."""

    def __init__(self, token: str, authority: Path):
        self._token = token
        self._authority = authority
        self._namespaces = {"default"}

    def get(self, path: str) -> dict:
        return self._call("GET", path, None, "application/json")

    def create(self, path: str, body: dict) -> dict:
        return self._call("POST", path, body, "application/json")

    def delete(self, path: str, options: dict | None = None) -> dict:
        return self._call("DELETE", path, options or {}, "application/json")

    def patch_status(self, path: str, status: dict) -> dict:
        body = {"status": status}
        return self._call("PATCH", f"{path}/status", body, "application/merge-patch+json")

    def ensure_namespace(self, name: str) -> None:
        if name not in self._namespaces:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            try:
                self.create("/api/v1/namespaces", namespace)
            except ApiError as error:
                if error.status != http.HTTPStatus.CONFLICT:
                    raise
            self._namespaces.add(name)

    def ready(self) -> bool:
        """Whether every start-up hook is done. The authority's certificate appears meanwhile."""
        try:
            self._send("GET", "/readyz", None, "text/plain")
            return True
        except ApiError:
            return False

    def _call(self, method: str, path: str, body: dict | None, content_type: str) -> dict:
        return json.loads(self._send(method, path, body, content_type))

    def _send(self, method: str, path: str, body: dict | None, content_type: str) -> str:
        context = ssl.create_default_context(cafile=str(self._authority))
        connection = http.client.HTTPSConnection(
            CONTROL_IP, API_PORT, timeout=TIMEOUT_SECONDS, context=context
        )
        with netns.entered(CONTROL):
            connection.connect()
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {"Authorization": f"Bearer {self._token}", "Content-Type": content_type},
            )
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise ApiError(method, path, response.status, text)
        return text
