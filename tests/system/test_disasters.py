# SPDX-License-Identifier: Apache-2.0
"""Moves during which servers die or hang, ackers vanish, the conductor sleeps through its replacement,
or two operators work at once. And the checker itself: each violation it looks for, planted.
"""
import contextlib
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

import pytest

from conftest import HOLDFAST, wait_until
from moves import (ABORTED, DONE, KILLED, SOAK, STUCK, Writers, assert_sound, hold_command, of_lab, open_command,
                   other_region, points, remove_from_store, violations)
from scenarios import ACCEPT, PATIENT, Bench, furnish, pass_point, put_right, run_all

FAILED = 1
HASTY = f"{{ freeze_timeout: 400ms, move_timeout: 1500ms, {ACCEPT} }}"
LEASE_SECONDS = 10
HUNG_SECONDS = 6
HANG_SYNC = pathlib.Path(__file__).with_name("hang_sync.c")

# Where a server is hit when it is not a soak: round the critical calls, and in the undo.
OLD_POINTS = ["old.try-freeze:before", "old.freeze:before", "old.freeze:sent", "old.freeze:after",
              "new.promote:after", "old.end-freeze:before", "old.follow:sent", "old.late:before",
              "old.open:sent"]
NEW_POINTS = ["new.catch-up:before", "old.freeze:after", "new.promote:sent", "new.promote:after",
              "new.forget:sent", "new.events:sent", "all.verify:before", "new.confirm:sent",
              "cas.undoing:before"]

# Nothing was frozen yet, or the shard has been seen to serve: a primary that dies here is not the move's
# to open when it comes back. An operator opens it; the fleet must be sound then.
NOT_THE_MOVES = {
    "old": ("lease.grant", "run.begin", "report.begin", "lease.keep", "cas.preparing", "old.connect", "old.holder",
            "old.evict", "new.evict",
            "old.lock", "new.connect", "new.holder", "new.lock", "get.token", "old.look", "new.look", "old.schema",
            "old.try-freeze", "old.position", "new.catch-up", "cas.frozen:before", "old.open:sent", "old.open:after"),
    "new": ("all.verify:after", "cas.serving", "report.shard", "report.end", "run.end", "lease.revoke",
            "lease.keep"),
}


def lab_command(*words):
    return shlex.join([HOLDFAST, "lab", *words]) + " >/dev/null"


def open_by_hand(fleet, server):
    """As an operator does with a primary that came back read-only when nobody was moving it."""
    route = fleet.route()
    is_writable = [one for one in fleet.servers
                   if not fleet.value(one, "SELECT @@GLOBAL.read_only")]
    if route["state"] == "serving" and route["primary"] == server.address and not is_writable:
        fleet.sql(server, "SET GLOBAL rpl_semi_sync_master_enabled=1")
        fleet.sql(server, "SET GLOBAL read_only=0")


@contextlib.contextmanager
def impatience(fleet):
    """A run that begins now gives up soon. All others have patience: on a busy machine a move may take
    longer, and rightly waits for an operator then."""
    hasty = pathlib.Path(fleet.file).with_name("hasty.yaml")
    text = pathlib.Path(fleet.file).read_text(encoding="utf-8")
    assert PATIENT in text
    hasty.write_text(text.replace(PATIENT, HASTY), encoding="utf-8")
    fleet.env["HOLDFAST_FLEET"] = str(hasty)
    yield
    fleet.env["HOLDFAST_FLEET"] = fleet.file


def hit(fleet, which, verb, point, trace):
    """The server is killed or frozen at the point, mended, and the run resumed if it is left."""
    server = fleet.primary() if which == "old" else fleet.relay()
    began = time.monotonic()
    with impatience(fleet):
        done = pass_point(fleet, point, f"run:{lab_command(verb, server.name)}", trace=trace)
    took = time.monotonic() - began
    fleet.cli("lab", "restart" if verb == "kill" else "thaw", server.name, expect=0)
    assert point in trace.read_text().split(), f"it was not reached: {done}"
    assert done["code"] in (DONE, FAILED, STUCK), done
    assert took < 12, f"it took {took:.1f} s to give up"
    if done["code"] == STUCK:
        assert "run resume" in done["stderr"] and fleet.unfinished(), done
    error = done["shard"].get("error", "")
    assert done["code"] == DONE or error, f"it does not say why: {done}"
    if "has no primary" in error:
        assert server.address in done["shard"]["hint"], done
    if point.startswith(NOT_THE_MOVES[which]):
        open_by_hand(fleet, server)
    if fleet.unfinished():
        fleet.resume(expect=(DONE, FAILED))
    put_right(fleet, point)


def hit_at(make_lab, tmp_path, which, verb, chosen):
    bench = Bench(make_lab)

    def scenario(point):
        furnish(bench.fleet)  # a scheduler does not run any more after its server was restarted
        hit(bench.fleet, which, verb, point, tmp_path / point)

    try:
        run_all(bench, [(f"{verb} of the {which} primary at {point}", lambda p=point: scenario(p))
                        for point in (points(bench.ready()) if SOAK else chosen)])
    finally:
        bench.discard()


