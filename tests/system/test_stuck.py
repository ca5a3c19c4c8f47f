# SPDX-License-Identifier: Apache-2.0
"""What is said of a shard that is stuck: who can write, what it waits for, and what to do."""
import contextlib
import json
import re
import signal
import sqlite3
import time

import pytest

from conftest import HOLDFAST, wait_until
from moves import ABORTED, DONE, KILLED, STUCK, hold_command, of_lab

FAILED = 1
PATIENCE = "{ move_timeout: 2s }"


def disaster(lab, *words):
    return f"{HOLDFAST} lab {' '.join(words)} --dir {lab.dir} >/dev/null"


def get_stuck(lab, fault, to="east"):
    """A move that ends stuck; (the fleet, what the report says of the shard)."""
    fleet = of_lab(lab, policy=PATIENCE)
    shard = fleet.move(to, fault=fault, expect=STUCK)["shard"]
    assert shard["result"] == "stuck", shard
    return fleet, shard


def look_at_runs(fleet):
    """Does the last run's process live, by two commands; its line; what status says of it."""
    listed = json.loads(fleet.cli("run", "list", "--json", expect=DONE).stdout)[-1]
    shown = json.loads(fleet.cli("run", "show", listed["run"], "--json", expect=DONE).stdout)
    assert listed.items() <= shown.items(), (listed, shown)
    line = fleet.cli("run", "list", expect=DONE).stdout.splitlines()[-1]
    left = json.loads(fleet.cli("status", "--json").stdout)["run_left"]
    assert left is None or f"! {left}\n" in fleet.cli("status").stdout
    return listed["alive"], shown["alive"], line.split("  ", 1)[1].split("20")[0], left


def verdict(fleet):
    """The page's words on the promised time."""
    page = fleet.cli("report", fleet.unfinished(), "--html", "-", expect=DONE).stdout
    return re.sub("<[^>]*>", "", page.split("<h3>RTO")[1].split("</span>")[1].split("</div>")[0])


@pytest.mark.parametrize("point", ["cas.redirecting:after", "old.follow:after"])
def test_a_new_primary_that_died_after_it_was_published_is_not_said_to_take_writes(lab, point):
    new = lab.address("s0-east-1")
    fleet, shard = get_stuck(lab, f"{point}=run:{disaster(lab, 'kill', 's0-east-1')}")
    assert shard["writable"] is False
    assert shard["hint"].startswith(f"nobody can write at {new}; bring {new} back, then: "), shard
    said = verdict(fleet)
    assert said.startswith("✕ broken1 stuck shard may refuse writes") and "No shard" not in said
    lab.cli("lab", "restart", "s0-east-1")
    fleet.resume(expect=DONE)


def test_a_new_primary_whose_writes_do_not_return_is_not_said_to_take_writes(lab):
    ackers = ("s0-east-2", "s0-east-3")
    fleet, shard = get_stuck(lab, f"old.follow:after=run:{disaster(lab, 'freeze', *ackers)}")
    lab.cli("lab", "thaw", *ackers)
    assert shard["writable"] is False and "are the replicas alive" in shard["hint"], shard
    assert shard["hint"].startswith("nobody can write at "), shard
    fleet.resume(expect=DONE)


def test_clients_that_write_while_the_old_primary_is_away_are_told_of(lab):
    old, new = lab.address("s0-west-1"), lab.address("s0-east-1")
    fleet, shard = get_stuck(lab, f"cas.redirecting:after=run:{disaster(lab, 'kill', 's0-west-1')}")
    assert shard["writable"] is True
    done = fleet.cli("status", expect=3)
    assert "1 of 1 shard is in the middle of a move that nobody goes on with" in done.stderr, done
    assert f"! run {fleet.unfinished()}: it waits for an operator: holdfast run resume" in done.stdout
    assert "(waits for an operator)" in fleet.cli("run", "list").stdout
    report = json.loads(fleet.cli("run", "show", "--json").stdout)["report"]
    assert report["shards"][0]["hint"] == shard["hint"]
    assert shard["hint"].startswith(f"writes go on at {new}; bring {old} back, or take it out of the fleet "
                                     "file when it is gone for good, then: "), shard
    assert verdict(fleet).startswith("✓ kept")
    lab.cli("lab", "restart", "s0-west-1")
    fleet.resume(expect=DONE)


