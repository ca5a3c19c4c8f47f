# SPDX-License-Identifier: Apache-2.0
"""Somebody else opens a server by hand, or makes it the primary, in the middle of a move: with another
tool, or because they took a run for lost. There must not be two writable servers because of Holdfast,
and every run must come to an end.
"""
import os
import pathlib
import re
import shlex
import sys

import pytest

from conftest import HOLDFAST
from moves import (ABORTED, DONE, KILLED, STUCK, assert_sound, hold_command, of_lab,
                   open_command, outcome, put_in_store, remove_from_store)

FAILED, NO_GO = 1, 3
HASTY = "{ move_timeout: 2s }"

OPEN = ["STOP ALL SLAVES", "RESET SLAVE ALL", "SET GLOBAL rpl_semi_sync_slave_enabled=0",
        "SET GLOBAL rpl_semi_sync_master_enabled=1", "SET GLOBAL read_only=0"]


def make_primary(fleet, server):
    for statement in OPEN:
        fleet.sql(server, statement)


def commands(fleet, server, statements):
    """The same for HOLDFAST_FAULT: each statement by a client of its own."""
    return " && ".join(hold_command(fleet, server, statement, "") for statement in statements)


def is_open(fleet, server):
    return not fleet.value(server, "SELECT @@GLOBAL.read_only")


def writable(fleet):
    return [server.name for server in fleet.servers if is_open(fleet, server)]


def test_a_second_writable_server_is_not_moved_past(lab):
    """It follows nobody, so that it cannot have the row that the verification looks for."""
    fleet = of_lab(lab, policy="{ move_timeout: 6s }")
    stray, to = fleet.replicas(fleet.primary())[0], fleet.relay().region
    slowly = f"{commands(fleet, stray, OPEN[-1:])} && sleep 0.6"  # a write takes its time
    done = fleet.move(to, fault=f"old.follow:after=run:{commands(fleet, stray, OPEN[:-1])};"
                                f"new.heartbeat:before=run:{slowly}", expect=STUCK)
    assert f"{stray.address} accepts writes besides" in done["shard"]["error"], done
    fleet.sql(stray, "SET GLOBAL read_only=1")
    assert fleet.resume(expect=DONE)["shard"]["result"] == "moved"
    fleet.cli("fleet", "converge", "--yes", expect=DONE)
    assert_sound(fleet)


def test_a_second_writable_server_is_named_also_when_the_old_primary_is_behind(lab):
    """Who is stuck must read of the two, whatever else is the matter."""
    fleet = of_lab(lab, policy="{ move_timeout: 6s }")
    fleet.move(fleet.relay().region, expect=DONE)  # back again: what the old primary lacks is seen last
    old, new = fleet.primary(), fleet.relay()
    stray = fleet.replicas(new)[0]
    behind = open_command(fleet, old, "BEGIN", "SELECT * FROM holdfast.heartbeat FOR UPDATE", account="admin")
    done = fleet.move(new.region, fault=f"old.follow:after=run:{behind};"
                                        f"new.heartbeat:before=run:{commands(fleet, stray, OPEN[-1:])}", expect=STUCK)
    assert f"{stray.address} accepts writes besides" in done["shard"]["error"], done


def test_a_process_that_stood_still_after_the_freeze_promotes_nobody(lab):
    """For longer than the freeze and the promote may take together: meanwhile somebody took the shard
    for lost and moved it inside its region."""
    fleet = of_lab(lab, policy="{ freeze_timeout: 300ms }")
    heir, to = fleet.replicas(fleet.primary())[0], fleet.relay().region
    still = f"sleep 1.5 && {commands(fleet, heir, OPEN)}"
    done = fleet.move(to, fault=f"old.freeze:after=run:{still}", expect=FAILED)
    assert done["shard"]["result"] == "undone" and heir.address in done["shard"]["error"], done
    assert writable(fleet) == [heir.name]
    assert fleet.route()["primary"] == heir.address and fleet.unfinished() is None


def test_a_process_that_stood_still_promotes_nobody_however_long_its_look_at_the_clock_took(lab):
    fleet = of_lab(lab, policy="{ freeze_timeout: 300ms, move_timeout: 15s }")
    relay = fleet.relay()
    done = fleet.move(relay.region, fault="new.look:before=run:sleep 8;new.promote:before=run:sleep 1.5",
                      expect=FAILED)
    assert done["shard"]["result"] == "undone", done
    assert not is_open(fleet, relay)


