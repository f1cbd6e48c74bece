"""Waiting for a condition with a limit: the only place where the lab polls."""

import time
from collections.abc import Callable


def until(what: str, condition: Callable[[], object], seconds: float, every: float = 0.05):
    """Returns the first true value of `condition`. A refused or reset connection counts as "not
    yet", because most conditions ask a server that is still starting."""
    deadline = time.monotonic() + seconds
    cause = None
    while True:
        try:
            value = condition()
            if value:
                return value
        except OSError as error:
            cause = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {seconds:.0f} s") from cause
        time.sleep(every)