@pytest.mark.parametrize("verb", ["kill", "freeze"])
def test_the_old_primary_is_hit(make_lab, tmp_path, verb):
    hit_at(make_lab, tmp_path, "old", verb, OLD_POINTS)


@pytest.mark.parametrize("verb", ["kill", "freeze"])
def test_the_relay_is_hit(make_lab, tmp_path, verb):
    hit_at(make_lab, tmp_path, "new", verb, NEW_POINTS)


@pytest.mark.parametrize("file, text", [("master.info", ""), ("relay-log.info", "5\\n./relay.0")])
def test_an_old_primary_killed_while_it_is_pointed_follows_all_the_same(lab, file, text):
    """What a kill within CHANGE MASTER leaves: half a file, and error 1201 to every statement that
    would use it."""
    fleet = of_lab(lab)
    old, to = fleet.primary(), fleet.relay().region
    path = shlex.quote(f"{lab.dir}/servers/{old.name}/data/{file}")
    crash = (f"{lab_command('kill', old.name)} && printf '{text}' >{path} && "
             f"{lab_command('restart', old.name)}")
    with Writers(fleet) as writers:
        done = fleet.move(to, fault=f"old.follow:before=run:{crash}", expect=DONE)
        assert done["shard"]["result"] == "moved", done
        assert_sound(fleet, writers.acked)


def crash_command(server):
    """It comes back without its role."""
    return f"{lab_command('kill', server.name)} && {lab_command('restart', server.name, '--bare')}"


def test_an_old_primary_that_crashed_with_the_freeze_follows_all_the_same(lab):
    """The backup stage that is to be ended went with the session."""
    fleet = of_lab(lab)
    old, to = fleet.primary(), fleet.relay().region
    with Writers(fleet) as writers:
        done = fleet.move(to, fault=f"cas.redirecting:after=run:{crash_command(old)}", expect=DONE)
        assert done["shard"]["result"] == "moved", done
        assert_sound(fleet, writers.acked)


def test_a_relay_that_died_before_it_was_promoted_does_not_keep_the_old_primary_closed(lab):
    """Nothing was sent to it, so nobody has to ask it."""
    fleet = of_lab(lab)
    old, relay = fleet.primary(), fleet.relay()
    with Writers(fleet) as writers:
        done = fleet.move(relay.region, expect=FAILED,
                          fault=f"old.freeze:after=run:{lab_command('kill', relay.name)}")
        assert done["shard"]["result"] == "undone" and relay.address in done["shard"]["error"], done
        assert fleet.unfinished() is None
        assert not fleet.value(old, "SELECT @@GLOBAL.read_only")
        writers.wait_for_more(5)
        fleet.cli("lab", "restart", relay.name, expect=0)
        writers.stop()
        assert_sound(fleet, writers.acked)


def test_a_relay_that_answered_not_opened_is_closed_whatever_else_it_logged(lab):
    """It cannot catch up, and somebody flushed its tables: that is no client's write to be kept."""
    fleet = of_lab(lab, policy="{ freeze_timeout: 400ms }")
    old, relay = fleet.primary(), fleet.relay()
    stop, flush = (hold_command(fleet, relay, statement, "")
                   for statement in ("STOP SLAVE SQL_THREAD", "FLUSH TABLES"))
    with Writers(fleet) as writers:
        done = fleet.move(relay.region, expect=FAILED,
                          fault=f"cas.frozen:after=run:{stop};old.freeze:after=run:{flush}")
        assert done["shard"]["result"] == "undone", done
        assert "did not reach the final position" in done["shard"]["error"], done
        assert not fleet.value(old, "SELECT @@GLOBAL.read_only")
        assert fleet.value(relay, "SELECT @@GLOBAL.read_only")
        writers.wait_for_more(5)


@pytest.mark.parametrize("order, code", [("resume", FAILED), ("abort", ABORTED)])
def test_a_run_does_not_stay_open_for_a_shard_that_it_had_not_begun_to_move(lab, order, code):
    """Its primary was restarted, and only a fleet without a run may have it opened again."""
    fleet = of_lab(lab)
    fleet.move(fleet.relay().region, expect=DONE)
    primary, to = fleet.primary(), fleet.relay().region
    fleet.move(to, fault="cas.preparing:before=kill", expect=KILLED)
    fleet.cli("lab", "kill", primary.name, expect=DONE)
    fleet.cli("lab", "restart", primary.name, "--bare", expect=DONE)
    ended = fleet.cli("run", order, expect=code)
    assert "has no primary" in ended.stdout and "fleet converge" in ended.stdout, ended
    assert fleet.unfinished() is None
    fleet.cli("fleet", "converge", "--yes", expect=DONE)
    assert_sound(fleet)
    assert fleet.primary() is primary