def test_a_primary_that_somebody_closed_before_the_freeze_is_not_opened_by_us(lab):
    """Another tool closes the old primary first, and then opens its candidate: in between a move that
    only prepared must not open it again."""
    fleet = of_lab(lab)
    old, relay = fleet.primary(), fleet.relay()
    heir = fleet.replicas(old)[0]
    close = hold_command(fleet, old, "SET GLOBAL read_only=1", "")
    done = fleet.move(relay.region, fault=f"old.look:before=run:{close}", expect=FAILED)
    assert "no longer a writable primary" in done["shard"]["error"], done
    assert writable(fleet) == [] and fleet.unfinished() is None
    make_primary(fleet, heir)
    assert writable(fleet) == [heir.name]


def test_a_run_that_died_before_the_freeze_leaves_nothing_to_be_opened(lab):
    fleet = of_lab(lab)
    old, relay = fleet.primary(), fleet.relay()
    fleet.move(relay.region, fault="cas.preparing:after=kill", expect=KILLED)
    fleet.sql(old, "SET GLOBAL read_only=1")
    done = fleet.resume(expect=FAILED)
    assert "has no primary" in done["shard"]["error"], done
    assert writable(fleet) == [] and fleet.unfinished() is None


def test_a_new_primary_that_somebody_closed_before_it_was_published_stays_closed(lab):
    """The store hung at the publish, and meanwhile somebody moved the shard back to its old region."""
    fleet = of_lab(lab, policy=HASTY)
    new, heir = fleet.relay(), fleet.replicas(fleet.primary())[0]
    by_hand = f"sleep 2 && {commands(fleet, new, ['SET GLOBAL read_only=1'])} && {commands(fleet, heir, OPEN)}"
    done = fleet.move(new.region, fault=f"cas.redirecting:before=run:{by_hand}")
    assert done["code"] in (FAILED, STUCK) and heir.address in done["shard"]["error"], done
    assert writable(fleet) == [heir.name]


def assert_moved_on(fleet, done, heir):
    """The run has ended, and says whose the shard is now; nothing was opened beside it."""
    shard = done["shard"]
    assert shard["result"] == "undone" and "moved on by hand" in shard["error"], done
    assert heir.address in shard["error"] and fleet.unfinished() is None, done
    route = fleet.route()
    assert (route["state"], route["primary"], route["home"]) == ("serving", heir.address, heir.region)


def test_a_new_primary_that_crashed_is_not_opened_beside_its_successor(lab):
    """It took writes, crashed before it was published, and was replaced by hand inside its region."""
    fleet = of_lab(lab)
    new = fleet.relay()
    heir = fleet.replicas(new)[0]
    fleet.move(new.region, fault="new.promote:after=kill", expect=KILLED)
    fleet.sql(new, f"INSERT INTO {fleet.database}.ledger (n) VALUES (1)")
    fleet.cli("lab", "kill", new.name, expect=DONE)
    make_primary(fleet, heir)
    fleet.cli("lab", "restart", new.name, "--bare", expect=DONE)
    assert_moved_on(fleet, fleet.resume(expect=FAILED), heir)
    assert writable(fleet) == [heir.name]


def test_a_run_ends_when_its_new_primary_is_replaced_by_hand_before_it_was_verified(lab):
    fleet = of_lab(lab)
    new = fleet.relay()
    heir = fleet.replicas(new)[0]
    lost = f"{shlex.join([HOLDFAST, 'lab', 'kill', new.name])} >/dev/null && {commands(fleet, heir, OPEN)}"
    done = fleet.move(new.region, fault=f"new.heartbeat:before=run:{lost}", expect=FAILED)
    assert_moved_on(fleet, done, heir)


# Where the conductor dies, and which end is lost to the move: its successor is of the same region.
LOST = [("old.freeze:after", "old"), ("cas.redirecting:after", "new")]


@pytest.mark.parametrize("point, end", [*LOST, ("new.promote:after", "new")])
@pytest.mark.parametrize("how", ["down", "closed", "taken out of the fleet file"])
def test_a_run_ends_when_an_end_was_replaced_by_hand(lab, point, end, how):
    fleet = of_lab(lab, policy=HASTY)
    lost = fleet.primary() if end == "old" else fleet.relay()
    heir, to = fleet.replicas(lost)[0], fleet.relay().region
    fleet.move(to, fault=f"{point}=kill", expect=KILLED)
    fleet.sql(lost, "SET GLOBAL read_only=1")
    if how != "closed":
        fleet.cli("lab", "kill", lost.name, expect=DONE)
    make_primary(fleet, heir)
    if how == "taken out of the fleet file":
        file = pathlib.Path(fleet.file)
        file.write_text(re.sub(rf"{re.escape(lost.address)}, *", "", file.read_text()))
    order, code = ("abort", ABORTED) if how == "down" else ("resume", FAILED)
    done = outcome(fleet.cli("run", order, "--json", expect=code))
    assert_moved_on(fleet, done, heir)
    open_now = [server.name for server in fleet.servers
                if (server is not lost or how == "closed") and is_open(fleet, server)]
    assert open_now == [heir.name]


