# SPDX-License-Identifier: Apache-2.0
"""A primary is lost and a replica of its region takes over: nothing acknowledged is lost, whatever the
replicas had received, applied or not, and whoever dies in between.
"""
import contextlib
import json
import signal
import threading
import time

import pymysql
import pytest

from conftest import HOLDFAST, wait_until
from moves import DONE, KILLED, SOAK, STUCK, Writers, assert_sound, hold_command, of_lab, outcome, points, violations

NO_GO, ABORTED = 3, 4
PATIENT = "{ move_timeout: 20s }"


def fail_over(fleet, *words, **options):
    return outcome(fleet.cli("failover", "--yes", "--json", *words, **options))


def at_home(fleet):
    """Writers' ends: the servers of the primary's region, the primary first."""
    primary = fleet.primary()
    return [primary, *fleet.replicas(primary)]


def give_route(fleet):
    """The store knows a shard from its first run on; half of the tests begin without."""
    fleet.move(fleet.primary().region, expect=DONE)


def bring_back(fleet, server, acked=()):
    """The lost one returns as its configuration says, and Holdfast finds its role again. When it has
    what was never acknowledged, that is said, and taken away here as an operator would."""
    fleet.cli("lab", "restart", "--bare", server.name, expect=0)
    done = fleet.cli("fleet", "converge", "--yes", expect=(DONE, NO_GO))
    if done.returncode == NO_GO:
        assert f"{server.address}: it should replicate" in done.stdout, done.stdout
        assert "lacks what it has" in done.stdout, done.stdout
        rewind(fleet, server, acked)
        fleet.cli("fleet", "converge", "--yes", expect=DONE)


def numbers_at(fleet, server):
    return {row["n"] for row in fleet.sql(server, f"SELECT n FROM {fleet.database}.ledger")}


def rewind(fleet, server, acked):
    """Back to the last transaction of its own that the new primary has."""
    primary, own = fleet.primary(), fleet.value(server, "SELECT @@server_id")
    state = fleet.value(primary, "SELECT @@GLOBAL.gtid_binlog_state").split(",")
    common = next(entry for entry in state if entry.split("-")[1] == str(own))
    extra = numbers_at(fleet, server) - numbers_at(fleet, primary)
    assert not extra & set(acked), f"acknowledged, and only the lost one has it: {extra & set(acked)}"
    with fleet.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_log_bin=0")
        for number in extra:
            cursor.execute(f"DELETE FROM {fleet.database}.ledger WHERE n = %s", (number,))
        cursor.execute("RESET MASTER")
        cursor.execute("SET GLOBAL gtid_slave_pos=%s", (common,))


def region_servers(fleet, server):
    return [one for one in fleet.servers if one.region == server.region and one is not server]


@pytest.fixture
def fleet(lab):
    fleet = of_lab(lab, policy=PATIENT)
    yield fleet
    fleet.close()


# ---- the plain case ----

@pytest.mark.parametrize("is_known", [False, True])
def test_a_killed_primary_is_replaced(fleet, is_known):
    if is_known:
        give_route(fleet)
    lost = fleet.primary()
    with Writers(fleet, ends=at_home(fleet)) as writers:
        fleet.cli("lab", "kill", lost.name, expect=0)
        done = fail_over(fleet, expect=DONE)
        writers.wait_for_more(5)
    shard = done["shard"]
    assert (done["report"]["kind"], shard["result"]) == ("failover", "moved"), done
    assert shard["primary"] in [server.address for server in region_servers(fleet, lost)]
    assert list(shard["phases_ms"]) == ["detect", "fence", "drain", "elect", "wait", "open", "publish", "follow"], shard
    assert 0 < shard["critical_ms"] < 10_000
    assert shard["lost_transactions"] == 0 and "2 of them had acknowledged" in shard["loss_evidence"]
    assert "lost: nothing that was acknowledged" in fleet.cli("report", done["report"]["run"]).stdout
    assert lost.address in shard["notes"]
    bring_back(fleet, lost, writers.acked)
    assert_sound(fleet, writers.acked)