def test_a_new_primary_that_took_writes_and_crashed_is_never_undone(lab):
    """The conductor dies right after promote; clients write at the new primary; it crashes and comes
    back read-only. To open the old primary again would lose what the clients were told is kept."""
    fleet = of_lab(lab)
    new, to = fleet.relay(), fleet.relay().region
    with Writers(fleet) as writers:
        fleet.move(to, fault="new.promote:after=kill", expect=KILLED)
        writers.wait_for_more(5)
        fleet.cli("lab", "kill", new.name, expect=0)
        fleet.cli("lab", "restart", new.name, expect=0)
        assert fleet.value(new, "SELECT @@GLOBAL.read_only") == 1
        fleet.resume(expect=(DONE, STUCK))
        if fleet.unfinished():
            fleet.resume(expect=DONE)
        assert_sound(fleet, writers.acked)
        assert fleet.route()["home"] == to


def test_a_new_primary_that_took_writes_is_opened_again_as_soon_as_it_has_ackers(lab):
    """The old primary is frozen by then, for as long as that takes."""
    fleet = of_lab(lab)
    new = fleet.relay()
    fleet.move(new.region, fault="new.promote:after=kill", expect=KILLED)
    fleet.sql(new, f"INSERT INTO {fleet.database}.ledger (n) VALUES (1)")
    fleet.cli("lab", "kill", new.name, expect=DONE)
    fleet.cli("lab", "restart", new.name, "--bare", expect=DONE)
    for acker in fleet.replicas(new):
        fleet.sql(acker, "STOP SLAVE")
    start = " && ".join(hold_command(fleet, acker, "START SLAVE", "") for acker in fleet.replicas(new))
    fleet.resume(fault=f"new.promote:after=run:{start}", expect=DONE)
    assert_sound(fleet, [1])


def test_a_new_primary_that_took_writes_is_never_undone_when_its_log_was_rotated(lab):
    """What it wrote stands in a file behind the one where the move began to look."""
    fleet = of_lab(lab)
    new = fleet.relay()
    fleet.move(new.region, fault="new.promote:after=kill", expect=KILLED)
    fleet.sql(new, "FLUSH BINARY LOGS")
    with fleet.connect(new, "app", database=fleet.database) as client, client.cursor() as cursor:
        cursor.execute("INSERT INTO ledger (n) VALUES (1)")
    fleet.cli("lab", "kill", new.name, expect=DONE)
    fleet.cli("lab", "restart", new.name, "--bare", expect=DONE)
    assert fleet.resume(expect=DONE)["shard"]["result"] == "moved"
    assert_sound(fleet, [1])


@pytest.mark.parametrize("point", ["new.heartbeat:before", "all.verify:before"])
def test_a_new_primary_that_crashed_before_it_was_verified_is_opened_again(lab, point):
    """By the same process: the old primary follows it already, but nobody can write."""
    fleet = of_lab(lab)
    new = fleet.relay()
    with Writers(fleet) as writers:
        done = fleet.move(new.region, fault=f"{point}=run:{crash_command(new)}", expect=DONE)
        assert f"{new.address} had become read-only" in done["shard"]["notes"], done
        assert_sound(fleet, writers.acked)


def test_a_new_primary_that_waits_for_no_acknowledgement_is_not_done(lab):
    """Somebody switched that off, or it was restarted by a configuration that opens it."""
    fleet = of_lab(lab)
    new = fleet.relay()
    switch = hold_command(fleet, new, "SET GLOBAL rpl_semi_sync_master_enabled=0", "")
    fleet.move(new.region, fault=f"new.heartbeat:before=run:{switch}", expect=DONE)
    assert_sound(fleet)


def test_a_server_that_froze_when_the_event_scheduler_was_to_start_is_told_again(lab, tmp_path):
    """Else the events would rest after this move, or after the next one, and only a note would say it."""
    fleet = of_lab(lab, policy=PATIENT)
    furnish(fleet)
    old, new, trace = fleet.primary(), fleet.relay(), tmp_path / "trace"
    run = fleet.start("switchover", "--to", new.region, "--yes", "--json", trace=trace,
                      fault=f"new.scheduler:before=run:{lab_command('freeze', new.name)}")
    wait_until(lambda: trace.exists() and "new.scheduler:after" in trace.read_text(), 20,
               "it does not wait any longer")
    fleet.cli("lab", "thaw", new.name, expect=0)
    said, _ = run.communicate(timeout=30)
    assert run.returncode == DONE, said
    assert [fleet.value(server, "SELECT @@GLOBAL.event_scheduler") for server in (old, new)] == ["ON", "ON"]
    assert_sound(fleet)


