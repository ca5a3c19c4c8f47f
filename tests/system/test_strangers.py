# SPDX-License-Identifier: Apache-2.0
"""Somebody else opens a server by hand, or makes it the primary, in the middle of a move: with another
tool, or because they took a run for lost. There must not be two writable servers because of Holdfast,
and every run must come to an end.
"""
from moves import DONE, KILLED, STUCK, assert_sound, hold_command, of_lab

FAILED = 1
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
    fleet = of_lab(lab, policy=HASTY)
    stray, to = fleet.replicas(fleet.primary())[0], fleet.relay().region
    done = fleet.move(to, fault=f"new.heartbeat:before=run:{commands(fleet, stray, OPEN)}", expect=STUCK)
    assert f"{stray.address} accepts writes besides" in done["shard"]["error"], done
    fleet.sql(stray, "SET GLOBAL read_only=1")
    assert fleet.resume(expect=DONE)["shard"]["result"] == "moved"
    fleet.cli("fleet", "converge", "--yes", expect=DONE)
    assert_sound(fleet)


def test_a_process_that_stood_still_after_the_freeze_promotes_nobody(lab):
    """For longer than the freeze and the promote may take together: meanwhile somebody took the shard
    for lost and moved it inside its region."""
    fleet = of_lab(lab, policy="{ freeze_timeout: 300ms }")
    heir, to = fleet.replicas(fleet.primary())[0], fleet.relay().region
    still = f"sleep 1.5 && {commands(fleet, heir, OPEN)}"
    done = fleet.move(to, fault=f"old.freeze:after=run:{still}", expect=FAILED)
    assert done["shard"]["result"] == "undone" and heir.address in done["shard"]["notes"], done
    assert writable(fleet) == [heir.name]
    assert fleet.route()["primary"] == heir.address and fleet.unfinished() is None


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