def test_it_can_happen_again_and_a_switchover_follows(fleet):
    with Writers(fleet, ends=fleet.servers) as writers:
        for _ in range(2):
            lost = fleet.primary()
            fleet.cli("lab", "kill", lost.name, expect=0)
            fail_over(fleet, expect=DONE)
            bring_back(fleet, lost, writers.acked)
            writers.wait_for_more(5)
        other = next(s.region for s in fleet.servers if s.region != fleet.primary().region)
        assert fleet.move(other, expect=DONE)["shard"]["result"] == "moved"
        writers.wait_for_more(5)
    assert_sound(fleet, writers.acked)


# ---- what the replicas have ----

@contextlib.contextmanager
def held_table(fleet, servers):
    """Nothing is applied there meanwhile, but everything is received and acknowledged."""
    with contextlib.ExitStack() as ends:
        for server in servers:
            connection = ends.enter_context(fleet.connect(server, seconds=30))
            with connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLES {fleet.database}.ledger READ")
        yield


def is_waiting(fleet, servers):
    return any(fleet.value(server, "SELECT COUNT(*) FROM information_schema.PROCESSLIST"
                                   " WHERE INFO LIKE 'SELECT MASTER_GTID_WAIT%%'") for server in servers)


def test_what_was_acknowledged_and_not_applied_is_kept(fleet):
    lost = fleet.primary()
    replicas = region_servers(fleet, lost)
    with Writers(fleet, ends=at_home(fleet)) as writers:
        with held_table(fleet, replicas):
            writers.wait_for_more(20)
            fleet.cli("lab", "kill", lost.name, expect=0)
            backlog = max(writers.acked)
            for server in replicas:
                has = fleet.value(server, f"SELECT MAX(n) FROM {fleet.database}.ledger")
                assert has < backlog, "nothing was held up"
            started = fleet.start("failover", "--yes", "--json")
            wait_until(lambda: is_waiting(fleet, replicas), 10, "the failover waits for the appliers")
        out, err = started.communicate(timeout=60)
        assert started.returncode == DONE, (out, err)
        assert json.loads(out)["shards"][0]["phases_ms"]["drain"] > 0
        writers.wait_for_more(5)
    bring_back(fleet, lost, writers.acked)
    assert_sound(fleet, writers.acked)


def test_an_applier_that_was_stopped_is_started_before_anything_else(fleet):
    lost = fleet.primary()
    with Writers(fleet, ends=at_home(fleet)) as writers:
        for server in region_servers(fleet, lost):
            fleet.sql(server, "STOP SLAVE SQL_THREAD")
        writers.wait_for_more(20)
        fleet.cli("lab", "kill", lost.name, expect=0)
        fail_over(fleet, expect=DONE)
        writers.wait_for_more(5)
    bring_back(fleet, lost, writers.acked)
    assert_sound(fleet, writers.acked)


def test_what_can_only_be_thrown_away_is_left_to_an_operator(fleet):
    """Both halves of a replica stand still: whatever starts it throws away what it received."""
    lost = fleet.primary()
    replicas = region_servers(fleet, lost)
    with Writers(fleet, ends=at_home(fleet)) as writers:
        for server in (replicas[1], fleet.relay()):  # nobody else has what it receives
            fleet.sql(server, "STOP SLAVE")
        for server in replicas[:1]:
            fleet.sql(server, "STOP SLAVE SQL_THREAD")
        writers.wait_for_more(20)
        fleet.sql(replicas[0], "STOP SLAVE IO_THREAD")
        fleet.cli("lab", "kill", lost.name, expect=0)
        done = fail_over(fleet, expect=STUCK)
    assert replicas[0].address in done["shard"]["error"], done
    assert "received" in done["shard"]["error"] and "throw away" in done["shard"]["hint"], done
    assert all(fleet.value(server, "SELECT @@GLOBAL.read_only") for server in replicas)
    assert fleet.route()["state"] == "fencing"


def test_a_relay_ahead_of_both_replicas_is_caught_up_from(fleet):
    lost, relay = fleet.primary(), fleet.relay()
    database = fleet.database
    for server in region_servers(fleet, lost):
        fleet.sql(server, "STOP SLAVE IO_THREAD")
    with fleet.connect(lost, "app", seconds=30, database=database) as client, client.cursor() as cursor:
        waits = threading.Thread(target=insert_quietly, args=(cursor, 4711), daemon=True)
        waits.start()
        wait_until(lambda: fleet.value(relay, f"SELECT COUNT(*) FROM {database}.ledger WHERE n = 4711"),
                   10, "the relay has what nobody acknowledged")
        fleet.cli("lab", "kill", lost.name, expect=0)
        waits.join(10)
    done = fail_over(fleet, expect=DONE)
    assert f"{relay.address} was ahead of" in done["shard"]["notes"], done
    bring_back(fleet, lost)
    assert_sound(fleet, [4711])