def lock_store_command(lab):
    """The store locks up, for longer than the run has patience for."""
    return shlex.join([sys.executable, str(pathlib.Path(__file__).with_name("lock_store.py")),
                       str(pathlib.Path(lab.dir, "store", "store.db")), str(HUNG_SECONDS)])


def test_a_store_that_hangs_before_the_freeze_closes_nothing(lab, tmp_path):
    """Clients do not wait for the write of the point of no return."""
    fleet, trace = of_lab(lab), tmp_path / "trace"
    old, to = fleet.primary(), fleet.relay().region
    with Writers(fleet) as writers:
        done = fleet.move(to, trace=trace, fault=f"cas.promoting:before=run:{lock_store_command(lab)}")
        assert done["code"] != DONE and "old.freeze:before" not in trace.read_text(), done
        assert not fleet.value(old, "SELECT @@GLOBAL.read_only")
        if fleet.unfinished():
            fleet.resume(expect=(DONE, FAILED))
        assert_sound(fleet, writers.acked)


def test_an_undo_does_not_wait_for_a_store_that_hangs(lab):
    """It locks up while the old primary is closed, and the new one dies."""
    fleet = of_lab(lab, probe=True)
    old, new = fleet.primary(), fleet.relay()
    with Writers(fleet) as writers:
        done = fleet.move(new.region, fault=f"old.freeze:after=run:{lock_store_command(lab)} && "
                                            f"{lab_command('kill', new.name)}")
        assert done["code"] != DONE and done["shard"]["result"] != "moved", done
        assert not fleet.value(old, "SELECT @@GLOBAL.read_only")
        outage = done["shard"]["write_outage_ms"]
        assert outage is not None and outage < 1000 * HUNG_SECONDS / 2, done
        fleet.cli("lab", "restart", new.name, expect=0)
        if fleet.unfinished():
            fleet.resume(expect=(DONE, FAILED))
        assert_sound(fleet, writers.acked)


def test_an_undo_does_not_wait_for_a_store_that_answers_nobody(lab, tmp_path):
    """Its disk hangs while the old primary is closed, and the new one dies: the write of the undo stays open, so that
    reads wait as well, whoever undid by asking the store first would wait with them."""
    library, flag, trace = tmp_path / "hang_sync.so", tmp_path / "hang", tmp_path / "trace"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, HANG_SYNC], check=True)
    fleet = of_lab(lab)
    old, new = fleet.primary(), fleet.relay()
    fleet.env.update(LD_PRELOAD=str(library), HANG_WHILE=str(flag),
                     HANG_BELOW=os.path.realpath(pathlib.Path(lab.dir, "store")))
    with Writers(fleet) as writers:
        run = fleet.start("switchover", "--to", new.region, "--yes", "--json", trace=trace,
                          fault=f"old.freeze:after=run:touch {shlex.quote(str(flag))} && "
                                f"{lab_command('kill', new.name)}")
        wait_until(lambda: trace.exists() and "new.promote:before" in trace.read_text(), 15,
                   "the freeze, and the death of the new primary")
        wait_until(lambda: not fleet.value(old, "SELECT @@GLOBAL.read_only"), 15,
                   "the old primary is open again while the store hangs")
        writers.wait_for_more(5)
        assert flag.exists() and run.poll() is None, "the store did not hang"
        assert "new.promote:sent" not in trace.read_text()
        flag.unlink()
        said, _ = run.communicate(timeout=30)
        assert run.returncode != DONE, said
        fleet.cli("lab", "restart", new.name, expect=0)
        if fleet.unfinished():
            fleet.resume(expect=(DONE, FAILED))
        assert_sound(fleet, writers.acked)


def test_ackers_that_vanish_during_the_freeze_lead_to_undo(lab):
    fleet = of_lab(lab)
    old = fleet.primary()
    ackers = [server.name for server in fleet.replicas(old)]
    vanish = " && ".join([lab_command("freeze", *ackers),
                          hold_command(fleet, old, "", "Waiting for semi-sync ACK from slave")])
    with Writers(fleet) as writers:
        began = time.monotonic()
        done = fleet.move(other_region(fleet, old.region), expect=FAILED,
                          fault=f"cas.frozen:after=run:{vanish}")
        assert time.monotonic() - began < 5
        assert done["shard"] and done["shard"]["result"] == "undone", done
        assert "freeze" in done["shard"]["error"] and "ackers" in done["shard"]["hint"], done
        assert not fleet.value(old, "SELECT @@GLOBAL.read_only")
        fleet.cli("lab", "thaw", *ackers, expect=0)
        writers.wait_for_more(5)
        assert_sound(fleet, writers.acked)
        fleet.move(other_region(fleet, old.region), expect=DONE)
        assert_sound(fleet, writers.acked)


