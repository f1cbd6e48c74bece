"""Tests of the lab itself, without the product: `python3 -m unittest discover -s lab/checks -t .`
in the folder `tests`. Those of `test_cluster` need root and the fetched parts."""
