"""The shop: a small application that is real traffic for the lab, and writes down what is true.

    with Cluster("iptables", workdir) as cluster:
        shop = deploy(cluster, traced=True, truth=workdir / "truth.jsonl")
        driven = shop.drive(requests=1000, rate=20)

The outside client asks the NodePort; `ingress` (nginx) asks `frontend` by pod address; `frontend`
asks `cart`, which asks `price`, `store` (Redis) and sometimes itself, all by ClusterIP. Every side
of every call appends one JSON line to the truth file (`truth.py`), which the product never reads.
"""

from .deployment import Shop, deploy
from .driver import Driven

__all__ = ["Driven", "Shop", "deploy"]
