"""A crowd of true rows, damaged in a known way: the scorer must see just the damage, no more."""

import random
import time
import unittest

from . import example
from .test_commits import scored

REQUESTS = 400
SERVERS = ("cart-0", "cart-1", "cart-2")


def crowd(seed: int) -> example.Run:
    chance = random.Random(seed)
    legs = []
    for number in range(REQUESTS):
        legs += example.request(number, f"frontend-{chance.randint(1, 3)}", chance.choice(SERVERS))
    return example.told(legs)


class Mutation(unittest.TestCase):
    def setUp(self):
        self.seed = time.time_ns() % 1_000_000
        self.run_told = crowd(self.seed)

    def wrong(self) -> dict:
        return scored(self.run_told)

    def test_undamaged_rows_are_right(self):
        figures = self.wrong()
        self.assertEqual(figures["wrong_commits"], 0, f"seed {self.seed}")
        self.assertEqual(figures["coverage"], 1, f"seed {self.seed}")

    def test_pods_of_two_servers_swapped_are_as_many_wrong_hops_as_they_served(self):
        swapped = {"cart-0": "cart-1", "cart-1": "cart-0"}
        damaged = 0
        for hop in self.run_told.hops:
            if hop["destination_pod_uid"] in swapped:
                hop["destination_pod_uid"] = swapped[hop["destination_pod_uid"]]
                damaged += 1
        figures = self.wrong()
        faults = {"wrong_server_pod": damaged}
        self.assertEqual(figures["wrong_by_fault"], faults, f"seed {self.seed}")
        self.assertEqual(figures["coverage"], (REQUESTS - damaged) / REQUESTS, f"seed {self.seed}")

    def test_calls_handed_to_a_neighbour_are_wrong_and_nothing_else_is(self):
        chance = random.Random(self.seed)
        handed = chance.sample(range(REQUESTS - 1), 20)
        moved = [(self.run_told.hop(number, 3), number) for number in handed]
        for hop, number in moved:
            hop.update(path_id=f"p{number + 1}", position=4)
        figures = self.wrong()
        self.assertEqual(figures["wrong_commits"], 20, f"seed {self.seed}")
        self.assertEqual(figures["wrong_by_fault"]["wrong_membership"], 20, f"seed {self.seed}")
