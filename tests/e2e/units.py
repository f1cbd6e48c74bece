"""The unit tests of these checks themselves, which need no lab."""

from __future__ import annotations

import unittest
from collections.abc import Iterator

from lab.parts import REPOSITORY

from .report import Report

FOLDER = "e2e/unit"


def run(report: Report) -> None:
    tests = REPOSITORY / "tests"
    suite = unittest.defaultTestLoader.discover(str(tests / FOLDER), top_level_dir=str(tests))
    for test in cases(suite):
        report.check(test.id().rsplit(".", 1)[1], lambda test=test: raise_failure(test))


def cases(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from cases(test)
        else:
            yield test


def raise_failure(test: unittest.TestCase) -> None:
    result = unittest.TestResult()
    test.run(result)
    for _, trace in (*result.failures, *result.errors):
        raise AssertionError(trace)
