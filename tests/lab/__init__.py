"""The lab: a real Kubernetes control plane, two nodes and pods, made of network namespaces.

Enter by `lab.cluster.Cluster` from Python or by `python3 -m lab` from a shell (with `tests` on
PYTHONPATH). It needs root. It never contacts an address that it has not made itself, and everything
it makes carries the prefix `tl-` or lives below `/run/throughline-lab`.
"""