def insert_quietly(cursor, number):
    with contextlib.suppress(pymysql.err.Error, OSError):
        cursor.execute("INSERT INTO ledger (n) VALUES (%s)", (number,))


# ---- a primary that is not dead ----

def test_a_frozen_primary_acknowledges_nothing_when_it_thaws(fleet):
    lost = fleet.primary()
    with Writers(fleet, ends=at_home(fleet)) as writers:
        fleet.cli("lab", "freeze", lost.name, expect=0)
        done = fail_over(fleet, expect=DONE)
        writers.wait_for_more(5)
        fleet.cli("lab", "thaw", lost.name, expect=0)
        with fleet.connect(lost, "app", database=fleet.database, seconds=2) as client:
            with client.cursor() as cursor, pytest.raises(pymysql.err.Error):
                cursor.execute("INSERT INTO ledger (n) VALUES (-1)")  # never acknowledged
        writers.wait_for_more(5)
    assert done["shard"]["result"] == "moved"
    phases = [phase["phase"] for phase in done["shard"]["timeline"]]
    assert phases.count("fence") == 1, f"an acker did not stop in time: {phases}"
    assert {fleet.value(server, "SELECT @@GLOBAL.rpl_semi_sync_slave_kill_conn_timeout")
            for server in fleet.servers if server is not lost} == {5}, "as the lab set it"
    status = json.loads(fleet.cli("status", "--json").stdout)
    assert any(lost.address in trouble for trouble in status["shards"][0]["problems"]), status
    fleet.cli("lab", "kill", lost.name, expect=0)
    bring_back(fleet, lost, writers.acked)
    assert_sound(fleet, writers.acked)
    assert -1 not in numbers_at(fleet, lost)


def insert_until_it_fails(fleet, server, numbers, acked):
    with contextlib.suppress(pymysql.err.Error, OSError):
        with fleet.connect(server, "app", database=fleet.database, seconds=30) as client:
            for number in numbers:
                client.cursor().execute("INSERT INTO ledger (n) VALUES (%s)", (number,))
                acked.append(number)


def test_a_primary_that_thaws_while_others_are_pointed_acknowledges_nothing(fleet):
    """What was under way when it froze waits for ackers that it has lost. It must go on to wait."""
    lost, acked = fleet.primary(), []
    clients = [threading.Thread(target=insert_until_it_fails, daemon=True,
                                args=(fleet, lost, range(first, 1 << 30, 4), acked)) for first in range(4)]
    for client in clients:
        client.start()
    wait_until(lambda: len(acked) > 20, 10, "clients write")
    fleet.cli("lab", "freeze", lost.name, expect=0)
    thaw = (f"{HOLDFAST} lab thaw {lost.name} >/dev/null && "
            + hold_command(fleet, lost, "", "Waiting for semi-sync ACK from slave"))
    done = fail_over(fleet, expect=DONE, fault=f"failover.settle:before=run:{thaw}")
    assert done["shard"]["result"] == "moved", done
    heir = next(server for server in fleet.servers if server.address == done["shard"]["primary"])
    fleet.cli("lab", "kill", lost.name, expect=0)
    for client in clients:
        client.join(10)
    missing = set(acked) - numbers_at(fleet, heir)
    assert not missing, f"acknowledged, and lost: {missing}"


@contextlib.contextmanager
def held_locks(fleet, server, *names):
    """By a session whose process says nothing any more."""
    with fleet.connect(server) as connection, connection.cursor() as cursor:
        for name in names:
            cursor.execute("SELECT GET_LOCK(%s, 5) AS got", (name,))
            assert cursor.fetchone()["got"] == 1
        yield


