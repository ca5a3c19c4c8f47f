# SPDX-License-Identifier: Apache-2.0
"""The real conductor on simulated servers: moves and faults, and that the simulation itself is one."""
import contextlib
import os
import signal
import time

import pymysql
import pytest

from conftest import wait_until
from sim import CONTROL, PROBE, SHARDS, make_sim, value  # noqa: F401 a fixture


# --- Moves ------------------------------------------------------------------------------------


def test_all_shards_move_there_and_back(make_sim):
    sim = make_sim("--freeze-cap", "8")
    assert sim.json("readiness")["go"]
    for region in ("east", "west"):
        shards = sim.switchover(region)
        assert {shard["result"] for shard in shards.values()} == {"moved"}
        assert sum(shard["lost_transactions"] for shard in shards.values()) == 0
        assert set(sim.homes().values()) == {region}
    assert sim.json("readiness")["go"]
    seen = sim.end()
    assert (seen["opened"], seen["two_primaries"], seen["lost"]) == (2 * SHARDS, 0, 0)
    assert seen["rss_peak_kib"] < 20000 or "SIMFLEET" in os.environ


def test_the_distance_between_the_regions_is_in_the_outage(make_sim):
    sim = make_sim("--rtt", "west=15", shards=2)
    shards = sim.switchover("east")
    assert all(15 <= shard["critical_ms"] < 45 for shard in shards.values())
    assert all(shard["write_outage_ms"] >= 12 for shard in shards.values())


def test_the_outage_is_measured_where_every_answer_takes_its_time(make_sim):
    """Somebody always waits at the old primary, also while the probe gets to know the new one."""
    sim = make_sim("--fault", "0:0:slow=15", "--fault", "0:3:slow=40", shards=1)
    for region in ("east", "west", "east"):
        assert sim.switchover(region)["s0"]["write_outage_ms"] is not None


def test_a_conductor_killed_in_the_middle_leaves_a_run_that_is_resumed(make_sim):
    sim = make_sim("--freeze-cap", "1")
    run = sim.popen("switchover", "--to", "east", "--yes")
    wait_until(lambda: "east" in sim.homes().values(), 10, "the first shard is there")
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert set(sim.homes().values()) != {"east"}
    sim.cli("run", "resume")
    assert set(sim.homes().values()) == {"east"}
    assert sim.end()["lost"] == 0


# --- Faults -----------------------------------------------------------------------------------


def test_servers_that_are_dead_or_hang_are_named_after_one_deadline(make_sim):
    sim = make_sim("--fault", "3:2:dead", "--fault", "7:4:hang")
    began = time.monotonic()
    assert sim.findings() == {("unreachable", sim.address(3, 2)),
                              ("unreachable", sim.address(7, 4))}
    assert time.monotonic() - began < 5
    sim.fault("3:2:up")
    sim.fault("7:4:up")
    assert sim.findings() == {("replication-broken", sim.address(3, 2))}
    with sim.connect(3, 2) as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL rpl_semi_sync_slave_enabled=1")
        cursor.execute("START SLAVE")
    assert sim.json("readiness")["go"]


def test_a_slow_server_shows_in_the_lag(make_sim):
    sim = make_sim("--fault", "1:3:slow=100", shards=2)
    lags = {shard["name"]: shard["lag_ms"] for shard in sim.json("status")["shards"]}
    assert lags["s1"] >= 100 > lags["s0"]


@pytest.mark.parametrize("fault", ["5:0:freeze-timeout", "5:3:promote-fails"])
def test_a_shard_that_cannot_move_is_undone_and_the_others_go(make_sim, fault):
    sim = make_sim("--fault", fault, "--freeze-cap", "8")
    shards = sim.switchover("east", code=1)
    stayed = [name for name, shard in shards.items() if shard["result"] != "moved"]
    assert stayed == ["s5"] and shards["s5"]["result"] == "undone"
    assert [name for name, home in sim.homes().items() if home == "west"] == ["s5"]
    with sim.connect(5, 0, PROBE) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE probe SET n = n WHERE FALSE")


def test_the_new_primary_that_dies_before_its_promotion_leaves_the_old_one_open(make_sim):
    sim = make_sim("--fault", "2:3:dead@22", "--freeze-cap", "4", shards=4)
    shards = sim.switchover("east", code=1)
    assert {shard["result"] for shard in shards.values()} == {"moved", "undone"}
    assert sim.homes()["s2"] == "west"


