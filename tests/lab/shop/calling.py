"""Outgoing calls of a service: pooled keep-alive clients that write their side of the truth."""

import os
import random
import threading
import time

import redis
import requests
from flask import g, request
from redis.maint_notifications import MaintNotificationsConfig
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from .contract import service_variable
from .server import ENDS
from .truth import HEADER, HOLD_HEADER, TruthLog, socket_ends

TIMEOUT_S = 30
POOLS = 3
"""A pool hands out the connection used last, so one pool at low load would be one connection; a
service with a few of them keeps several connections, and with them several backends, in use."""
CALLS_OF_POOL_MAX = 40
"""Then it is left for a new one. kube-proxy chooses when a connection opens: of a few connections in
a whole run it was seen to send every one that a pod opened to its own Service to the other pod."""

used = threading.local()
"""`used.ends` are the socket ends of the connection that this thread used last."""


class RecordingConnection(HTTPConnection):
    ends = None

    def connect(self):
        super().connect()
        self.ends = socket_ends(self.sock)

    def request(self, *args, **kwargs):
        try:
            super().request(*args, **kwargs)
        finally:
            used.ends = self.ends


class RecordingPool(HTTPConnectionPool):
    ConnectionCls = RecordingConnection


class RecordingRedisConnection(redis.Connection):
    ends = None

    def _connect(self):
        sock = super()._connect()
        self.ends = socket_ends(sock)
        return sock

    def send_packed_command(self, *args, **kwargs):
        used.ends = self.ends
        super().send_packed_command(*args, **kwargs)
        used.ends = self.ends


class Calls:
    """The calls that one service makes. Each belongs to the request that the thread is serving."""

    def __init__(self, truth: TruthLog):
        self.truth = truth
        self.sessions = [pooled_session() for _ in range(POOLS)]
        self.made = [0] * POOLS
        self.choosing = threading.Lock()
        self.store = None

    def connect_store(self, address: str) -> None:
        """Without the commands that the library would send on each new connection: what a test
        sees of Redis is then exactly what the shop asked of it."""
        host, port = address.split(":")
        pool = redis.ConnectionPool(
            connection_class=RecordingRedisConnection,
            host=host,
            port=int(port),
            protocol=2,
            driver_info=None,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            socket_timeout=TIMEOUT_S,
        )
        self.store = redis.Redis(connection_pool=pool)

    def http(self, method: str, service: str, path: str, **options) -> requests.Response:
        """Calls a service by its ClusterIP. Raises requests.ConnectionError when it breaks off."""
        call = next_call()
        headers = {HEADER: call, **options.pop("headers", {})}
        if request.headers.get(HOLD_HEADER):
            headers[HOLD_HEADER] = "1"
        url = f"http://{os.environ[service_variable(service)]}{path}"
        session = self.session()
        return self.recorded(
            call,
            service,
            lambda: session.request(method, url, headers=headers, timeout=TIMEOUT_S, **options),
            lambda response: str(response.status_code),
        )

    def session(self) -> requests.Session:
        at = random.randrange(POOLS)
        with self.choosing:
            self.made[at] += 1
            if self.made[at] > CALLS_OF_POOL_MAX:
                # Not closed: a call of another thread may be on its way. Its last user drops it.
                self.sessions[at] = pooled_session()
                self.made[at] = 1
            return self.sessions[at]

    def redis_get(self, key: str) -> bytes:
        return self.recorded(next_call(), "store", lambda: self.store.get(key), lambda _: "ok")

    def recorded(self, call, service, make_call, outcome_of):
        used.ends = None
        start_ns = time.time_ns()
        outcome = "interrupted"
        try:
            answer = make_call()
            outcome = outcome_of(answer)
            return answer
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            self.truth.client(call, service, used.ends, start_ns, outcome)


def pooled_session() -> requests.Session:
    adapter = HTTPAdapter(pool_connections=8, pool_maxsize=16)
    adapter.poolmanager.pool_classes_by_scheme = {"http": RecordingPool}
    session = requests.Session()
    session.mount("http://", adapter)
    return session


def receive(truth: TruthLog) -> None:
    """Before each request of a Flask application: write the server's side, start counting calls."""
    g.call = request.headers.get(HEADER, "")
    g.calls_made = 0
    truth.server(g.call, request.environ[ENDS])


def next_call() -> str:
    name = f"{g.call}/{g.calls_made}"
    g.calls_made += 1
    return name
