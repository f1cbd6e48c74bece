"""`price`: thinks for a few milliseconds and answers. It is never instrumented."""

import random
import time

from . import service

app, _ = service.create("price")


@app.get("/price/<int:number>")
def price(number):
    time.sleep(random.uniform(0.001, 0.004))
    return f"{number}.99 {'*' * random.randint(10, 500)}"


@app.post("/total")
def total():
    time.sleep(random.uniform(0.001, 0.003))
    return f"{random.randint(1, 10**6)}.00"


if __name__ == "__main__":
    service.serve(app)