def test_a_stuck_shard_says_what_it_waits_for_and_what_it_began_with(lab):
    """The old primary dies in the freeze: nobody writes until it is back."""
    old = lab.address("s0-west-1")
    fleet, shard = get_stuck(lab, f"old.freeze:before=run:{disaster(lab, 'freeze', 's0-west-1')};"
                                  f"old.freeze:sent=run:{disaster(lab, 'kill', 's0-west-1')}")
    assert shard["writable"] is False
    assert shard["error"].startswith(f"the old primary cannot be opened again: open {old} again: ")
    assert shard["hint"] == f"bring {old} back, then: holdfast run resume {fleet.unfinished()}"
    assert shard["began_with"].startswith("freeze: ") and "ackers" not in str(shard), shard
    text = fleet.cli("report", fleet.unfinished(), expect=DONE).stdout
    assert f"      began with: {shard['began_with']}\n      next: bring {old} back" in text, text
    lab.cli("lab", "restart", "s0-west-1")
    fleet.resume(expect=(DONE, FAILED))  # its ackers need a moment


def test_a_freeze_that_the_server_bounds_speaks_of_ackers(lab):
    """Both are frozen, and a write waits for them: so does the freeze."""
    fleet = of_lab(lab, policy=PATIENCE)
    ackers = ("s0-west-2", "s0-west-3")
    write = hold_command(fleet, fleet.primary(), "INSERT INTO app.ledger (n) VALUES (-1)",
                         "Waiting for semi-sync ACK from slave")
    done = fleet.move("east", fault=f"cas.frozen:after=run:{disaster(lab, 'freeze', *ackers)} && {write}")
    lab.cli("lab", "thaw", *ackers)
    assert done["shard"]["result"] == "undone" and "are the ackers of" in done["shard"]["hint"], done


def test_a_run_that_was_called_off_is_not_moved_on_by_resume(lab):
    fleet, _ = get_stuck(lab, f"cas.frozen:after=run:{disaster(lab, 'kill', 's0-west-1')}")
    run = fleet.unfinished()
    said = fleet.cli("run", "abort", expect=STUCK)
    assert f"holdfast run abort {run}" in said.stderr and f"holdfast run abort {run}" in said.stdout
    for look in (("run", "show"), ("run", "show", "--follow"), ("switchover", "--to", "east", "--yes")):
        done = fleet.cli(*look)
        assert f"run abort {run}" in done.stdout + done.stderr, done
        assert "run resume" not in done.stdout + done.stderr, done
    lab.cli("lab", "restart", "s0-west-1")
    done = fleet.resume(expect=ABORTED)
    assert "was called off" in done["stderr"] and done["shard"]["result"] == "aborted", done
    assert fleet.route()["home"] == "west" and fleet.unfinished() is None
    orders = fleet.cli("run", "show", run, expect=DONE).stdout
    assert "took the run over to abort it" in orders and "over, which was called off" in orders


def test_an_order_to_abort_that_a_process_died_with_is_kept(lab):
    fleet = of_lab(lab, policy=PATIENCE)
    process = fleet.start("switchover", "--to", "east", "--yes", fault="cas.frozen:after=stop")
    wait_until(lambda: fleet.unfinished() and (fleet.route() or {}).get("state") == "frozen", 10, "frozen")
    assert look_at_runs(fleet) == (True, True, "running  to east, 1 shard, ", None)
    fleet.cli("run", "abort", expect=DONE)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    wait_until(lambda: "its process is gone" in fleet.cli("run", "show").stdout, 15, "its lease is over")
    gone = f"run {fleet.unfinished()}: its process is gone: "
    assert look_at_runs(fleet)[:2] == (False, False) and look_at_runs(fleet)[3].startswith(gone)
    assert "(its process is gone)" in fleet.cli("run", "list").stdout
    assert fleet.resume(expect=ABORTED)["shard"]["result"] == "aborted"
    assert "asked the run to abort" in fleet.cli("report", fleet.cli("run", "list").stdout.split()[0], "--json").stdout


