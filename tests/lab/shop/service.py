"""What the shop's HTTP services have in common: an application, its calls, and a server."""

import os

from flask import Flask

from . import contract, tracing
from .calling import Calls, receive
from .server import Server
from .truth import TruthLog


def marker() -> str:
    return os.environ[contract.MARKER]


def create(name: str) -> tuple[Flask, Calls]:
    truth = TruthLog()
    app = Flask(name)
    tracing.set_up(app, truth)
    app.before_request(lambda: receive(truth))
    return app, Calls(truth)


def serve(app: Flask) -> None:
    Server(app, contract.HTTP_PORT).serve_forever()
