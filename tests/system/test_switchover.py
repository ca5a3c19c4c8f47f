# SPDX-License-Identifier: Apache-2.0
"""Moves without disasters in a lab: what a client sees, and how few statements it takes. Fleets that
the lab did not make: test_foreign.py."""
from moves import DONE, Writers, assert_sound, of_lab

REPLICATES_SECONDS = 2
CRITICAL_STATEMENTS = 5


def test_there_and_back_with_nothing_lost(lab):
    fleet = of_lab(lab, probe=True)
    with Writers(fleet) as writers:
        for _ in range(4):
            to = fleet.relay().region
            done = fleet.move(to, expect=DONE)
            assert done["report"]["result"] == "done" and done["report"]["to"] == to
            assert done["shard"]["result"] == "moved" and done["shard"]["lost_transactions"] == 0
            assert done["shard"]["critical_statements"] <= CRITICAL_STATEMENTS
            assert done["shard"]["write_outage_ms"] is not None
            assert_sound(fleet, writers.acked, seconds=REPLICATES_SECONDS)
            writers.wait_for_more(5)
        writers.stop()
        assert_sound(fleet, writers.acked)


def test_a_shard_that_is_there_already_is_left_alone(lab):
    fleet = of_lab(lab)
    to = fleet.relay().region
    fleet.move(to, expect=DONE)
    route = fleet.route()
    done = fleet.move(to, expect=DONE)
    assert done["shard"]["result"] == "already there"
    assert fleet.route() == route


def logged(fleet, server, since):
    """What Holdfast's account sent to the server since a time: (when, packet) by its general log."""
    rows = fleet.sql(server, "SELECT event_time, CONVERT(argument USING utf8mb4) AS text"
                             " FROM mysql.general_log WHERE command_type = 'Query'"
                             " AND event_time >= %s AND user_host LIKE 'holdfast%%'", since)
    return [(row["event_time"], row["text"]) for row in rows]


def test_the_servers_count_the_same_critical_statements(lab):
    """The report says at most five between freeze and publish; the servers' own logs agree."""
    fleet = of_lab(lab)
    ends = fleet.primary(), fleet.relay()
    since = {}
    for server in ends:
        fleet.sql(server, "SET GLOBAL log_output='TABLE'")
        fleet.sql(server, "SET GLOBAL general_log=ON")
        since[server] = fleet.value(server, "SELECT NOW(6)")
    done = fleet.move(ends[1].region, expect=DONE)
    packets = sorted(packet for server in ends for packet in logged(fleet, server, since[server]))
    for server in ends:
        fleet.sql(server, "SET GLOBAL general_log=OFF")
    texts = [text for _, text in packets]
    freeze = next(i for i, text in enumerate(texts) if "FOR SET GLOBAL read_only=1" in text)
    promote = next(i for i, text in enumerate(texts) if "MASTER_GTID_WAIT" in text
                   and "read_only=0" in text)
    assert promote == freeze + 1, texts[freeze:promote + 1]
    statements = len(texts[freeze].split("; ")) + 1  # promote is one, however many it is made of
    assert done["shard"]["critical_statements"] == statements <= CRITICAL_STATEMENTS


def test_a_write_of_root_past_the_freeze_is_said(lab):
    """A privileged session changes the old primary between freeze and redirect (the conductor is dead):
    the move goes through, but the server is reported as ahead, with what it has."""
    fleet = of_lab(lab)
    old, new = fleet.primary(), fleet.relay()
    with Writers(fleet) as writers:
        fleet.move(new.region, fault="new.forget:after=kill")
        fleet.sql(old, f"CREATE TABLE {fleet.database}.late (a INT)")
        done = fleet.resume(expect=DONE)
        assert done["shard"]["result"] == "moved" and done["shard"]["lost_transactions"] == 1, done
        notes = done["shard"]["notes"]
        assert "AHEAD" in notes and "CREATE TABLE" in notes and old.address in notes, notes
        assert_sound(fleet, writers.acked)
