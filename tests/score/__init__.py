"""Compares the product's tables with the truth of the shop, and shares no code with the product.

    python3 -m score OUT [OUT ...] [--explain N]    (with `tests` on PYTHONPATH)

reads `OUT/tables` with DuckDB, `OUT/truth.jsonl` and `OUT/run.json`, prints one JSON line a run and
keeps it as `OUT/score.json`. `truth.py` says what happened, `tables.py` what the product says,
`judgement.py` whether that is so, `line.py` counts.
"""
