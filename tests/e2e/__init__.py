"""End-to-end checks: the product in the lab, with real traffic, against the bars of the project.

    python3 -m e2e [--only WORD ...] [--list]       (with `tests` on PYTHONPATH, as root)

Each group starts what it needs once (`runs.py`), its checks then look at what is left. The last
line is `N passed, N failed`, and the exit status follows it.
"""
