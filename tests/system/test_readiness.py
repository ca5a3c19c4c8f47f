# SPDX-License-Identifier: Apache-2.0
"""Readiness on real servers: each trap is planted, found by name with its server, and gone when it is
mended; a sound fleet under load has no finding that stops a move."""
import contextlib
import json
import pathlib
import re
import subprocess
import threading
import time

import pymysql
import pytest

from conftest import HOLDFAST, wait_until
from moves import put_in_store, remove_from_store

NO_GO_EXIT = 3


def readiness(lab, *args):
    """What readiness says: its JSON; checks that the exit status agrees."""
    done = lab.cli("readiness", "--json", *args, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["go"] else NO_GO_EXIT), done.stderr
    return found


def findings(lab, *args, severity=None):
    """The set of (check, server)."""
    return {(f["check"], f["server"]) for f in readiness(lab, *args)["findings"]
            if severity in (None, f["severity"])}


def no_gos(lab, *args):
    return findings(lab, *args, severity="no-go")


def edit_fleet(lab, old, new):
    path = pathlib.Path(lab.fleet)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def run_all(lab, name, *statements):
    with lab.connect(name) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextlib.contextmanager
def session(lab, name, *statements, user="admin"):
    """A connection that has executed these and is held open."""
    connection = lab.connect(name, user=user, timeout=30)
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def running(lab, name, statement, user="app"):
    """A statement that is executing while the body runs, and killed afterwards."""
    connection = lab.connect(name, user=user, timeout=60)

    def execute():
        with contextlib.suppress(pymysql.MySQLError), connection.cursor() as cursor:
            cursor.execute(statement)

    thread = threading.Thread(target=execute)
    thread.start()
    try:
        wait_until(lambda: lab.value(
            name, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = %s AND"
            " COMMAND = 'Query' AND TIME_MS > 1100", connection.thread_id()), 10, statement)
        yield
    finally:
        lab.sql(name, f"KILL {connection.thread_id()}")
        thread.join()


