"""`frontend`: asks the cart once, or twice to check out; answers 502 when a call breaks."""

import os

import requests
from flask import request

from . import service, tracing
from .server import HANG_UP
from .truth import DROP_HEADER

app, calls = service.create("frontend")


@app.get("/products/<int:number>")
def product(number):
    if request.headers.get(DROP_HEADER) == os.environ["POD_NAME"]:
        request.environ[HANG_UP] = True
        return "nobody will read this\n"
    return page(calls.http("GET", "cart", f"/cart/{number}?token={service.marker()}"))


@app.get("/stock/<int:number>")
def stock(number):
    return page(calls.http("GET", "cart", f"/cart/{number}/stock"))


@app.post("/checkout/<customer>")
def checkout(customer):
    tracing.leave_marker(service.marker())
    cart = calls.http("GET", "cart", "/cart/1")
    cart.raise_for_status()
    return page(calls.http("POST", "cart", "/orders", json={"customer": customer}))


@app.errorhandler(requests.RequestException)
def broken(_error):
    return "the cart did not answer\n", 502


def page(response: requests.Response):
    return f"<html>{response.text}</html>\n", response.status_code


if __name__ == "__main__":
    service.serve(app)