def test_many_late_transactions_are_named_by_the_first_and_the_last(lab):
    """A privileged session writes at the old primary as soon as the freeze has ended."""
    fleet = of_lab(lab)
    old = fleet.primary()
    insert = hold_command(fleet, old, f"INSERT INTO {fleet.database}.ledger (n) VALUES (-1)", "")
    done = fleet.move(fleet.relay().region, fault=f"old.end-freeze:after=run:{' && '.join([insert] * 7)}")
    said = done["shard"]["notes"]
    numbers = [int(number) for number in re.search(r"; all: 0-\d+-(\d+) to 0-\d+-(\d+)", said).groups()]
    assert "7 transactions that no other region has" in said and numbers[1] - numbers[0] == 6, said


# ---- transactions that are open at the freeze ----

def row_of_its_own(fleet):
    fleet.sql(fleet.primary(), f"INSERT INTO {fleet.database}.ledger (id, n) VALUES (999, 0)")
    return f"UPDATE {fleet.database}.ledger SET n = n + 1 WHERE id = 999"


def wait_for_row(fleet, n):
    for server in fleet.servers:
        wait_until(lambda s=server: fleet.value(s, f"SELECT n FROM {fleet.database}.ledger WHERE id = 999") == n,
                   10, f"{server.name} has the row")


@contextlib.contextmanager
def asking_for_transactions(fleet, server, until=None):
    """Somebody who watches INNODB_TRX, which shows nothing new while it is asked that often."""
    is_over = threading.Event()

    def ask():
        with fleet.connect(server) as connection, connection.cursor() as cursor:
            while not is_over.is_set() and not (until and until.exists()):
                cursor.execute("SELECT COUNT(*) AS n FROM information_schema.INNODB_TRX")
                time.sleep(0.01)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield
    finally:
        is_over.set()
        asker.join()


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_transaction_is_seen_although_somebody_else_asked_just_before(lab, tmp_path, goes_on):
    fleet = of_lab(lab)
    old, new, update = fleet.primary(), fleet.relay(), row_of_its_own(fleet)
    over = tmp_path / "over"
    transaction = open_command(fleet, old, "BEGIN", update)
    with asking_for_transactions(fleet, old, until=None if goes_on else over):
        done = fleet.move(new.region, fault=f"old.try-freeze:after=run:{transaction};"
                                            f"cas.redirecting:after=run:touch {over}")
    notes = done["shard"]["notes"]
    assert done["code"] == DONE, done
    assert ("ended 1 sessions with an open transaction" in notes) != goes_on, done
    assert ("a transaction may have been left there" in notes) == goes_on, done
    assert_sound(fleet)


@pytest.mark.parametrize("is_left_behind", [False, True])
def test_a_transaction_that_is_open_at_the_freeze_does_not_hold_up_the_old_region(lab, is_left_behind):
    """The row that it changed is changed at the new primary: its lock would stop the applier."""
    fleet = of_lab(lab)
    old, new, update = fleet.primary(), fleet.relay(), row_of_its_own(fleet)
    transaction = open_command(fleet, old, "BEGIN", update)
    change = "kill" if is_left_behind else f"run:{hold_command(fleet, new, update, '')}"
    done = fleet.move(new.region, fault=f"old.try-freeze:after=run:{transaction};cas.redirecting:after={change}")
    if is_left_behind:
        fleet.sql(new, update)
        done = fleet.resume()
    assert done["code"] == DONE and "ended 1 sessions with an open transaction" in done["shard"]["notes"], done
    wait_for_row(fleet, 1)
    assert_sound(fleet)


def test_a_reader_of_a_snapshot_outlives_the_move(lab):
    """As a dump does: it holds no locks."""
    fleet = of_lab(lab)
    reader = fleet.connect(fleet.primary(), "app", database=fleet.database)
    with reader.cursor() as cursor:
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        cursor.execute("SELECT COUNT(*) FROM ledger")
        fleet.move(fleet.relay().region, expect=DONE)
        cursor.execute("SELECT COUNT(*) FROM ledger")
    reader.close()
    assert_sound(fleet)


XA = ["XA START 'x'", "UPDATE ledger SET n = n + 1 WHERE id = 999", "XA END 'x'", "XA PREPARE 'x'"]


def test_a_prepared_transaction_that_comes_after_the_checks_is_a_no_go(lab):
    fleet = of_lab(lab)
    row_of_its_own(fleet)
    old = fleet.primary()
    done = fleet.move(fleet.relay().region, expect=FAILED,
                      fault=f"old.connect:before=run:{open_command(fleet, old, *XA)}")
    assert "1 prepared XA transactions" in done["shard"]["error"], done
    assert fleet.primary() is old


def test_a_transaction_that_is_prepared_just_before_the_freeze_is_committed_at_the_new_primary(lab):
    """Its owner at the old primary is ended: the commit could not be applied there beside it."""
    fleet = of_lab(lab)
    row_of_its_own(fleet)
    old, new = fleet.primary(), fleet.relay()
    done = fleet.move(new.region, expect=DONE,
                      fault=f"old.try-freeze:after=run:{open_command(fleet, old, *XA)}")
    assert "ended 1 sessions" in done["shard"]["notes"], done
    fleet.sql(new, "XA COMMIT 'x'")
    wait_for_row(fleet, 1)
    assert_sound(fleet)


