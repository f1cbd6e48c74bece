"""`cart`: asks price and store, and for stock the cart Service again, which may be itself."""

import os
import time

from flask import request

from . import service, tracing
from .contract import ITEMS, service_variable
from .truth import HOLD_HEADER

HOLD_SECONDS = 30
"""A call that asks to be held is answered after this long, in case nobody kills us."""

app, calls = service.create("cart")
calls.connect_store(os.environ[service_variable("store")])


@app.get("/cart/<int:number>")
def cart(number):
    tracing.leave_marker(service.marker())
    price = calls.http("GET", "price", f"/price/{number % ITEMS}").text
    hold_if_asked()
    return f"{price} {item(number)}"


@app.get("/cart/<int:number>/stock")
def cart_with_stock(number):
    content = item(number)
    reserved = calls.http("GET", "cart", f"/reserve/{number}").text
    price = calls.http("GET", "price", f"/price/{number % ITEMS}").text
    return f"{price} {content} {reserved}"


@app.get("/reserve/<int:number>")
def reserve(number):
    return f"reserved {item(number)}"


@app.post("/orders")
def order():
    customer = request.get_json()["customer"]
    price = calls.http("POST", "price", "/total", json={"customer": customer}).text
    return f"ordered for {price}", 201


def item(number: int) -> str:
    return calls.redis_get(f"item:{number % ITEMS}").decode()


def hold_if_asked() -> None:
    if request.headers.get(HOLD_HEADER):
        time.sleep(HOLD_SECONDS)


if __name__ == "__main__":
    service.serve(app)