def test_of_two_servers_that_were_opened_by_hand_none_is_chosen(lab):
    fleet = of_lab(lab, policy=HASTY)
    old = fleet.primary()
    first, second = fleet.replicas(old)
    fleet.move(fleet.relay().region, fault="old.freeze:after=kill", expect=KILLED)
    make_primary(fleet, first)
    make_primary(fleet, second)
    done = fleet.resume(expect=STUCK)
    assert "is not opened beside it" in done["shard"]["error"], done
    assert writable(fleet) == [first.name, second.name]
    fleet.sql(second, "SET GLOBAL read_only=1")
    assert_moved_on(fleet, fleet.resume(expect=FAILED), first)


def test_a_new_primary_that_may_be_open_is_waited_for_although_the_old_one_accepts_writes(lab):
    """It hangs with the promote statement; that somebody opened the old primary says nothing of it."""
    fleet = of_lab(lab, policy=HASTY)
    old, new = fleet.primary(), fleet.relay()
    freeze = shlex.join([HOLDFAST, "lab", "freeze", new.name]) + " >/dev/null"
    fleet.move(new.region, fault=f"new.promote:before=run:{freeze};new.promote:sent=kill", expect=KILLED)
    fleet.sql(old, "SET GLOBAL read_only=0")
    done = fleet.resume(expect=STUCK)
    assert new.address in done["shard"]["error"], done
    fleet.cli("lab", "thaw", new.name, expect=DONE)


def slow(fleet, heir):
    """A process that stands still while a shard is moved by hand, for longer than a look counts."""
    return f"run:sleep 2.2 && {commands(fleet, heir, OPEN)}"


@pytest.mark.parametrize("point, end, call", [("old.freeze:after", "old", "old.open"),
                                              ("cas.redirecting:after", "new", "new.open")])
def test_a_server_is_not_opened_by_a_process_that_stood_still_after_it_had_looked(lab, point, end, call):
    fleet = of_lab(lab)
    server = fleet.primary() if end == "old" else fleet.relay()
    heir = fleet.replicas(server)[0]
    fleet.move(fleet.relay().region, fault=f"{point}=kill", expect=KILLED)
    fleet.sql(server, "SET GLOBAL read_only=1")
    done = fleet.resume(fault=f"{call}:before={slow(fleet, heir)}", expect=FAILED)
    assert_moved_on(fleet, done, heir)
    assert writable(fleet) == [heir.name]


def test_converge_does_not_open_a_primary_after_it_stood_still(lab):
    fleet = of_lab(lab)
    fleet.move(fleet.relay().region, expect=DONE)
    primary = fleet.primary()
    heir = fleet.replicas(primary)[0]
    fleet.sql(primary, "SET GLOBAL read_only=1")
    done = fleet.cli("fleet", "converge", "--yes", fault=f"role.open:before={slow(fleet, heir)}", expect=NO_GO)
    assert heir.address in done.stdout, done
    assert writable(fleet) == [heir.name]


def closed(lab, ttl_ms):
    """A shard whose primary is closed, and its agents' permissions last so long."""
    fleet = of_lab(lab)
    fleet.move(fleet.relay().region, expect=DONE)
    primary = fleet.primary()
    fleet.sql(primary, "SET GLOBAL read_only=1")
    put_in_store(lab, "permission", f'{{"ttl_ms":{ttl_ms},"wait_ms":{ttl_ms}}}')
    return fleet, primary


def test_converge_opens_a_primary_only_for_as_long_as_others_wait_for_it(lab):
    """Who waits until its permission is over opens another server 1.5 s after it was revoked."""
    fleet, primary = closed(lab, 1500)
    late = "role.open:before=run:sleep 0.8;role.open:after=kill"  # a third counts, not two seconds
    fleet.cli("fleet", "converge", "--yes", fault=late, expect=KILLED)
    assert writable(fleet) == []
    fleet.cli("fleet", "converge", "--yes", expect=DONE)
    assert writable(fleet) == [primary.name]


def test_converge_does_not_open_a_primary_whose_permission_was_withdrawn(lab):
    fleet, primary = closed(lab, 30000)
    put_in_store(lab, f"revoked/{primary.address}", "{}")
    done = fleet.cli("fleet", "converge", "--yes", expect=NO_GO)
    assert f"'revoked/{primary.address}' was changed" in done.stdout, done
    assert writable(fleet) == []