# ---- a conductor that sleeps through its replacement ----

def process_state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]


def resume_unless_live(fleet):
    """What 'run resume' came to; None while the process of the run counts as alive."""
    done = fleet.cli("run", "resume")
    return None if "is in progress" in done.stderr else done


def test_a_process_that_slept_through_its_replacement_does_no_harm(make_lab):
    """Stopped at a critical point; another process takes over when the lease has ended; then the
    first one wakes up, in the middle of what it was about to send."""
    sleepers = []
    # At moments when it does not write to the store: one that stops while it holds the lock of the
    # embedded store stops everybody, and that is said.
    for point in ("new.catch-up:before", "new.promote:before", "new.forget:before",
                  "old.follow:before"):
        fleet = of_lab(make_lab())
        sleeper = fleet.start("switchover", "--to", fleet.relay().region, "--yes", "--json",
                              fault=f"{point}=stop")
        wait_until(lambda s=sleeper: process_state(s.pid) == "T", 10, f"it stops at {point}")
        refused = fleet.cli("run", "resume", expect=FAILED)
        assert "is in progress" in refused.stderr, refused.stderr
        sleepers.append((point, fleet, sleeper, Writers(fleet, count=1)))
    for point, fleet, sleeper, writers in sleepers:
        resumed = wait_until(lambda f=fleet: resume_unless_live(f), LEASE_SECONDS + 5,
                             f"the run stopped at {point} is resumed")
        assert resumed.returncode == DONE, (point, resumed)
        with writers:
            sleeper.send_signal(18)  # SIGCONT
            _, said = sleeper.communicate(timeout=20)
            assert sleeper.returncode == FAILED and (
                "took over" in said or "right to act ran out" in said), (point, said)
            assert_sound(fleet, writers.acked)
            fleet.move(other_region(fleet, fleet.primary().region), expect=DONE)
            assert_sound(fleet, writers.acked)


def test_a_relay_that_hangs_with_the_promote_statement_is_waited_for(lab):
    """It may open when it wakes up: nothing may open the old primary meanwhile."""
    fleet = of_lab(lab, policy=HASTY)
    old, new = fleet.primary(), fleet.relay()
    fault = f"new.promote:before=run:{lab_command('freeze', new.name)};new.promote:sent=kill"
    with Writers(fleet) as writers:
        fleet.move(new.region, fault=fault, expect=KILLED)
        for _ in range(2):
            done = fleet.resume(expect=STUCK)
            hint = f"holdfast run resume {done['report']['run']}"
            assert hint in fleet.cli("run", "show", expect=DONE).stdout
            assert hint in fleet.cli("run", "show", "--follow", expect=STUCK).stderr
            assert new.address in done["shard"]["error"], done
            assert "run resume" in done["stderr"], done
            assert fleet.value(old, "SELECT @@GLOBAL.read_only"), "undone without knowing"
        fleet.cli("lab", "thaw", new.name, expect=0)
        fleet.resume(expect=(DONE, FAILED))
        assert_sound(fleet, writers.acked)
        writers.wait_for_more(3)
        fleet.move(other_region(fleet, fleet.primary().region), expect=DONE)
        assert_sound(fleet, writers.acked)


# ---- two operators ----

def test_a_second_operator_is_told_which_run_is_in_progress(lab, tmp_path):
    fleet = of_lab(lab)
    to = fleet.relay().region
    out, script = tmp_path / "second", tmp_path / "second.sh"
    script.write_text(f"! {shlex.quote(HOLDFAST)} switchover --to {to} --yes >{out} 2>&1\n")
    done = fleet.move(to, fault=f"cas.frozen:after=run:sh {script}", expect=DONE)
    said = out.read_text(encoding="utf-8")
    assert done["report"]["run"] in said and "run show" in said, said
    assert "command failed" not in done["stderr"], "the second switchover was let in"
    assert_sound(fleet)


def test_a_run_that_is_resumed_does_not_end_the_sessions_of_another_run(lab):
    """Of another store, as on another operator's machine, and in its critical section: the server is
    frozen, and would be opened beside the one that this run is about to promote."""
    fleet = of_lab(lab, policy="{ move_timeout: 2s }")
    to = fleet.relay().region
    other = pathlib.Path(fleet.file).with_name("other.yaml")
    other.write_text(pathlib.Path(fleet.file).read_text(encoding="utf-8").replace(f"{lab.dir}/store", f"{lab.dir}/store2"),
                     encoding="utf-8")
    fleet.move(to, fault="old.freeze:before=kill", expect=KILLED)
    fleet.env["HOLDFAST_FLEET"] = str(other)
    theirs = fleet.start("switchover", "--to", to, "--yes", fault="old.freeze:after=stop")
    wait_until(lambda: process_state(theirs.pid) == "T", 20, "it stands still")
    fleet.env["HOLDFAST_FLEET"] = fleet.file
    stuck = fleet.cli("run", "abort", expect=STUCK)
    assert "is held by another Holdfast" in stuck.stdout, stuck
    assert all(fleet.value(server, "SELECT @@GLOBAL.read_only") for server in fleet.servers)
    theirs.send_signal(signal.SIGCONT)
    theirs.communicate(timeout=30)
    fleet.cli("run", "abort", expect=ABORTED)
    assert len([server for server in fleet.servers if not fleet.value(server, "SELECT @@GLOBAL.read_only")]) == 1


