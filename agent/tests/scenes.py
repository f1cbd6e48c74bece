"""What is played before the agent, and what it must have seen of it. One function a promise."""

import subprocess
import time

from live import (CLIENT, EXCLUDED_PORT, POD_IP, POD_IP6, PODS, SERVER, SERVICE, SERVICE6, STRANGER,
                  Seen, address, in_namespace)


def play(stage):
    """Plays every scene in front of one agent, and returns the tests of what it saw."""
    stage.server(8080)
    before = stage.client(8080)
    before.say("3 10")
    agent = stage.agent()

    before.say("4 20")

    plain = stage.client(8080)
    plain.say("50 100")
    split = stage.client(8080, "split")
    split.say("20 300")
    direct = stage.client(8080, ip=POD_IP[SERVER])
    direct.say("5 10")
    duplex = stage.client(8080, "duplex")
    duplex.say("500 40")
    small = stage.client(8080)
    small.say("300 1")
    large = stage.client(8080)
    large.say("3 2000000")
    hairpin = stage.client(8080, namespace=SERVER)
    hairpin.say("10 50")

    stage.server(8081, ip="::")
    six = stage.client(8081, ip=SERVICE6)
    six.say("10 50")
    mapped = stage.client(8081, ip=f"::ffff:{SERVICE}")
    mapped.say("4 50")

    handover = stage.server(8082, "handover")
    handed = stage.client(8082)
    handed.say("5 40")

    stage.server(8083)
    killed = stage.client(8083)
    killed.say("2 10")
    killed.say("say die")
    killed.say("close", "closed")

    refused = subprocess.run(
        [*in_namespace(CLIENT), "python3", "-c",
         f"import socket; socket.create_connection(('{SERVICE}', 7777))"], capture_output=True)

    stage.server(EXCLUDED_PORT)
    excluded = stage.client(EXCLUDED_PORT, ip=POD_IP[SERVER])
    excluded.say("5 10")

    stage.server(8084, namespace=STRANGER)
    stranger = stage.client(8084, ip="127.0.0.1", namespace=STRANGER)
    stranger.say("5 10")

    burst = [stage.client(8080) for _ in range(10)]
    for client in burst:
        client.child.stdin.write("100 200\n")
        client.child.stdin.flush()
    for client in burst:
        client.expect("answered", timeout=60)

    plain.say("close", "closed")
    time.sleep(4.5)
    resumed = stage.client(8080)
    resumed.say("1 5")
    time.sleep(2)
    resumed.say("1 7")
    time.sleep(2.5)
    agent.stop()
    seen = Seen(agent.lines)

    def both_ends_agree_through_dnat():
        client, server = seen.both_ends(plain.port, 50)
        assert [line["ordinal"] for line in client] == list(range(50))
        assert [line["ordinal"] for line in server] == list(range(50))
        assert {line["remote"] for line in client} == {address(SERVICE, 8080)}
        assert {line["local"] for line in server} == {address(POD_IP[SERVER], 8080)}
        assert {line["bytes_request"] for line in client} == {len("100\n") + 100}

    def without_nat_both_ends_agree_and_no_binding_is_told():
        seen.both_ends(direct.port, 5)
        source = address(POD_IP[CLIENT], direct.port)
        assert not seen.of("nat_binding", original_source=source)

    def split_header_and_body_are_one_turn():
        client, _ = seen.both_ends(split.port, 20)
        assert {line["bytes_request"] for line in client} == {len("300\n") + 300}

    def a_reader_beside_the_writer_makes_the_same_turns():
        client, _ = seen.both_ends(duplex.port, 500)
        assert all(line["thread"] not in (0, line["response_thread"]) for line in client)

    def small_turns_are_all_counted():
        seen.both_ends(small.port, 300)

    def large_bodies_are_one_turn():
        client, _ = seen.both_ends(large.port, 3)
        size = len("2000000\n") + 2_000_000
        assert {(line["bytes_request"], line["bytes_response"]) for line in client} == {(size, size)}

    def the_binding_of_a_service_call_is_right():
        source = address(POD_IP[CLIENT], plain.port)
        bindings = seen.of("nat_binding", original_source=source)
        assert bindings, "no binding"
        for binding in bindings:
            assert binding["original_destination"] == address(SERVICE, 8080)
            assert binding["reply_source"] == address(POD_IP[SERVER], 8080)
            assert binding["reply_destination"] == source
        assert bindings[0]["evidence"] == "xmit"

    def hairpin_is_translated_twice_and_agrees():
        source = address(POD_IP[SERVER], hairpin.port)
        bindings = seen.of("nat_binding", original_source=source)
        assert bindings, "no binding"
        assert bindings[0]["reply_source"] == address(POD_IP[SERVER], 8080)
        masqueraded = bindings[0]["reply_destination"]
        assert masqueraded.startswith("10.77.2.1:"), masqueraded
        client, server = seen.both_ends(hairpin.port, 10, masqueraded.rsplit(":", 1)[1])
        uid = PODS[SERVER][1]
        assert {line["owner"]["pod"] for line in client + server} == {uid}

    def ipv6_works_like_ipv4():
        client, server = seen.both_ends(six.port, 10)
        assert client[0]["remote"] == address(SERVICE6, 8081)
        assert server[0]["local"] == address(POD_IP6[SERVER], 8081)
        bindings = seen.of("nat_binding", original_source=address(POD_IP6[CLIENT], six.port))
        assert bindings and bindings[0]["reply_source"] == address(POD_IP6[SERVER], 8081)

    def ipv4_on_an_ipv6_socket_is_told_as_ipv4():
        client, server = seen.both_ends(mapped.port, 4)
        assert client[0]["remote"] == address(SERVICE, 8081)
        assert server[0]["local"] == address(POD_IP[SERVER], 8081)

    def threads_are_those_of_the_calls():
        _, server = seen.both_ends(handed.port, 5)
        truth = [line for line in handover.lines if line["event"] == "served"]
        for line, fact in zip(server, truth):
            found = (line["process"], line["thread"], line["response_thread"])
            assert found == (fact["process"], fact["reader"], fact["writer"]), (found, fact)
            assert fact["reader"] != fact["writer"]

    def a_killed_backend_is_seen_from_both_ends():
        for role in ("client", "server"):
            exchanges = seen.exchanges(role, killed.port)
            assert len(exchanges) == 3, f"{role}: {len(exchanges)}"
            last = exchanges[-1]
            assert last["tcp_seq_resp"] is None and last["ended_by"] == "close", last
        assert (seen.exchanges("client", killed.port)[-1]["tcp_seq_req"]
                == seen.exchanges("server", killed.port)[-1]["tcp_seq_req"])

    def a_refused_connection_is_told_with_its_binding():
        assert refused.returncode != 0
        closed = [line for line in seen.of("connection", end="refused")
                  if line["remote"] == address(SERVICE, 7777)]
        assert len(closed) == 1, closed
        source = closed[0]["local"]
        assert seen.of("nat_binding", original_source=source), "no binding"
        failures = [line for line in seen.of("failure", failure="refused")
                    if line["local"] == address(POD_IP[SERVER], 7777)]
        assert failures and failures[0]["reason"], failures

    def a_connection_older_than_the_agent_begins_at_a_clean_turn():
        client = seen.exchanges("client", before.port)
        server = seen.exchanges("server", before.port)
        assert 2 <= len(client) <= 4, f"{len(client)} exchanges"
        assert {line["ordinal"] for line in client + server} == {None}
        truth = {line["tcp_seq_req"] for line in client}
        common = truth & {line["tcp_seq_req"] for line in server}
        assert len(common) >= 2, (client, server)
        assert {line["bytes_request"] for line in client + server} == {len("20\n") + 20}
        bindings = seen.of("nat_binding", original_source=address(POD_IP[CLIENT], before.port))
        assert bindings and bindings[0]["evidence"] == "dump", bindings

    def excluded_and_strange_traffic_is_not_reported():
        for port in (excluded.port, stranger.port):
            told = [line for line in seen.of("exchange") + seen.of("connection")
                    if line["local"].endswith(f":{port}")]
            assert not told, told
        nodes = [line for line in seen.of("exchange") if line["owner"]["pod"] is None]
        assert not nodes, nodes

    def every_exchange_of_a_burst_is_there_once():
        for client in burst:
            seen.both_ends(client.port, 100)
        keys = [(line["socket"], line["tcp_seq_req"], line["end_ns"])
                for line in seen.of("exchange")]
        assert len(keys) == len(set(keys)), "an exchange was shipped twice with the same end"

    def pods_are_attributed_first_by_cgroup_and_then_by_namespace():
        owners = {(line["owner"]["pod"], line["owner"]["by"]) for line in seen.of("exchange")}
        pods = {uid for _, uid in PODS.values()}
        assert {pod for pod, _ in owners} == pods, owners
        assert {by for _, by in owners} <= {"netns", "cgroup"}, owners
        by = [line["owner"]["by"] for line in seen.of("exchange")]
        assert by.index("netns") < 10 and "cgroup" not in by[10:], by[:20]

    def a_connection_is_told_when_it_opens_while_it_lives_and_when_it_closes():
        source = address(POD_IP[CLIENT], plain.port)
        states = [line["state"] for line in seen.of("connection", local=source)]
        assert states[0] == "open" and states[-1] == "closed", states
        assert seen.of("connection", local=source, state="closed")[0]["end"] == "fin"
        assert seen.of("connection", local=source)[-1]["bytes_sent"] in range(5200, 5203)
        lives = [line["state"] for line in
                 seen.of("connection", local=address(POD_IP[CLIENT], split.port))]
        assert lives.count("active") >= 2, lives

    def live_bindings_are_repeated():
        source = address(POD_IP[CLIENT], split.port)
        bindings = seen.of("nat_binding", original_source=source)
        assert len(bindings) >= 2, bindings
        assert bindings[-1]["last_seen_ns"] > bindings[0]["last_seen_ns"]

    def a_silent_answer_is_shipped_and_the_next_request_is_another():
        exchanges = [line for line in seen.of("exchange", role="client")
                     if line["local"].endswith(f":{resumed.port}")]
        assert [line["ended_by"] for line in exchanges] == ["quiet", "quiet"], exchanges

    def heartbeats_cover_without_gaps_and_keep_their_word():
        covered = None
        for position, line in enumerate(seen.lines):
            if line["kind"] == "heartbeat":
                assert covered in (None, line["covered_from_ns"]), "a gap"
                assert line["covered_to_ns"] >= line["covered_from_ns"]
                covered = line["covered_to_ns"]
            elif line["kind"] == "exchange" and covered is not None:
                late = covered - line["end_ns"]
                assert late <= 0, f"line {position} came {late} ns after its time was covered: {line}"
        assert len(seen.of("heartbeat")) >= 8

    def only_the_turns_of_older_connections_count_as_lost():
        lost = [line["lost_kernel"] for line in seen.of("heartbeat")]
        assert sum(lost) > 0, "the first turn after the start was not told as lost"
        assert sum(lost[3:]) == 0, lost

    return [(name.replace("_", " "), test) for name, test in locals().items()
            if callable(test) and name not in ("stage",) and getattr(test, "__module__", "") == __name__]
