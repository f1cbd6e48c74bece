import unittest

from score import truth

from .example import LINES, true_requests


class Truth(unittest.TestCase):
    def setUp(self):
        self.request = true_requests()[0]
        self.hops = {hop.call: hop for hop in self.request.hops}

    def test_hops_come_depth_first_in_the_order_of_the_calls(self):
        self.assertEqual(
            [hop.call for hop in self.request.hops], ["7", "7/0", "7/0/0", "7/0/0/0", "7/0/0/1"]
        )

    def test_tenth_call_of_a_server_comes_after_its_second(self):
        calls = ["1/0/10", "1/0/2", "1/0/2/0", "1/0"]
        self.assertEqual(sorted(calls, key=truth.place), ["1/0", "1/0/2", "1/0/2/0", "1/0/10"])

    def test_node_port_with_masquerade_is_both_translations_of_a_hidden_client(self):
        entry = self.hops["7"]
        self.assertEqual(entry.nat, "dnat+snat")
        self.assertEqual(entry.nat_original, "ext:41000->10.89.0.11:30080")
        self.assertEqual(entry.nat_reply, "10.244.2.6:8080->10.89.0.11:53570")

    def test_direct_call_of_a_pod_is_not_translated(self):
        self.assertEqual(self.hops["7/0"].nat, "none")
        self.assertIsNone(self.hops["7/0"].nat_original)

    def test_hairpin_has_one_pod_at_both_ends(self):
        hairpin = self.hops["7/0/0/1"]
        self.assertEqual((hairpin.source_pod, hairpin.destination_pod), ("cart-1", "cart-1"))
        self.assertEqual(hairpin.nat, "dnat+snat")

    def test_store_is_found_by_connection_and_time(self):
        self.assertEqual(self.hops["7/0/0/0"].destination_pod, "store-0")
        self.assertEqual(self.hops["7/0/0/0"].nat, "dnat")

    def test_call_of_a_pod_that_was_killed_keeps_what_its_server_saw(self):
        killed = ("client", "cart-1", "7/0/0/1")
        sides = ((line["kind"], line["pod"], line.get("call")) for line in LINES)
        lines = [line for line, side in zip(LINES, sides, strict=True) if side != killed]
        hop = truth.requests(lines)[0].hops[-1]
        self.assertEqual(
            (hop.source_pod, hop.source, hop.destination_pod), ("cart-1", None, "cart-1")
        )
        self.assertIsNone(hop.nat)

    def test_request_id_is_compared_as_the_product_keeps_it(self):
        self.assertEqual(self.request.request_id, "0f0e0d0c0b0a49088706050403020100")
        self.assertEqual(truth.canonical("My-Id"), "myid")
        self.assertEqual(truth.canonical("c2c58cd42cb68822aae7d640ddf6583a")[12], "8")
        self.assertIsNone(truth.canonical(None))
