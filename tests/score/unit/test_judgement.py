import unittest
from dataclasses import replace

from score import truth
from score.judgement import Calls, judge

from .example import LINES, MS, retried, told, true_requests


class Planted(unittest.TestCase):
    """Each test spoils a true path in one way."""

    def setUp(self):
        self.requests = true_requests()
        self.path = told(self.requests[0])

    def check(self, false: str | None = None, absent: str | None = None):
        judgement = judge(self.path, self.requests[0], Calls(self.requests))
        for remarks, expected in ((judgement.false, false), (judgement.absent, absent)):
            if expected is None:
                self.assertEqual(remarks, [])
            else:
                self.assertIn(expected, "; ".join(remarks))

    def spoil(self, position: int, **fields):
        self.path.hops[position] = replace(self.path.hops[position], **fields)

    def test_true_path_is_right(self):
        self.check()

    def test_wrong_pod_is_false(self):
        self.spoil(2, destination_pod="cart-0")
        self.check(false="destination_pod is said to be cart-0, was cart-1")

    def test_wrong_source_pod_is_false(self):
        self.spoil(2, source_pod="frontend-1")
        self.check(false="source_pod is said to be frontend-1")

    def test_pod_as_the_outside_client_is_false(self):
        self.spoil(0, source_pod="node-1")
        self.check(false="source_pod is said to be node-1, was None")

    def test_wrong_service_is_false(self):
        self.spoil(2, service="price")
        self.check(false="service is said to be price")

    def test_service_that_nobody_asked_for_may_be_named_or_left_out(self):
        for service in (None, "frontend"):
            self.spoil(1, service=service)
            self.check()

    def test_wrong_reply_tuple_is_false(self):
        self.spoil(2, nat_reply="10.244.1.9:8080->10.244.1.4:50084")
        self.check(false="nat_reply is said to be")

    def test_invented_translation_is_false(self):
        self.spoil(1, nat="dnat", nat_original="a:1->b:2", nat_reply="c:3->d:4")
        self.check(false="nat_original is said to be a:1->b:2, was None")

    def test_wrong_attempt_is_false(self):
        self.spoil(1, attempt=2)
        self.check(false="attempt is said to be 2, was 1")

    def test_wrong_parent_is_false(self):
        self.spoil(4, parent=1)
        self.check(false="parent is said to be 7/0 at frontend-0, was 7/0/0 at cart-1")

    def test_call_told_as_made_by_the_try_that_failed_is_false(self):
        self.requests = truth.requests(retried(LINES))
        self.path = told(self.requests[0])
        self.check()
        self.spoil(3, parent=1)
        self.check(false="parent is said to be 7/0 at frontend-1, was 7/0 at frontend-0")

    def test_tries_told_in_the_wrong_order_are_false(self):
        self.requests = truth.requests(retried(LINES))
        self.path = told(self.requests[0])
        self.spoil(1, attempt=2)
        self.spoil(2, attempt=1)
        self.check(false="attempt is said to be 2, was 1")

    def test_unknown_parent_is_absent(self):
        self.spoil(4, parent=None)
        self.check(absent="hop 4: parent, which was call 7/0/0")

    def test_unknown_field_is_absent(self):
        self.spoil(3, destination_pod=None)
        self.check(absent="destination_pod, which was store-0")

    def test_missing_hop_is_absent(self):
        del self.path.hops[4]
        self.check(absent="call 7/0/0/1 is not in the path")

    def test_swapped_order_is_false(self):
        third, fourth = self.path.hops[3], self.path.hops[4]
        self.path.hops[3:] = [replace(fourth, position=3), replace(third, position=4)]
        self.check(false="the order is said to be")

    def test_hop_of_another_request_on_the_same_connection_is_false(self):
        hop = self.path.hops[3]
        self.spoil(3, start_ns=hop.start_ns + 1000 * MS, end_ns=hop.end_ns + 1000 * MS)
        self.check(false="belongs to request 8", absent="call 7/0/0/0 is not in the path")

    def test_call_that_waited_for_the_connection_of_another_is_not_meant(self):
        hop = self.requests[0].hops[3]
        self.requests[0].hops[3] = replace(hop, arrived_ns=hop.start_ns + MS)
        around = {"start_ns": hop.start_ns - 50 * MS, "end_ns": hop.end_ns + 50 * MS}
        waiting = replace(hop, call="8/0/0/9", arrived_ns=hop.end_ns + 40 * MS, **around)
        self.requests[1].hops.append(waiting)
        judgement = judge(self.path, self.requests[0], Calls(reversed(self.requests)))
        self.assertEqual(judgement.false, [])

    def test_invented_hop_is_false(self):
        invented = {"source": "10.244.2.4:1", "requested": "1.2.3.4:5", "destination": "1.2.3.4:5"}
        self.path.hops.append(replace(self.path.hops[3], position=5, **invented))
        self.check(false="never happened")

    def test_next_call_on_the_same_connection_is_told_apart_by_time(self):
        first = self.requests[0].hops[3]
        second = replace(
            first, call="7/0/0/2", start_ns=first.end_ns + MS, end_ns=first.end_ns + 2 * MS
        )
        self.requests[0].hops.append(second)
        self.path = told(self.requests[0])
        self.check()

    def test_hop_told_twice_is_false(self):
        self.path.hops.append(replace(self.path.hops[3], position=5))
        self.check(false="is told twice")

    def test_hop_whose_client_is_unknown_is_found_at_its_server(self):
        self.spoil(2, source=None, source_pod=None, requested=None, service=None, nat=None,
                   nat_original=None, nat_reply=None)  # fmt: skip
        self.check(absent="requested, which was 10.96.0.9:80")
