"""What the deployment and the pods of the shop agree on: ports and environment variables.

Only names and numbers, so that whoever starts the shop needs none of the libraries it runs on.
"""

HTTP_PORT = 8080
STORE_PORT = 6379
INGRESS_PORT = 8080
ITEMS = 50
"""How many products there are."""

TRUTH_FILE = "LAB_TRUTH"
FOLDER = "LAB_FOLDER"
"""Where a pod may keep files."""
MARKER = "LAB_MARKER"
"""A word that stands for everything private; none of it may be stored."""
TRACED = "LAB_TRACED"
"""`grpc` or `http` (the exporter's protocol); unset when not traced."""
FRONTENDS = "LAB_FRONTENDS"
"""Addresses that the ingress sends to, with commas between."""
SYSLOG = "LAB_SYSLOG"
PASS_REQUEST_ID = "LAB_PASS_REQUEST_ID"
"""Set when the ingress tells the services the id of the request."""


def service_variable(name: str) -> str:
    """The environment variable with the address of a service."""
    return f"LAB_{name.upper()}"