@contextlib.contextmanager
def writers(lab, name, count):
    """Connections that write as fast as they can until the body ends."""
    done = threading.Event()

    def write(number):
        with lab.connect(name, user="app") as connection, connection.cursor() as cursor:
            while not done.is_set():
                cursor.execute("INSERT INTO app.t (v) VALUES (%s)", (number,))

    lab.sql(name, "CREATE TABLE IF NOT EXISTS app.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, v INT)")
    threads = [threading.Thread(target=write, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_a_new_lab_is_a_go(lab):
    done = lab.cli("readiness")
    assert done.stdout.splitlines()[-1] == "go"
    assert no_gos(lab) == set()


def test_a_busy_fleet_gets_no_false_alarm(lab):
    idle = [lab.connect("s0-west-1", user="app") for _ in range(150)]
    lab.sql("s0-west-1", "CREATE EVENT app.tick ON SCHEDULE EVERY 1 SECOND DO SET @x = 1")
    with writers(lab, "s0-west-1", 4):
        for _ in range(15):
            assert no_gos(lab) == set()
    for connection in idle:
        connection.close()


SEMI_OFF = "SET GLOBAL rpl_semi_sync_slave_enabled=0; STOP SLAVE IO_THREAD; START SLAVE IO_THREAD"
SEMI_ON = SEMI_OFF.replace("enabled=0", "enabled=1")

# (check, server named, {server: SQL that plants it}, {server: SQL that mends it})
STATES = [
    ("several-primaries", "s0-west-2", {"s0-west-2": "SET GLOBAL read_only=0"},
     {"s0-west-2": "SET GLOBAL read_only=1"}),
    ("no-primary", None, {"s0-west-1": "SET GLOBAL read_only=1"},
     {"s0-west-1": "SET GLOBAL read_only=0"}),
    ("semi-sync-off", "s0-west-1", {"s0-west-1": "SET GLOBAL rpl_semi_sync_master_enabled=0"},
     {"s0-west-1": "SET GLOBAL rpl_semi_sync_master_enabled=1"}),
    ("no-acker-new-side", "s0-east-1", {"s0-east-2": SEMI_OFF, "s0-east-3": SEMI_OFF},
     {"s0-east-2": SEMI_ON, "s0-east-3": SEMI_ON}),
    ("no-acker", "s0-west-1", {"s0-west-2": SEMI_OFF, "s0-west-3": SEMI_OFF},
     {"s0-west-2": SEMI_ON, "s0-west-3": SEMI_ON}),
    ("semi-sync-timeout", "s0-east-1",
     {"s0-east-1": "SET GLOBAL rpl_semi_sync_master_timeout=10000"},
     {"s0-east-1": "SET GLOBAL rpl_semi_sync_master_timeout=18446744073709551615"}),
    ("semi-sync-wait-point", "s0-west-1",
     {"s0-west-1": "SET GLOBAL rpl_semi_sync_master_wait_point='AFTER_COMMIT'"},
     {"s0-west-1": "SET GLOBAL rpl_semi_sync_master_wait_point='AFTER_SYNC'"}),
    ("replication-broken", "s0-east-1", {"s0-east-1": "STOP SLAVE SQL_THREAD"},
     {"s0-east-1": "START SLAVE SQL_THREAD"}),
    ("replication-broken", "s0-west-3", {"s0-west-3": "STOP SLAVE IO_THREAD"},
     {"s0-west-3": "START SLAVE IO_THREAD"}),
    ("delayed-relay", "s0-east-1",
     {"s0-east-1": "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=60; START SLAVE"},
     {"s0-east-1": "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=0; START SLAVE"}),
    ("replication-filter", "s0-east-2",
     {"s0-east-2": "STOP SLAVE; SET GLOBAL replicate_ignore_db='tmp'; START SLAVE"},
     {"s0-east-2": "STOP SLAVE; SET GLOBAL replicate_ignore_db=''; START SLAVE"}),
    ("domain-differs", "s0-east-1", {"s0-east-1": "SET GLOBAL gtid_domain_id=9"},
     {"s0-east-1": "SET GLOBAL gtid_domain_id=0"}),
    ("prepared-xa", "s0-west-1",
     {"s0-west-1": "XA START 'x'; INSERT INTO holdfast.probe VALUES (900, 1, 0); XA END 'x';"
                   " XA PREPARE 'x'"},
     {"s0-west-1": "XA ROLLBACK 'x'"}),
    ("grants-missing", "s0-west-1", {"s0-west-1": "REVOKE RELOAD ON *.* FROM holdfast"},
     {"s0-west-1": "GRANT RELOAD ON *.* TO holdfast"}),
    ("grants-missing", "s0-east-3", {"s0-west-1": "REVOKE SLAVE MONITOR ON *.* FROM holdfast"},
     {"s0-west-1": "GRANT SLAVE MONITOR ON *.* TO holdfast"}),
    ("replication-grant", "s0-east-1", {"s0-west-1": "REVOKE REPLICATION SLAVE ON *.* FROM repl"},
     {"s0-west-1": "GRANT REPLICATION SLAVE ON *.* TO repl"}),
]


def apply(lab, statements):
    for name, text in statements.items():
        run_all(lab, name, *text.split("; "))


def test_each_state_is_found_by_name_and_gone_when_mended(lab):
    for check, server, plant, mend in STATES:
        apply(lab, plant)
        wanted = (check, lab.address(server) if server else None)
        wait_until(lambda: wanted in no_gos(lab), 5, f"{wanted}; found {no_gos(lab)}")
        apply(lab, mend)
        wait_until(lambda: no_gos(lab) == set(), 10, f"{check} mended; found {no_gos(lab)}")


def test_a_source_with_a_name_is_a_no_go_until_the_advice_was_followed(lab):
    """The new primary would forget another source than the one that it has."""
    relay, primary = "s0-east-1", lab.servers()["s0-west-1"]
    password = pathlib.Path(lab.dir, "repl.password").read_text(encoding="utf-8").strip()
    run_all(lab, relay, "STOP SLAVE", "RESET SLAVE ALL",
            f"CHANGE MASTER 'west' TO MASTER_HOST='{primary['host']}', MASTER_PORT={primary['port']},"
            f" MASTER_USER='repl', MASTER_PASSWORD='{password}', MASTER_USE_GTID=slave_pos", "START SLAVE 'west'")
    wanted = {("named-source", lab.address(relay))}
    wait_until(lambda: no_gos(lab) == wanted, 10, f"{wanted}; found {no_gos(lab)}")
    run_all(lab, relay, "STOP SLAVE 'west'", "RESET SLAVE 'west' ALL")
    lab.cli("fleet", "converge", "--yes")
    wait_until(lambda: no_gos(lab) == set(), 10, f"it is pointed again; found {no_gos(lab)}")


def test_what_runs_on_the_primary_is_found(lab):
    primary = lab.address("s0-west-1")
    lab.sql("s0-west-1", "CREATE TABLE app.t (id INT PRIMARY KEY, v INT)")
    lab.sql("s0-west-1", "INSERT INTO app.t VALUES (1, 1), (2, 2)")
    with running(lab, "s0-west-1", "UPDATE app.t SET v = SLEEP(30)"):
        assert no_gos(lab) == {("long-statement", primary)}
    with running(lab, "s0-west-1", "SELECT SLEEP(30)"):
        assert no_gos(lab) == set()
    with session(lab, "s0-west-1", "LOCK TABLES app.t WRITE"):
        assert no_gos(lab) == {("freeze-lock", primary)}
        with running(lab, "s0-west-1", "INSERT INTO app.t VALUES (3, 3)"):
            assert ("table-lock", primary) in no_gos(lab)
    with session(lab, "s0-west-1", "BACKUP STAGE START"):
        assert no_gos(lab) == {("freeze-lock", primary)}
    with session(lab, "s0-west-1", "BEGIN", "SELECT * FROM app.t FOR UPDATE"):
        with running(lab, "s0-west-1", "ALTER TABLE app.t ADD COLUMN w INT"):
            assert ("running-ddl", primary) in no_gos(lab)
    assert no_gos(lab) == set()


# What runs, and whether SET GLOBAL read_only=1 was seen to wait for it; "{}": a file to write.
STATEMENTS = [
    ("/* svc=x */ SELECT SLEEP(30)", False),
    ("-- svc\n # y\n (/* a * b */ SELECT SLEEP(30))", False),
    ("/*!50000 SELECT SLEEP(30) */", False),
    ("/* SELECT */ UPDATE app.t SET v = SLEEP(30)", True),
    ("SELECT app.noting(id), SLEEP(30) FROM app.t", True),
    ("SELECT SLEEP(30) FROM app.t FOR UPDATE", True),
    ("WITH w AS (SELECT SLEEP(30) FROM app.t) SELECT * FROM w, app.t FOR\nUPDATE", True),
    ("SELECT NEXTVAL(app.numbers), SLEEP(30)", True),
    ("SELECT SLEEP(30) FROM app.t LOCK IN SHARE MODE", False),
    ("SELECT SLEEP(30) FROM app.t INTO OUTFILE '{}'", False),
]


def holds_a_freeze_up(lab, name):
    """Whether read_only=1 waits there. The server is opened again."""
    with lab.connect(name) as connection, connection.cursor() as cursor:
        try:
            cursor.execute("SET STATEMENT max_statement_time=0.2 FOR SET GLOBAL read_only=1")
            return False
        except pymysql.OperationalError as error:
            assert error.args[0] == 1969, error
            return True
        finally:
            cursor.execute("SET GLOBAL read_only=0")


def test_a_statement_is_a_no_go_exactly_when_a_freeze_would_wait_for_it(lab, tmp_path):
    primary = lab.address("s0-west-1")
    run_all(lab, "s0-west-1", "CREATE TABLE app.t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO app.t VALUES (1, 1), (2, 2)", "CREATE TABLE app.note (v INT)",
            "CREATE SEQUENCE app.numbers",
            "CREATE FUNCTION app.noting(n INT) RETURNS INT DETERMINISTIC MODIFIES SQL DATA"
            " BEGIN INSERT INTO app.note VALUES (n); RETURN n; END")
    lab.wait_for_replication()
    for statement, waits in STATEMENTS:
        with running(lab, "s0-west-1", statement.format(tmp_path / "rows"), user="admin"):
            assert no_gos(lab) == ({("long-statement", primary)} if waits else set()), statement
            assert holds_a_freeze_up(lab, "s0-west-1") == waits, statement
    with session(lab, "s0-west-1", "FLUSH TABLES WITH READ LOCK"):
        assert no_gos(lab) == set()
        assert not holds_a_freeze_up(lab, "s0-west-1")


def test_ddl_behind_a_comment_is_found(lab):
    lab.sql("s0-west-1", "CREATE TABLE app.t (id INT PRIMARY KEY)")
    with session(lab, "s0-west-1", "BEGIN", "SELECT * FROM app.t"):
        with running(lab, "s0-west-1", "/* svc=x */ ALTER TABLE app.t ADD COLUMN w INT"):
            assert ("running-ddl", lab.address("s0-west-1")) in no_gos(lab)


def test_what_does_not_answer_is_no_go(lab):
    """LOCK TABLES on what the inspection reads: it gets no answer, and something else runs there."""
    primary = lab.address("s0-west-1")
    lab.sql("s0-west-1", "CREATE TABLE app.t (id INT PRIMARY KEY, v INT)")
    lab.sql("s0-west-1", "INSERT INTO app.t VALUES (1, 1)")
    with running(lab, "s0-west-1", "UPDATE app.t SET v = SLEEP(30)"):
        with session(lab, "s0-west-1", "LOCK TABLES mysql.event WRITE"):
            found = [f for f in readiness(lab)["findings"] if f["severity"] == "no-go"]
    assert {(f["check"], f["server"]) for f in found} == {("not-inspected", primary),
                                                          ("freeze-lock", primary)}
    assert any("no answer to a statement within" in f["problem"] for f in found)
    with session(lab, "s0-east-1", "LOCK TABLES mysql.event WRITE"):
        assert no_gos(lab) == {("not-inspected", lab.address("s0-east-1"))}
    with session(lab, "s0-west-2", "LOCK TABLES mysql.event WRITE"):
        assert no_gos(lab) == set()
        assert ("replica-not-inspected", lab.address("s0-west-2")) in findings(lab)
    assert no_gos(lab) == set()


def test_an_event_that_the_relay_lacks_is_found(lab):
    run_all(lab, "s0-west-1", "CREATE EVENT app.tick ON SCHEDULE EVERY 1 HOUR DO SET @x = 1",
            "CREATE EVENT app.tock ON SCHEDULE EVERY 1 HOUR DISABLE DO SET @x = 1")
    lab.wait_for_replication()
    assert no_gos(lab) == set()
    run_all(lab, "s0-east-1", "SET sql_log_bin=0", "DROP EVENT app.tick")
    assert no_gos(lab) == {("missing-event", lab.address("s0-east-1"))}
    found = next(f for f in readiness(lab)["findings"] if f["check"] == "missing-event")
    assert found["problem"] == "it lacks app.tick"
    run_all(lab, "s0-east-1", "SET sql_log_bin=0", "CREATE EVENT app.tick ON SCHEDULE EVERY 1 HOUR"
            " DISABLE ON SLAVE DO SET @x = 1")
    assert no_gos(lab) == set()


def test_a_probe_that_may_write_on_a_read_only_server_is_a_no_go(lab):
    lab.sql("s0-west-1", "GRANT READ_ONLY ADMIN ON *.* TO probe")
    lab.wait_for_replication()
    assert no_gos(lab) == {("probe-privileged", lab.address("s0-west-1")),
                           ("probe-privileged", lab.address("s0-east-1"))}


def test_an_idle_open_transaction_is_a_warning(lab):
    with session(lab, "s0-west-1", "BEGIN", "INSERT INTO holdfast.probe VALUES (901, 1, 0)"):
        wait_until(lambda: ("open-transaction", lab.address("s0-west-1")) in
                   findings(lab, severity="warning"), 10, "the open transaction")
        assert no_gos(lab) == set()


@pytest.mark.parametrize("strict", [0, 1])
def test_an_errant_transaction_is_found_also_below_the_primarys_number(lab, strict):
    for name in lab.servers():
        lab.sql(name, f"SET GLOBAL gtid_strict_mode={strict}")
    wait_until(lambda: no_gos(lab) == set(), 5, "a go")
    lab.sql("s0-east-3", "CREATE DATABASE errant")
    wanted = ("errant-transactions", lab.address("s0-east-3"))
    wait_until(lambda: wanted in no_gos(lab), 5, "the errant transaction, ahead")
    if not strict:
        for number in range(20):
            lab.sql("s0-west-1", "INSERT INTO holdfast.probe VALUES (%s, 1, 0)", 1000 + number)
        wait_until(lambda: wanted in no_gos(lab), 5, "the errant transaction, hidden")


def test_a_domain_that_the_relay_does_not_know_is_found(lab):
    for name in ("s0-east-1", "s0-west-2", "s0-west-3"):
        lab.sql(name, "STOP SLAVE")
    # only the primary's binlog has it: the replicas start behind it
    run_all(lab, "s0-west-1", "SET GLOBAL rpl_semi_sync_master_enabled=0",
            "SET SESSION gtid_domain_id=77", "CREATE DATABASE other_domain")
    position = lab.value("s0-west-1", "SELECT @@gtid_binlog_pos")
    assert "77-" in position
    wanted = ("unknown-domain", lab.address("s0-east-1"))
    assert wanted in no_gos(lab)


def test_dead_and_hanging_servers_cost_their_deadline_once(lab):
    lab.cli("lab", "kill", "s0-west-3")
    lab.cli("lab", "freeze", "s0-east-2", "s0-east-3")
    began = time.monotonic()
    found = no_gos(lab)
    assert time.monotonic() - began < 4
    for name in ("s0-west-3", "s0-east-2", "s0-east-3"):
        assert ("unreachable", lab.address(name)) in found
    lab.cli("lab", "thaw", "s0-east-2", "s0-east-3")


def test_a_dead_relay_is_found(lab):
    lab.cli("lab", "kill", "s0-east-1")
    found = no_gos(lab)
    assert ("unreachable", lab.address("s0-east-1")) in found
    assert ("no-relay", None) in found


def test_a_relay_without_permission_is_found(lab):
    relay = lab.address("s0-east-1")
    lab.cli("pause")
    lab.cli("unpause")  # now there is a store
    put_in_store(lab, f"revoked/{relay}", "shard s0, run 7")
    assert ("not-permitted", relay) in no_gos(lab)
    remove_from_store(lab, f"revoked/{relay}")
    assert ("not-permitted", relay) not in no_gos(lab)


def test_a_configuration_with_read_only_off_is_found(lab):
    config = next(pathlib.Path(lab.dir).glob("servers/*s0-east-2*/*.cnf"))
    config.write_text(config.read_text().replace("read_only=1", "read_only=0"))
    lab.cli("lab", "kill", "s0-east-2")
    lab.cli("lab", "restart", "s0-east-2", check=False)
    found = no_gos(lab)
    address = lab.address("s0-east-2")
    assert ("config-read-only", address) in found or ("several-primaries", address) in found


def test_wrong_passwords_are_found(lab):
    path = pathlib.Path(lab.dir, "repl.password")
    path.write_text("wrong\n")
    assert no_gos(lab) == {("replication-login", lab.address("s0-west-1")),
                           ("replication-login", lab.address("s0-east-1"))}
    for length, found in ((96, set()),
                          (97, {("replication-password", lab.address("s0-west-1"))})):
        lab.sql("s0-west-1", "ALTER USER repl@'%%' IDENTIFIED BY %s", "x" * length)
        lab.wait_for_replication()
        path.write_text("x" * length)
        assert no_gos(lab) == found
    path = pathlib.Path(lab.dir, "holdfast.password")
    path.write_text("wrong\n")
    assert {check for check, _ in no_gos(lab)} == {"login-refused", "no-primary"}


def test_an_accepted_no_go_is_a_warning_and_a_go(lab):
    lab.sql("s0-west-1", "SET GLOBAL rpl_semi_sync_master_wait_point='AFTER_COMMIT'")
    assert no_gos(lab) == {("semi-sync-wait-point", lab.address("s0-west-1"))}
    edit_fleet(lab, "deployments:", "policy: { accept: [ semi-sync-wait-point ] }\ndeployments:")
    found = readiness(lab)
    assert found["go"]
    accepted = [f for f in found["findings"] if f["check"] == "semi-sync-wait-point"]
    assert [(f["severity"], f["accepted"]) for f in accepted] == [("warning", True)]


def test_an_unknown_accepted_check_is_refused_with_its_line(lab):
    edit_fleet(lab, "deployments:", "policy: { accept: [ semi-sync-wait ] }\ndeployments:")
    done = lab.cli("fleet", "check", check=False)
    assert done.returncode == 2
    assert re.search(r"holdfast\.yaml:\d+: .*'semi-sync-wait'; did you mean "
                     r"'semi-sync-wait-point'", done.stderr)


@pytest.mark.lab(shards=2)
def test_shard_limits_the_checks(lab):
    lab.sql("s1-west-1", "SET GLOBAL rpl_semi_sync_master_wait_point='AFTER_COMMIT'")
    assert no_gos(lab, "--shard", "s0") == set()
    assert no_gos(lab) == {("semi-sync-wait-point", lab.address("s1-west-1"))}


def test_a_shard_that_is_there_already_is_not_checked_further(lab):
    found = readiness(lab, "--to", "west")
    assert found["go"]
    assert {f["check"] for f in found["findings"]} == {"already-there"}


def test_text_says_where_what_and_what_to_do(lab):
    lab.sql("s0-west-1", "SET GLOBAL rpl_semi_sync_master_enabled=0")
    done = lab.cli("readiness", check=False)
    assert done.returncode == NO_GO_EXIT
    lines = done.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("NO-GO semi-sync-off:"))
    assert lines[at + 1].startswith(f"    s0 {lab.address('s0-west-1')}: ")
    assert lines[at + 2] == ("      do: holdfast fleet converge; or there: "
                             "SET GLOBAL rpl_semi_sync_master_enabled=1")
    assert re.fullmatch(r"NO-GO: \d+ findings?", lines[-1])


def test_printed_grants_are_enough(lab):
    """The accounts are made anew from what `fleet grants` prints; nothing is missing then."""
    run_all(lab, "s0-west-1", "DROP USER holdfast, repl, probe", "DROP DATABASE holdfast")
    sql = lab.cli("fleet", "grants", "--with-passwords").stdout
    server = lab.servers()["s0-west-1"]
    subprocess.run(["mariadb", "--skip-ssl", "-h", server["host"], "-P", str(server["port"]), "-u",
                    "admin", f"-p{lab.password('admin')}"], input=sql, text=True, check=True)
    lab.wait_for_replication()
    found = readiness(lab)
    assert found["go"], found["findings"]
    assert {f["check"] for f in found["findings"]} == {"accounts-hidden"}


def test_grants_without_passwords_cannot_be_run_by_accident(lab):
    sql = lab.cli("fleet", "grants").stdout
    assert lab.password("holdfast") not in sql
    with pytest.raises(pymysql.MySQLError):
        run_all(lab, "s0-west-1", *[s for s in sql.split(";\n") if "CREATE USER" in s])


def test_discover_writes_a_file_that_is_a_go(lab, tmp_path):
    done = lab.cli("fleet", "discover", lab.address("s0-west-1"), "--password-file",
                   f"{lab.dir}/holdfast.password", "--store", f"file://{lab.dir}/store")
    path = tmp_path / "found.yaml"
    path.write_text(done.stdout.replace("repl.password", f"{lab.dir}/repl.password"))
    assert no_gos(lab, "--fleet", str(path)) == set()
    given = pathlib.Path(lab.fleet).read_text()
    for line in given.splitlines():
        if "hosts:" in line:
            assert line.strip() in done.stdout


def test_discover_of_a_replica_names_its_source(lab):
    done = lab.cli("fleet", "discover", lab.address("s0-east-2"), "--password-file",
                   f"{lab.dir}/holdfast.password", check=False)
    assert done.returncode == 2
    assert f"holdfast fleet discover {lab.address('s0-east-1')}" in done.stderr


def test_a_run_that_was_left_behind_is_a_no_go_that_says_how_to_resume(lab):
    done = lab.cli("switchover", "--to", "east", "--yes", check=False,
                   env={"HOLDFAST_FAULT": "old.freeze:after=kill"})
    assert done.returncode == -9
    found = [f for f in readiness(lab)["findings"] if f["severity"] == "no-go"]
    assert {f["check"] for f in found} == {"unfinished-run", "no-primary"}
    assert all("holdfast run resume " in f["advice"] for f in found)
    assert lab.json("status", check=False)["shards"][0]["state"] != "serving"


def test_every_exit_status_is_named_where_one_looks():
    def printed(*words):
        return subprocess.run([HOLDFAST, *words], capture_output=True, text=True, check=True).stdout
    text = " ".join(printed("switchover", "--help").split())
    assert "Exit status 1: it failed, as it says; 2: " in text
    assert all(f" {status}: " in text for status in range(6))
    manual = printed("dev", "man").partition(".SH EXIT STATUS")[2]
    assert re.findall(r"^\.TP\n(\d+)\n", manual, re.M) == ["0", "1", "2", "3", "4", "5", "70"]
    assert "of a run: shards did not move" in manual


def test_both_ways_are_a_go_after_a_move(lab):
    lab.cli("switchover", "--to", "east", "--yes")
    assert no_gos(lab) == set()
    assert no_gos(lab, "--to", "west") == set()
    shard = lab.json("status")["shards"][0]
    assert (shard["home"], shard["state"], shard["problems"]) == ("east", "serving", [])


def test_a_closed_primary_that_the_store_knows_is_opened_by_converge(lab):
    lab.cli("switchover", "--to", "east", "--yes")
    lab.sql("s0-east-1", "SET GLOBAL read_only=1")
    done = lab.cli("readiness", "--json", check=False)
    advice = [f["advice"] for f in json.loads(done.stdout)["findings"] if f["check"] == "no-primary"]
    assert len(advice) == 1 and "fleet converge opens " + lab.address("s0-east-1") in advice[0], advice
    lab.cli("fleet", "converge", "--yes")
    assert no_gos(lab) == set()


def test_a_silent_primary_is_not_taken_for_a_closed_one(lab):
    """Nobody is advised to open a second server beside it."""
    primary = lab.primary()
    lab.cli("lab", "freeze", primary)
    done = lab.cli("readiness", "--json", check=False)
    lab.cli("lab", "thaw", primary)
    found = [f for f in json.loads(done.stdout)["findings"] if f["check"] == "no-primary"]
    assert done.returncode == 3 and len(found) == 1
    assert "that answers accepts writes" in found[0]["problem"], found
    assert lab.address(primary) in found[0]["advice"] and "do not open" in found[0]["advice"], found
