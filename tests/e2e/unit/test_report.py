import contextlib
import io
import unittest

from e2e.report import LeftOut, Report


def fail():
    raise AssertionError("no")


def leave_out():
    raise LeftOut("not here")


class Counting(unittest.TestCase):
    def check(self, only: list[str], bodies: dict, last_line: str, status: int):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            report = Report(only)
            for name, body in bodies.items():
                report.check(name, body)
            self.assertEqual(report.close(), status)
        self.assertEqual(said.getvalue().splitlines()[-1], last_line)

    def test_all_good_is_status_0(self):
        self.check([], {"a": lambda: None, "b": lambda: "x"}, "2 passed, 0 failed", 0)

    def test_one_failure_is_status_1(self):
        self.check([], {"a": lambda: None, "b": fail}, "1 passed, 1 failed", 1)

    def test_nothing_done_is_no_success(self):
        self.check(["other"], {"a": lambda: None}, "0 passed, 0 failed", 1)

    def test_left_out_is_neither_passed_nor_failed(self):
        bodies = {"a": lambda: None, "b": leave_out}
        self.check([], bodies, "1 passed, 0 failed, 1 skipped", 0)

    def test_only_what_is_asked_for_is_done(self):
        self.check(["a"], {"ab": lambda: None, "b": fail}, "1 passed, 0 failed", 0)