def test_who_died_while_bringing_roles_back_is_not_waited_for(fleet):
    """Its host is gone, so its session stays for as long as the server believes in it."""
    lost = fleet.primary()
    replica = fleet.replicas(lost)[0]
    fleet.cli("lab", "kill", lost.name, expect=0)
    with held_locks(fleet, replica, "holdfast", "holdfast/converge"):
        done = fail_over(fleet)
    assert done["code"] == DONE, done


def test_a_primary_that_answers_is_not_lost(fleet):
    give_route(fleet)
    lost = fleet.primary()
    done = fleet.cli("failover", "--yes", "--shard", "s0", expect=NO_GO)
    assert lost.address in done.stderr and "answers and accepts writes" in done.stderr
    assert "no shard has lost its primary" in fleet.cli("failover", "--yes", expect=NO_GO).stderr
    assert_sound(fleet)
    with Writers(fleet, ends=at_home(fleet)) as writers:
        fail_over(fleet, "--shard", "s0", "--force", expect=DONE)
        writers.wait_for_more(5)
    assert fleet.value(lost, "SELECT @@GLOBAL.read_only"), "it was made read-only"
    assert fleet.cli("fleet", "converge", "--yes").returncode in (DONE, NO_GO)
    assert_sound(fleet, writers.acked)


# ---- who else is missing ----

def test_a_missing_replica_may_hold_what_nobody_else_has(fleet):
    lost = fleet.primary()
    missing = region_servers(fleet, lost)[1]
    with Writers(fleet, ends=at_home(fleet)) as writers:
        for server in (missing, lost):
            fleet.cli("lab", "kill", server.name, expect=0)
        done = fail_over(fleet, expect=STUCK)
        assert missing.address in done["shard"]["error"], done
        assert f"--without {missing.address}" in done["shard"]["hint"], done
        fleet.cli("lab", "restart", missing.name, expect=0)
        fleet.resume(expect=DONE)
        writers.wait_for_more(5)
    bring_back(fleet, lost, writers.acked)
    assert_sound(fleet, writers.acked)


def test_what_was_lost_is_not_known_where_nobody_saw_who_acknowledged(fleet):
    """The first process saw it, and opened nobody; the one that does sees flags that it had set."""
    lost = fleet.primary()
    missing = region_servers(fleet, lost)[1]
    for server in (missing, lost):
        fleet.cli("lab", "kill", server.name, expect=0)
    stuck = fail_over(fleet, "--without", missing.address, expect=STUCK)["shard"]
    assert stuck["lost_transactions"] is None and "loss_evidence" not in stuck, stuck
    fleet.cli("lab", "restart", missing.name, expect=0)
    done = fleet.resume(expect=DONE)
    assert done["shard"]["result"] == "moved" and done["shard"]["lost_transactions"] is None, done
    assert done["shard"]["write_outage_ms"] is None, "from the order on, and that was the first's"
    said = fleet.cli("report", done["report"]["run"], expect=DONE).stdout
    assert "      lost: not known: who acknowledged" in said and "nothing that was" not in said
    page = fleet.cli("report", done["report"]["run"], "--html", "-", expect=DONE).stdout
    assert "What 1 shard lost is not known" in page


def test_what_the_first_process_knew_of_the_loss_stays(fleet):
    fleet.cli("lab", "kill", fleet.primary().name, expect=0)
    fail_over(fleet, fault="report.shard:after=kill", expect=KILLED)
    done = fleet.resume(expect=DONE)
    assert done["shard"]["lost_transactions"] == 0, done
    assert "2 of them had acknowledged" in done["shard"]["loss_evidence"], done


def test_wrong_words_change_nothing(fleet):
    give_route(fleet)
    lost = fleet.primary()
    fleet.cli("lab", "kill", lost.name, expect=0)
    assert "no server 'nobody:1'" in fleet.cli("failover", "--yes", "--without", "nobody:1",
                                               expect=2).stderr
    asked = fleet.cli("failover", expect=ABORTED)
    assert "nothing was changed" in asked.stderr and lost.address in asked.stderr
    assert not fleet.unfinished()


# ---- whoever dies in between ----

def crash_points(fleet, lost, trace):
    """Those that a failover passes, in order."""
    fleet.cli("lab", "kill", lost.name, expect=0)
    fail_over(fleet, trace=trace, expect=DONE)
    bring_back(fleet, lost)
    passed = list(dict.fromkeys(trace.read_text().split()))
    assert len(passed) > 40, passed
    return passed if SOAK else passed[::7]


