"""Scores the product's tables against the truth of a simulated run, with no code of the product.

    python3 -m score.sim OUT [OUT ...] [--explain N]    (with `tests` on PYTHONPATH)

reads `OUT/tables` and `OUT/truth` and prints one JSON line a run. Everything is done in columns by
DuckDB, so that a million requests take about a minute of one core.

`delta.py` finds the files, `truth.py` and `asserted.py` say what happened and what is asserted,
`judgement.py` identifies each asserted hop with a true leg and says what is wrong with it. What the
line tells is counted in a file a subject: `paths.py`, `links.py`, `ambiguity.py`, `absence.py`,
`calibration.py`, `stability.py`. `bars.py` has the settings that are simulated and their bars.
"""
