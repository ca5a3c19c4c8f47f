# SPDX-License-Identifier: Apache-2.0
"""The load: it follows the primary, and it is an honest judge: each planted violation is found."""
import json
import signal

import pymysql
import pytest

from conftest import wait_until

PRIMARY, REPLICA, OTHER = "s0-west-1", "s0-west-2", "s0-east-1"
ROWS = "holdfast.load_row"


def start(lab, *args, seconds=60):
    """A load that runs, has written, and is ended by finish(); with the name of its run."""
    before = newest_run(lab)
    process = lab.popen("load", "run", "--seconds", str(seconds), "--json", *args)
    wait_until(lambda: newest_run(lab) != before, 10, "the load writes")
    return process, newest_run(lab)


def newest_run(lab):
    return lab.value(PRIMARY, f"SELECT MAX(load_run) FROM {ROWS} WHERE seq > 20")


def finish(process, end=signal.SIGTERM):
    """End the writing; the report and the exit status."""
    if end:
        process.send_signal(end)
    out, err = process.communicate(timeout=60)
    assert out, err
    return json.loads(out), process.returncode


def execute(lab, name, *statements):
    with lab.connect(name) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def server_of(report, address, shard=0):
    return next(s for s in report["shards"][shard]["servers"] if s["name"] == address)