def promise(fleet, rto):
    with open(fleet.file, encoding="utf-8") as file:
        text = re.sub(r"(?m)^promise:.*\n", "", file.read())
    with open(fleet.file, "w", encoding="utf-8") as file:
        file.write(f"promise: {{ rto: {rto}, rpo: 5s }}\n{text}")


@pytest.mark.parametrize("point, result", [("old.freeze:after", "moved"), ("new.promote:before", "aborted")])
def test_a_shard_that_a_dead_process_had_closed_was_out_for_at_least_so_long(lab, point, result):
    fleet = of_lab(lab)
    promise(fleet, "1s")
    fleet.move("east", fault=f"{point}=kill", expect=KILLED)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() > began + 1.2, 5, "longer than was promised")
    done = json.loads(fleet.cli("run", "resume" if result == "moved" else "abort", "--json").stdout)
    shard = done["shards"][0]
    assert shard["result"] == result and shard["write_outage_ms"] is None, shard
    lasted = 1000 * (time.monotonic() - began)
    assert 1200 < shard["outage_at_least_ms"] < lasted + 500, shard
    assert "an earlier process had closed it: the outage is not known, only what it was at least" in shard["notes"], shard
    assert done["since_ordered_ms"] > done["took_ms"] + 1200, done
    text = fleet.cli("report", done["run"], expect=DONE).stdout
    assert f">{shard['outage_at_least_ms']:.1f}" in text and "s since it was resumed, " in text, text
    page = fleet.cli("report", done["run"], "--html", "-", expect=DONE).stdout
    assert "✕ broken</b></p><p>1 shard took longer. Longest outage: at least 1," in page


def test_a_shard_that_was_not_closed_is_not_said_to_have_been(lab):
    fleet = of_lab(lab)
    fleet.move("east", fault="cas.frozen:after=kill", expect=KILLED)
    shard = fleet.resume(expect=DONE)["shard"]
    assert "outage_at_least_ms" not in shard and "the outage is not known" in shard["notes"], shard


def test_a_shard_that_was_closed_when_its_run_waited_was_out_until_it_went_on(lab):
    fleet, shard = get_stuck(lab, f"cas.redirecting:after=run:{disaster(lab, 'kill', 's0-east-1')}")
    assert shard["closed_since_us"] and "outage_at_least_ms" not in shard, shard
    lab.cli("lab", "restart", "s0-east-1")
    done = fleet.resume(expect=DONE)["shard"]
    assert done["result"] == "moved" and done["outage_at_least_ms"] > 0, done


def test_one_record_that_does_not_read_hides_no_run(lab):
    fleet = of_lab(lab)
    first, second = (fleet.move(to, expect=DONE)["report"]["run"] for to in ("east", "west"))
    with contextlib.closing(sqlite3.connect(f"{lab.dir}/store/store.db")) as store:
        store.execute("UPDATE entry SET value = '{' WHERE key = ?", (f"runs/{first}",))
        store.commit()
    lines = fleet.cli("run", "list", expect=DONE).stdout.splitlines()
    assert lines[0].startswith(f"{first}  ? the store holds a run that does not read") and second in lines[1]
    listed = json.loads(fleet.cli("run", "list", "--json", expect=DONE).stdout)
    assert listed[0]["problem"] and listed[1]["state"] == "done", listed
    fleet.move("east", expect=DONE)
