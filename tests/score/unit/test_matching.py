import unittest
from dataclasses import replace

from score import truth
from score.matching import Requests

from .example import LINES, MS, later, told


class OnOneConnection(unittest.TestCase):
    """Requests that follow each other on the client's kept-alive connection."""

    def test_path_belongs_to_the_request_during_which_it_began(self):
        followed_at_once = truth.requests(LINES + later(LINES, 8, 50 * MS))
        requests = Requests(followed_at_once)
        for request in followed_at_once:
            begun = replace(told(request), start_ns=request.start_ns + MS, request_id=None)
            self.assertEqual(requests.of(begun).number, request.number)

    def test_path_long_after_every_request_belongs_to_none(self):
        (only, *_) = truth.requests(LINES)
        stray = replace(told(only), start_ns=only.end_ns + 5_000 * MS, request_id=None)
        self.assertIsNone(Requests([only]).of(stray))


if __name__ == "__main__":
    unittest.main()