def test_a_run_that_was_set_aside_keeps_no_other_run_from_its_servers(lab):
    """Its process stands still with its sessions, and its lock was taken away, as by the fence of its region. The next
    run of the same store knows of it by its record."""
    fleet = of_lab(lab)
    home, to = fleet.primary().region, fleet.relay().region
    theirs = fleet.start("switchover", "--to", to, "--yes", fault="new.forget:before=stop")
    wait_until(lambda: process_state(theirs.pid) == "T", 20, "it stands still")
    for key in ("run-lock", "run-current"):
        remove_from_store(lab, key)
    fleet.cli("failover", "--to", home, "--accept-loss", "--force", "--yes", expect=DONE)
    theirs.send_signal(signal.SIGCONT)
    said, _ = theirs.communicate(timeout=30)
    assert theirs.returncode not in (DONE, KILLED), said
    assert fleet.unfinished() is None
    assert_sound(fleet)


def test_a_live_run_is_aborted_by_another_process(lab, tmp_path):
    """Its relay cannot catch up, so that it is still preparing when the abort comes."""
    fleet = of_lab(lab, policy="{ max_lag: 4s }")
    old, relay = fleet.primary(), fleet.relay()
    trace = tmp_path / "trace"
    lock = fleet.connect(relay)
    lock.cursor().execute(f"LOCK TABLES {fleet.database}.ledger WRITE")
    insert = f"INSERT INTO {fleet.database}.ledger (n) VALUES (0)"
    lag = hold_command(fleet, old, insert, "")
    run = fleet.start("switchover", "--to", relay.region, "--yes", "--json", trace=trace,
                      fault=f"new.look:after=run:{lag}")
    wait_until(lambda: trace.exists() and "new.catch-up:sent" in trace.read_text(), 10, "it waits")
    assert "was asked to abort" in fleet.cli("run", "abort", expect=DONE).stdout
    _, said = run.communicate(timeout=20)
    assert run.returncode == ABORTED, said
    lock.close()
    assert_sound(fleet)
    assert fleet.primary() is old


def test_a_run_that_ended_meanwhile_is_not_taken_over_in_place_of_the_next_one(lab, tmp_path):
    """One operator resumes it; just before, another one has aborted it, and begun one that is stuck."""
    fleet = of_lab(lab, policy="{ move_timeout: 2s }")
    new, script, begun = fleet.relay(), tmp_path / "second.sh", tmp_path / "begun"
    fleet.move(new.region, fault="cas.preparing:after=kill", expect=KILLED)
    first = fleet.unfinished()
    script.write_text(f"""unset HOLDFAST_FAULT
{HOLDFAST} run abort
export HOLDFAST_FAULT='cas.redirecting:after=run:{lab_command("kill", new.name)}'
{HOLDFAST} switchover --to {new.region} --yes
test $? = {STUCK} && touch {begun}
""", encoding="utf-8")
    refused = fleet.cli("run", "resume", first, fault=f"run.take:before=run:sh {script} >/dev/null 2>&1")
    assert begun.exists() and refused.returncode == FAILED, refused
    second = fleet.unfinished()
    assert second != first and f"run {second} was not finished" in refused.stderr, refused
    fleet.cli("lab", "restart", new.name, expect=DONE)
    fleet.resume(expect=DONE)
    assert_sound(fleet)


def test_a_run_left_behind_is_aborted(lab):
    fleet = of_lab(lab)
    old, to = fleet.primary(), fleet.relay().region
    with Writers(fleet) as writers:
        fleet.move(to, fault="old.freeze:sent=kill", expect=KILLED)
        refused = fleet.cli("switchover", "--to", to, "--yes")
        assert refused.returncode != DONE and fleet.unfinished() in refused.stderr, refused.stderr
        fleet.cli("run", "abort", expect=ABORTED)
        assert_sound(fleet, writers.acked)
    assert fleet.primary() is old