def move_by_hand(lab, old, new):
    """A switchover that the store knows nothing of."""
    execute(lab, old, "SET GLOBAL read_only = 1")
    position = lab.value(old, "SELECT @@gtid_binlog_pos")
    assert lab.value(new, "SELECT MASTER_GTID_WAIT(%s, 10)", position, timeout=15) == 0
    host, port = lab.address(new).rsplit(":", 1)
    execute(lab, new, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0")
    execute(lab, old, "SET GLOBAL rpl_semi_sync_master_enabled = 0",
            f"CHANGE MASTER TO MASTER_HOST = '{host}', MASTER_PORT = {port}, MASTER_USER = 'repl', "
            f"MASTER_PASSWORD = '{lab.password('repl')}', MASTER_USE_GTID = slave_pos, "
            "MASTER_DEMOTE_TO_SLAVE = 1", "START SLAVE")


@pytest.mark.lab(shards=2)
def test_calm_fleet_loses_nothing_and_every_server_is_verified(lab):
    report = lab.json("load", "run", "--seconds", "2", "--writers", "3")
    assert report["lost"] == report["duplicated"] == report["unexpected"] == report["unknown"] == 0
    assert report["verified_servers"] == 12 and report["unverified"] == []
    assert report["writers"] == 3 and 2 <= report["seconds"] < 3
    for shard in report["shards"]:
        assert shard["acknowledged"] > 50 and shard["moves"] == 0
        assert 0 < shard["longest_gap_ms"] < 2000 and 0 < shard["p50_ms"] <= shard["p99_ms"]
        assert [server["rows"] for server in shard["servers"]] == [shard["acknowledged"]] * 6
    assert report["acknowledged"] == sum(shard["acknowledged"] for shard in report["shards"])
    removed = lab.cli("load", "clean").stdout
    assert removed == f"{report['acknowledged']} rows of earlier load runs removed.\n"
    assert lab.value(PRIMARY, f"SELECT COUNT(*) FROM {ROWS}") == 0


def test_row_missing_on_one_replica_is_lost_with_server_and_number(lab):
    process, run = start(lab)
    row = f"load_run = '{run}' AND writer = 1 AND seq = 5"
    wait_until(lambda: lab.value(REPLICA, f"SELECT COUNT(*) FROM {ROWS} WHERE {row}"), 10, "the row")
    execute(lab, REPLICA, "SET sql_log_bin = 0", f"DELETE FROM {ROWS} WHERE {row}")
    report, status = finish(process)
    assert status != 0 and report["lost"] == 1 and report["unverified"] == []
    assert report["findings"] == [{"fault": "lost", "shard": "s0", "server": lab.address(REPLICA),
                                   "writer": 1, "number": 5, "copies": 0}]
    assert server_of(report, lab.address(REPLICA))["lost"] == 1
    assert server_of(report, lab.address(PRIMARY))["lost"] == 0


def test_duplicated_and_foreign_rows_are_reported(lab):
    process, run = start(lab)
    execute(lab, OTHER, "SET sql_log_bin = 0",
            f"INSERT INTO {ROWS} VALUES (4000000001, '{run}', 0, 3), (4000000002, '{run}', 0, 3)",
            f"INSERT INTO {ROWS} VALUES (4000000003, '{run}', 2, 999999999)")
    report, status = finish(process)
    assert status != 0
    assert (report["lost"], report["duplicated"], report["unexpected"]) == (0, 1, 1)
    told = {(f["fault"], f["server"], f["writer"], f["number"], f["copies"])
            for f in report["findings"]}
    assert told == {("duplicated", lab.address(OTHER), 0, 3, 3),
                    ("unexpected", lab.address(OTHER), 2, 999999999, 1)}


def test_row_lost_and_another_duplicated_do_not_cancel_out(lab):
    process, run = start(lab)
    of = f"load_run = '{run}' AND writer = 0 AND seq"
    wait_until(lambda: lab.value(REPLICA, f"SELECT COUNT(*) FROM {ROWS} WHERE {of} = 9"), 10, "rows")
    execute(lab, REPLICA, "SET sql_log_bin = 0",
            f"UPDATE {ROWS} SET seq = 9 WHERE {of} = 8")
    report, status = finish(process)
    assert status != 0 and (report["lost"], report["duplicated"]) == (1, 1)


def test_server_that_is_down_is_named_and_the_run_is_incomplete(lab):
    process, _ = start(lab, "--verify-seconds", "3")
    lab.cli("lab", "kill", "s0-east-3")
    report, status = finish(process)
    assert status != 0 and report["lost"] == 0 and report["verified_servers"] == 5
    assert [u["server"] for u in report["unverified"]] == [lab.address("s0-east-3")]


def test_replica_that_does_not_catch_up_is_not_verified(lab):
    process, _ = start(lab, "--verify-seconds", "2")
    execute(lab, "s0-east-2", "STOP SLAVE SQL_THREAD")
    count = f"SELECT COUNT(*) FROM {ROWS}"
    wait_until(lambda: lab.value(PRIMARY, count) > lab.value("s0-east-2", count), 10, "a lag")
    report, status = finish(process)
    assert status != 0 and report["lost"] == 0
    assert [u["server"] for u in report["unverified"]] == [lab.address("s0-east-2")]
    assert "position" in report["unverified"][0]["reason"]


def test_gap_that_lasts_to_the_end_counts(lab):
    process, _ = start(lab, "--verify-seconds", "2", seconds=4)
    lab.cli("lab", "freeze", PRIMARY)
    report, status = finish(process, end=None)
    assert status != 0
    assert report["shards"][0]["longest_gap_ms"] > 1500
    assert report["unknown"] == 4  # each writer had one under way
    assert len(report["unverified"]) == 6  # without a primary nobody knows what should be there


def test_writers_follow_a_move_that_the_store_does_not_know(lab):
    process, _ = start(lab, "--rate", "100")
    move_by_hand(lab, PRIMARY, OTHER)
    after = lab.value(OTHER, f"SELECT MAX(id) FROM {ROWS}")
    wait_until(lambda: lab.value(OTHER, f"SELECT MAX(id) FROM {ROWS}") > after + 50, 10,
               "writes at the new primary")
    report, status = finish(process)
    shard = report["shards"][0]
    assert status == 0, report
    assert (shard["moves"], shard["unknown"], shard["lost"]) == (1, 0, 0)
    assert shard["errors"]["read_only"] > 0 and report["verified_servers"] == 6


def test_killed_connections_leave_outcomes_unknown_never_lost(lab):
    process, _ = start(lab, "--rate", "0")
    for _ in range(20):
        for row in lab.sql(PRIMARY, "SHOW PROCESSLIST"):
            if row["User"] == "probe":
                try:
                    execute(lab, PRIMARY, f"KILL {row['Id']}")
                except pymysql.err.OperationalError:
                    pass  # gone meanwhile
    report, status = finish(process)
    assert status == 0, report
    assert report["lost"] == 0 and report["shards"][0]["errors"]["lost_connection"] > 0


def test_missing_table_says_what_to_run(lab):
    execute(lab, PRIMARY, f"DROP TABLE {ROWS}")
    done = lab.cli("load", "run", "--seconds", "1", check=False)
    assert done.returncode != 0 and "load_row" in done.stderr
    assert "holdfast fleet grants" in done.stderr


def test_privileged_account_is_refused(lab):
    done = lab.cli("load", "run", "--seconds", "1", "--user", "admin", "--password-file",
                   f"{lab.dir}/admin.password", check=False)
    assert done.returncode != 0 and "would write on servers that are read-only" in done.stderr
    assert lab.value(PRIMARY, f"SELECT COUNT(*) FROM {ROWS}") == 0


def test_unknown_shard_and_shard_without_primary_are_refused(lab):
    done = lab.cli("load", "run", "--shard", "nope", check=False)
    assert done.returncode == 2 and "no shard 'nope'" in done.stderr
    execute(lab, PRIMARY, "SET GLOBAL read_only = 1")
    done = lab.cli("load", "run", check=False)
    assert done.returncode != 0 and "shard s0: no server takes writes; 6 of 6 answer" in done.stderr


def test_clean_leaves_rows_of_a_run_under_way(lab):
    first = lab.json("load", "run", "--seconds", "1")
    process, run = start(lab)
    lab.cli("load", "clean")
    of_first = f"SELECT COUNT(*) FROM {ROWS} WHERE load_run = %s"
    assert lab.value(PRIMARY, of_first, first["run"]) == 0
    report, status = finish(process, end=signal.SIGINT)
    assert status == 0 and report["interrupted"] and report["run"] == run