@pytest.mark.parametrize("key", ["revoked/{address}", "fenced/{region}"])
def test_a_shard_is_not_moved_to_a_server_that_may_not_serve(lab, tmp_path, key):
    """Also when that is withdrawn after readiness had looked."""
    fleet = of_lab(lab)
    fleet.move(fleet.relay().region, expect=DONE)
    primary, relay = fleet.primary(), fleet.relay()
    key = key.format(address=relay.address, region=relay.region)
    script = tmp_path / "withdraw.py"
    script.write_text(f"import sys, types\nsys.path.insert(0, {os.path.dirname(__file__)!r})\n"
                      "from moves import put_in_store\n"
                      f"put_in_store(types.SimpleNamespace(dir={str(lab.dir)!r}), {key!r}, '{{}}')\n")
    done = fleet.move(relay.region, fault=f"cas.preparing:before=run:{sys.executable} {script}")
    assert done["code"] != DONE and f"no permission to serve: the store has '{key}'" in done["shard"]["error"], done
    assert fleet.unfinished() is None and writable(fleet) == [primary.name]


# Where a move dies, whose region is fenced then, and whether its new primary has writes and is closed.
FENCED = [(["old.freeze:before"], "old", False), (["new.promote:before"], "old", False),
          (["new.promote:before", "cas.undoing:after"], "old", False), (["new.promote:after"], "new", False),
          (["new.promote:after"], "new", True), (["cas.redirecting:after"], "new", True)]


@pytest.mark.parametrize("deaths, end, is_closed", FENCED)
def test_nobody_is_opened_or_published_in_a_region_that_was_fenced_since(lab, deaths, end, is_closed):
    """A region is fenced without a run, and its servers may answer again: whoever takes a move up asks the store."""
    fleet = of_lab(lab)
    old, new = fleet.primary(), fleet.relay()
    lost = old if end == "old" else new
    fleet.move(new.region, fault=f"{deaths[0]}=kill", expect=KILLED)
    for point in deaths[1:]:
        fleet.resume(fault=f"{point}=kill", expect=KILLED)
    if is_closed:  # as its agent does
        fleet.sql(new, f"CREATE TABLE {fleet.database}.own (n INT)")
        fleet.sql(new, "SET GLOBAL read_only=1")
    before, was_open = fleet.route(), is_open(fleet, lost)
    put_in_store(lab, f"fenced/{lost.region}", "{}")
    done = fleet.resume(expect=STUCK)
    assert f"no permission to serve: the store has 'fenced/{lost.region}'" in done["shard"]["error"], done
    assert "fail the shard over" in done["shard"]["hint"], done
    after = fleet.route()
    assert (after["primary"], after["home"]) == (before["primary"], before["home"]), (before, after)
    assert is_open(fleet, lost) == was_open

    remove_from_store(lab, f"fenced/{lost.region}")
    fleet.resume()
    assert fleet.unfinished() is None
    assert_sound(fleet)


@pytest.mark.parametrize("point, end", LOST)
def test_an_end_is_not_opened_while_a_silent_server_may_be_its_successor(lab, point, end):
    """As 'fleet converge' does not. The run was left behind: there was time to move the shard by hand."""
    fleet = of_lab(lab, policy=HASTY)
    lost, to = fleet.primary() if end == "old" else fleet.relay(), fleet.relay().region
    heir = fleet.replicas(lost)[0]
    fleet.move(to, fault=f"{point}=kill", expect=KILLED)
    fleet.sql(lost, "SET GLOBAL read_only=1")
    make_primary(fleet, heir)
    fleet.cli("lab", "freeze", heir.name, expect=DONE)
    done = fleet.resume(expect=STUCK)
    assert f"is not opened while {heir.address} may be" in done["shard"]["error"], done
    assert f"bring {heir.address} back" in done["shard"]["hint"], done
    assert not is_open(fleet, lost)
    fleet.cli("lab", "thaw", heir.name, expect=DONE)
    assert_moved_on(fleet, fleet.resume(expect=FAILED), heir)
    assert writable(fleet) == [heir.name]


def test_converge_switches_semi_sync_on_without_opening_the_primary(lab):
    """Somebody closes it in that moment, and opens another one."""
    fleet = of_lab(lab)
    primary = fleet.primary()
    heir = fleet.replicas(primary)[0]
    fleet.sql(primary, "SET GLOBAL rpl_semi_sync_master_enabled=0")
    by_hand = f"{commands(fleet, primary, ['SET GLOBAL read_only=1'])} && {commands(fleet, heir, OPEN)}"
    fleet.cli("fleet", "converge", "--yes",
              fault=f"role.set:before=run:{by_hand};role.open:before=run:{by_hand}")
    assert writable(fleet) == [heir.name]