@pytest.mark.parametrize("follows", [False, True])
def test_a_shard_that_somebody_moved_by_hand_meanwhile_is_left_alone(lab, follows):
    """Opening the old primary again, as an undo does, would make two writable servers."""
    fleet = of_lab(lab)
    old, to = fleet.primary(), fleet.relay().region
    heir = fleet.replicas(old)[0]
    fleet.move(to, fault="cas.frozen:after=kill", expect=KILLED)
    fleet.sql(old, "SET GLOBAL read_only=1")
    for statement in ("STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=0"):
        fleet.sql(heir, statement)
    if follows:
        fleet.sql(old, f"CHANGE MASTER TO MASTER_HOST='{heir.host}', MASTER_PORT={heir.port}")
    done = fleet.cli("run", "abort", expect=ABORTED)
    assert "not the primary any more" in done.stdout, done.stdout + done.stderr
    writable = [server for server in fleet.servers
                if not fleet.value(server, "SELECT @@GLOBAL.read_only")]
    assert writable == [heir], [server.name for server in writable]
    assert fleet.unfinished() is None


def test_a_new_primary_without_ackers_is_not_opened(lab, tmp_path):
    """They die after the checks, and the new primary has noticed (it does when it next sends)."""
    fleet = of_lab(lab)
    old, new = fleet.primary(), fleet.relay()
    user, password = fleet.accounts["admin"]
    script = tmp_path / "kill.py"
    script.write_text(f"""
import subprocess, time, pymysql
subprocess.run({[HOLDFAST, "lab", "kill"] + [s.name for s in fleet.replicas(new)]!r},
               check=True, stdout=subprocess.DEVNULL)
cursor = pymysql.connect(host={new.host!r}, port={new.port}, user={user!r},
                         password={password!r}).cursor()
deadline = time.monotonic() + 15
while time.monotonic() < deadline:
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_clients'")
    if cursor.fetchone()[1] == "0":
        break
    time.sleep(0.01)
else:
    raise SystemExit("the new primary still counts its ackers")
""", encoding="utf-8")
    with Writers(fleet) as writers:
        done = fleet.move(new.region, fault=f"new.catch-up:before=run:/usr/bin/python3 {script}",
                          expect=1)
        assert done["shard"] and done["shard"]["result"] == "undone", done
        assert "lost its ackers" in done["shard"]["error"], done
        writers.wait_for_more(5)
    assert fleet.value(old, "SELECT @@GLOBAL.read_only") == 0
    assert fleet.value(new, "SELECT @@GLOBAL.read_only") == 1


# ---- the checker finds what is planted ----

@pytest.fixture(name="checked")
def checked_fixture(lab):
    fleet = of_lab(lab)
    fleet.move(other_region(fleet, fleet.primary().region), expect=DONE)
    assert_sound(fleet)
    return fleet


def found(fleet, words, acked=()):
    said = violations(fleet, acked)
    assert any(words in one for one in said), said


def test_the_checker_finds_each_violation(checked):
    fleet = checked
    primary = fleet.primary()
    replica = fleet.replicas(primary)[0]
    fleet.sql(replica, "SET GLOBAL read_only=0")
    found(fleet, "writable are")
    fleet.sql(replica, "SET GLOBAL read_only=1")

    fleet.sql(replica, "STOP SLAVE SQL_THREAD")
    found(fleet, f"{replica.name} does not replicate")
    fleet.sql(replica, "START SLAVE")

    fleet.sql(primary, f"INSERT INTO {fleet.database}.ledger (n) VALUES (4711)")
    assert_sound(fleet, [4711])
    found(fleet, "lost 1 acknowledged rows", acked=[4711, 4712])
    fleet.sql(replica, "SET sql_log_bin=0")
    fleet.sql(replica, f"DELETE FROM {fleet.database}.ledger WHERE n = 4711")
    found(fleet, f"{replica.name} lost 1 acknowledged rows", acked=[4711])
    fleet.sql(replica, f"INSERT INTO {fleet.database}.ledger (n) VALUES (4711), (4711)")
    found(fleet, f"{replica.name} has rows twice")

    fleet.sql(primary, "SET GLOBAL rpl_semi_sync_master_enabled=0")
    found(fleet, "does not wait for acknowledgements")


def test_the_checker_finds_servers_that_follow_the_wrong_one(checked):
    fleet = checked
    primary, relay = fleet.primary(), fleet.relay()
    stray = fleet.replicas(relay)[0]
    fleet.sql(stray, "STOP SLAVE")
    fleet.sql(stray, f"CHANGE MASTER TO MASTER_HOST='{primary.host}'")
    fleet.sql(stray, "START SLAVE")
    wait_until(lambda: any("relays are" in one for one in violations(fleet)), 5, "two relays")
    fleet.sql(relay, "STOP SLAVE")
    fleet.sql(relay, "RESET SLAVE ALL")
    found(fleet, f"{relay.name} follows 0 servers")


def test_the_checker_finds_a_run_that_is_left(lab):
    fleet = of_lab(lab)
    fleet.move(fleet.relay().region, fault="cas.preparing:after=kill", expect=KILLED)
    found(fleet, "is not finished")
