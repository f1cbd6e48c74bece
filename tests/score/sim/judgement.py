"""Whether what the product asserts is so: table `judged`, one row a hop of the product.

A hop is identified with a leg by what was observed of it and never by what is asserted: by the
client's end and the moment that was stamped there, else by the server's end. A hop that a proxy's
log alone tells of has no stamp of its own; it is identified by its parent and its attempt. Then
every assertion is compared. What the product leaves open (null) is never false.
"""

from __future__ import annotations

import duckdb

FIELDS = ("client_pod", "server_pod", "service", "client_node", "server_node")
"""Said of a hop and known of a leg; null is not known."""

FAULTS = {
    "never_was": "leg IS NULL",
    "told_twice": "is_repeated",
    "wrong_membership": "request <> path_request",
    "wrong_parent": """leg IS NOT NULL AND parent IS NOT NULL
        AND parent_leg IS DISTINCT FROM true_parent""",
    "false_root": """leg IS NOT NULL AND parent IS NULL AND true_parent IS NOT NULL
        AND verdict = 'complete'""",
    "wrong_client_pod": "leg IS NOT NULL AND said_client_pod AND NOT client_pod_so",
    "wrong_server_pod": "leg IS NOT NULL AND said_server_pod AND NOT server_pod_so",
    "wrong_service": "said_service AND true_service AND NOT service_so",
    "wrong_address": "is_misaddressed",
}
"""What makes a hop a wrong commit. `false_root`: the path says that it is complete, and begins in
the middle of a request."""


def load(connection: duckdb.DuckDBPyConnection) -> None:
    identify(connection)
    compare(connection)
    faults = ", ".join(f"coalesce({test}, false) AS {name}" for name, test in FAULTS.items())
    is_wrong = " OR ".join(FAULTS)
    connection.execute(
        f"""CREATE TABLE judged AS
        SELECT *, ({is_wrong}) AS is_wrong FROM (
            SELECT *, {faults} FROM (
                SELECT t.*, up.leg AS parent_leg, root.request AS path_request,
                    r.hop IS NOT NULL AS is_repeated
                FROM told t
                LEFT JOIN (SELECT hash(path, position) AS key, leg FROM told) up
                    ON up.key = hash(t.path, t.parent)
                LEFT JOIN (SELECT path, request FROM told WHERE position = 0) root
                    ON root.path = t.path
                LEFT JOIN repeated r ON r.hop = t.hop
            )
        );
        DROP TABLE told"""
    )


def identify(connection: duckdb.DuckDBPyConnection) -> None:
    """Table `identified`: hop and leg. Stamps are equal to the nanosecond."""
    connection.execute(
        """CREATE TABLE at_client AS
        SELECT hash(socket, start_ns) AS key, min(id) AS leg FROM stamped_at_client GROUP BY key;

        CREATE TABLE at_server AS
        SELECT hash(socket, start_ns) AS key, min(id) AS leg FROM stamped_at_server GROUP BY key;

        CREATE TABLE identified AS
        SELECT hop, leg FROM hop JOIN at_client ON key = hash(said_client, start_ns)
        WHERE hop.at_client
        UNION ALL
        SELECT hop, leg FROM hop JOIN at_server ON key = hash(said_server, start_ns)
        WHERE hop.at_server AND NOT hop.at_client;
        DROP TABLE at_client; DROP TABLE at_server;

        INSERT INTO identified
        SELECT h.hop, min(l.id) FROM (
            SELECT hop, path, parent, attempt, said_server FROM hop
            WHERE NOT at_client AND NOT at_server
        ) h
        JOIN hop up ON up.path = h.path AND up.position = h.parent
        JOIN identified i ON i.hop = up.hop
        JOIN leg l ON l.parent_id = i.leg AND l.attempt = h.attempt AND l.server = h.said_server
        GROUP BY h.hop"""
    )


def compare(connection: duckdb.DuckDBPyConnection) -> None:
    """Table `told`: hops beside their legs, field by field; and `repeated`, those that tell of an
    end that another hop has told of. The two ends of one leg may well be told in a path each, where
    they could not be linked."""
    fields = ", ".join(
        f"""h.said_{name} IS NOT NULL AS said_{name}, l.{name} IS NOT NULL AS true_{name},
        coalesce(h.said_{name} = l.{name}, false) AS {name}_so"""
        for name in FIELDS
    )
    connection.execute(
        f"""CREATE TABLE told AS
        SELECT h.hop, h.path, h.verdict, h.position, h.parent, h.kind, h.attempt, h.class,
            h.confidence, h.at_client, h.at_server,
            i.leg, l.request, l.parent_id AS true_parent, l.kind AS true_kind,
            l.attempt AS true_attempt, {fields},
            coalesce(h.said_client <> l.client OR h.said_requested <> l.requested
                OR h.said_server <> l.server OR h.said_original <> l.original
                OR h.said_reply <> l.reply, false) AS is_misaddressed
        FROM hop h LEFT JOIN identified i USING (hop) LEFT JOIN leg l ON l.id = i.leg;

        CREATE TABLE repeated AS
        SELECT DISTINCT hop FROM (
            SELECT hop, leg, row_number() OVER (PARTITION BY leg, at_server ORDER BY hop) AS telling
            FROM told WHERE at_server AND leg IN (
                SELECT leg FROM told WHERE at_server GROUP BY leg HAVING count(*) > 1)
            UNION ALL
            SELECT hop, leg, row_number() OVER (PARTITION BY leg ORDER BY hop) AS telling
            FROM told WHERE (at_client OR NOT at_server) AND leg IN (
                SELECT leg FROM told WHERE at_client OR NOT at_server
                GROUP BY leg HAVING count(*) > 1)
        ) WHERE telling > 1;
        DROP TABLE identified; DROP TABLE hop"""
    )