def test_a_shard_that_is_moved_by_hand_while_it_waits_for_its_turn_is_left_alone(make_sim):
    sim = make_sim("--freeze-cap", "1", "--fault", "0:0:freeze-timeout", "--fault", "1:0:slow=30", shards=2)
    sim.set_policy(freeze_timeout="4s")  # so long the first one keeps the second from its freeze
    run = sim.popen("switchover", "--to", "east", "--yes")
    wait_until(lambda: [shard["state"] for shard in sim.json("status")["shards"]] == ["promoting", "preparing"],
               10, "the second one waits")
    with sim.connect(1, 0) as old, sim.connect(1, 1) as new:
        for connection, statement in ((old, "SET GLOBAL read_only=1"), (new, "STOP SLAVE"),
                                      (new, "RESET SLAVE ALL"), (new, "SET GLOBAL read_only=0")):
            connection.cursor().execute(statement)
    out, err = run.communicate(timeout=60)
    assert "is no longer a writable primary" in out, (out, err)
    for server, is_closed in enumerate("101111"):
        with sim.connect(1, server) as connection:
            assert value(connection, "SELECT @@global.read_only") == is_closed


def test_a_wrong_password_is_refused_by_every_server(make_sim):
    sim = make_sim(shards=2)
    right = sim.password_file(CONTROL).read_text()
    sim.password_file(CONTROL).write_text("wrong")
    assert sim.findings() >= {("login-refused", sim.address(shard, server))
                              for shard in range(2) for server in range(6)}
    sim.password_file(CONTROL).write_text(right)
    sim.password_file("repl").write_text("wrong")
    assert {check for check, _ in sim.findings()} == {"replication-login"}


# --- The simulation itself --------------------------------------------------------------------


def test_a_statement_that_is_not_known_is_an_error_and_ends_badly(make_sim):
    sim = make_sim(shards=1)
    with sim.connect(0, 0) as connection, pytest.raises(pymysql.err.ProgrammingError) as raised:
        value(connection, "SELECT @@nothing_of_the_kind")
    assert raised.value.args[0] == 1064 and "nothing_of_the_kind" in raised.value.args[1]
    assert sim.end(code=1)["unknown"] == 1
    assert "nothing_of_the_kind" in sim.said()


def test_the_nth_statement_fails_as_ordered(make_sim):
    sim = make_sim("--fault", "0:0:error=1205@3", shards=1)  # the client's greeting is the first
    with sim.connect(0, 0) as connection:
        assert value(connection, "SELECT @@server_id") == "1"
        with pytest.raises(pymysql.err.OperationalError) as raised:
            value(connection, "SELECT @@server_id")
        assert raised.value.args[0] == 1205
        assert value(connection, "SELECT @@server_id") == "1"


def test_two_writable_servers_and_a_lost_write_are_noticed(make_sim):
    sim = make_sim("--lag", "5000", shards=1)
    with sim.connect(0, 0, PROBE) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO probe (slot, n, at_us) VALUES (1, 1, 0)"
                       " ON DUPLICATE KEY UPDATE n = n + 1")
    with sim.connect(0, 3) as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL read_only=0")
    seen = sim.end(code=1)
    assert (seen["two_primaries"], seen["lost"]) == (1, 1)


def test_the_user_lock_has_one_holder_and_kill_frees_it(make_sim):
    sim = make_sim(shards=1)
    with contextlib.ExitStack() as ends:
        first, second = (ends.enter_context(sim.connect(0, 0)) for _ in range(2))
        assert value(first, "SELECT GET_LOCK('holdfast', 0.000)") == "1"
        assert value(second, "SELECT GET_LOCK('holdfast', 0.050)") == "0"
        holder = value(second, "SELECT IS_USED_LOCK('holdfast')")
        assert int(holder) == first.thread_id()
        with second.cursor() as cursor:
            cursor.execute(f"KILL {holder}")
        assert value(second, "SELECT GET_LOCK('holdfast', 1.000)") == "1"
        first._force_close()


def test_a_position_is_waited_for_until_replication_has_it(make_sim):
    sim = make_sim("--lag", "200", shards=1)
    with sim.connect(0, 0) as primary, sim.connect(0, 4) as replica:
        with primary.cursor() as cursor:
            cursor.execute("INSERT INTO probe (slot, n, at_us) VALUES (1, 1, 0)"
                           " ON DUPLICATE KEY UPDATE n = n + 1")
        position = value(primary, "SELECT @@gtid_binlog_pos")
        began = time.monotonic()
        assert value(replica, f"SELECT MASTER_GTID_WAIT('{position}', 0.100)") == "-1"
        assert value(replica, f"SELECT MASTER_GTID_WAIT('{position}', 2.000)") == "0"
        assert 0.35 < time.monotonic() - began < 1  # by way of the relay: twice the lag
        assert value(replica, "SELECT @@gtid_slave_pos") == position