def is_open(fleet, server):
    return not fleet.value(server, "SELECT @@GLOBAL.read_only")


def one_disaster(fleet, writers, action):
    """The primary is killed, the failover meets the action, and is finished; all is well after."""
    lost = fleet.primary()
    fleet.cli("lab", "kill", lost.name, expect=0)
    action(fleet)
    if fleet.unfinished():
        fleet.resume(expect=DONE)
    elif not any(is_open(fleet, server) for server in region_servers(fleet, lost)):
        fail_over(fleet, expect=DONE)  # it ended before it began
    writers.wait_for_more(3)
    bring_back(fleet, lost, writers.acked)
    assert_sound(fleet, writers.acked)


def test_killed_at_every_point(fleet, tmp_path):
    with Writers(fleet, ends=at_home(fleet)) as writers:
        chosen = crash_points(fleet, fleet.primary(), tmp_path / "trace")
        for point in chosen:
            def die(fleet, point=point):
                done = fail_over(fleet, fault=f"{point}=kill")
                assert done["code"] == KILLED, (point, done)
            one_disaster(fleet, writers, die)
    print(f"\n{len(chosen)} crash points of a failover")


def test_interrupted_at_every_point(fleet, tmp_path):
    """Ctrl-C: the lost primary is the shard's primary still, or another one is; nothing in between."""
    ends = {DONE: 0, ABORTED: 0}
    with Writers(fleet, ends=at_home(fleet)) as writers:
        chosen = crash_points(fleet, fleet.primary(), tmp_path / "trace")
        for point in chosen:
            def interrupt(fleet, point=point):
                done = fail_over(fleet, fault=f"{point}=int")
                assert done["code"] in ends, (point, done)
                assert fleet.unfinished() is None
                ends[done["code"]] += 1
            one_disaster(fleet, writers, interrupt)
    print(f"\n{len(chosen)} points: {ends[DONE]} finished, {ends[ABORTED]} aborted")
    assert ends[DONE] and ends[ABORTED]


def is_stopped(process):
    with open(f"/proc/{process.pid}/stat", encoding="utf-8") as stat:
        return stat.read().rsplit(") ", 1)[1].startswith("T")


@pytest.mark.parametrize("point", ["failover.cas-opening:after", "failover.promote:before"])
def test_who_stood_still_opens_nobody_beside_another(fleet, point):
    """Right before the statement that opens, for longer than a look is worth; meanwhile an operator makes
    another server the primary."""
    lost = fleet.primary()
    fleet.cli("lab", "kill", lost.name, expect=0)
    process = fleet.start("failover", "--yes", "--json", fault=f"{point}=stop")
    wait_until(lambda: is_stopped(process), 30, "it stands still")
    other = next(server for server in fleet.servers if server.region != lost.region)
    for statement in ("STOP ALL SLAVES", "RESET SLAVE ALL", "SET GLOBAL read_only=0"):
        fleet.sql(other, statement)
    until = time.monotonic() + 2.5
    wait_until(lambda: time.monotonic() > until, 5, "the look is old")
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == STUCK, (out, err)
    assert f"{other.address} accepts writes" in json.loads(out)["shards"][0]["error"], out
    assert [s for s in fleet.servers if s is not lost and is_open(fleet, s)] == [other]


def test_every_point_of_the_table_is_one_that_a_failover_can_pass(fleet, tmp_path):
    trace = tmp_path / "trace"
    lost = fleet.primary()
    fleet.cli("lab", "kill", lost.name, expect=0)
    fail_over(fleet, trace=trace, expect=DONE)
    passed = {point.split(":")[0] for point in trace.read_text().split()}
    unusual = {"failover.close", "failover.catch-up", "failover.release", "failover.confirm",
               "failover.events", "failover.open-again"}
    table = {point.split(":")[0] for point in points(fleet, of="failover.")}
    assert table - passed == unusual, sorted(table - passed)


def test_the_checker_sees_a_second_primary(fleet):
    give_route(fleet)
    lost = fleet.primary()
    other = region_servers(fleet, lost)[0]
    fleet.sql(other, "SET GLOBAL read_only=0")
    assert any("writable are" in sentence for sentence in violations(fleet))
