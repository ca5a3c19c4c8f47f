# SPDX-License-Identifier: Apache-2.0
"""Two who order at once, with daemons running: an operator beside a conductor that fails over by itself, an
operator beside another one. One of them does it, the other one is told who does; nothing is left half-done.
"""
import contextlib
import json
import time

import pytest

from conftest import wait_until
from host_disasters import WHOLE_SECONDS, World, assert_one_at_a_time, wait_until_whole
from moves import DONE
from test_host_disasters import show_logs
from test_takeover import ASIDE, put_in_the_lead, start

FAILED, ABORTED = 1, 4
CHANGES_MOST = 12  # four orders and two ways home, each with a late answer
ORDERS = [["failover", "--yes"],  # of what is lost
          ["failover", "--shard", "s0", "--force", "--yes"],
          ["switchover", "--to", "east", "--yes"],
          ["fleet", "converge", "--yes"]]

pytestmark = pytest.mark.lab(shards=1, daemons=True)


@pytest.fixture
def world(lab):
    world = World(lab)
    try:
        yield world
    finally:
        show_logs(lab)  # seen when it failed
        world.close()


@contextlib.contextmanager
def held(tmp_path, point):
    """A fault that keeps who passes the point there until the end of this; its arrival."""
    here, gone = tmp_path / "here", tmp_path / "gone"
    here.unlink(missing_ok=True)
    gone.unlink(missing_ok=True)
    script = tmp_path / "hold"
    script.write_text(f"touch {here}; until test -e {gone}; do sleep 0.02; done\n")
    try:
        yield f"{point}=run:sh {script}", here
    finally:
        gone.touch()


def runs(world):
    return world.lab.json("run", "list")


def assert_all_are_refused(world, orders):
    """By whoever is at it, whom they name."""
    run = runs(world)[-1]["run"]
    for words in orders:
        done = world.lab.cli(*words, check=False)
        said = done.stdout + done.stderr
        assert done.returncode != DONE and run in said, (words, done)
        assert any(how in said for how in ("in progress", "is moving", "in the middle of moving")), (words, done)


def assert_sound(world, began):
    wait_until_whole(world, began)
    assert_one_at_a_time([ack for ack in list(world.clients["s0"].acks) if ack.got > began])


@contextlib.contextmanager
def held_conductor(world, tmp_path):
    """The leader fails the lost primary over, up to where a candidate is to open; the run."""
    with held(tmp_path, "failover.cas-opening:before") as (fault, here):
        world.lab.cli("lab", "kill", *ASIDE)
        put_in_the_lead(world.lab, "conductor-west-1", "conductor-west-2", HOLDFAST_FAULT=fault)
        for name in ASIDE:
            start(world.lab, name)
        world.lab.cli("lab", "kill", world.primary("s0").name)
        wait_until(here.exists, WHOLE_SECONDS, "the conductor fails over")
        yield runs(world)[-1]["run"]


@contextlib.contextmanager
def held_operator(world, tmp_path):
    """An operator's switchover, soon after it began; the process."""
    with held(tmp_path, "cas.preparing:after") as (fault, here):
        process = world.by_shard["s0"].start("switchover", "--to", "east", "--yes", "--direct", fault=fault)
        wait_until(here.exists, WHOLE_SECONDS, "the switchover is on its way")
        yield process


def end_of(process):
    """Its exit code, and what it said."""
    out, err = process.communicate(timeout=WHOLE_SECONDS)
    return process.returncode, out + err


def go_home(world):
    """To where clients are."""
    if routes_home(world) != "west":
        order_until_taken(world, "switchover", "--to", "west", "--yes")


def routes_home(world):
    return world.lab.json("status", check=False)["shards"][0]["home"]


def order_until_taken(world, *words):
    """A conductor may be bringing roles back just now, and says so."""
    def done():
        order = world.lab.cli(*words, check=False)
        return order.returncode == DONE
    wait_until(done, WHOLE_SECONDS, f"holdfast {' '.join(words)} is done")


def test_an_operator_beside_a_conductor_that_fails_over(world, tmp_path):
    began, lost = time.monotonic(), world.primary("s0")
    with held_conductor(world, tmp_path) as run:
        assert_all_are_refused(world, ORDERS + [["run", "resume", run]])
    heir = world.wait_for_more("s0", time.monotonic(), WHOLE_SECONDS)
    assert heir.server != lost.name
    world.lab.cli("lab", "restart", "--bare", lost.name)
    assert_sound(world, began)
    assert [each["state"] for each in runs(world)] == ["done"]


def test_an_operator_calls_off_what_a_conductor_began(world, tmp_path):
    """Then it is as before; and lost, which the conductor sees again."""
    began, lost = time.monotonic(), world.primary("s0")
    with held_conductor(world, tmp_path) as run:
        world.lab.cli("run", "abort", run)
    wait_until(lambda: runs(world)[0]["state"] in ("aborted", "done"), WHOLE_SECONDS, "it has ended")
    world.wait_for_more("s0", time.monotonic(), WHOLE_SECONDS)
    world.lab.cli("lab", "restart", "--bare", lost.name)
    assert_sound(world, began)
    assert "asked the run to abort" in world.lab.cli("run", "show", run).stdout


def test_an_operator_beside_another_one(world, tmp_path):
    began = time.monotonic()
    with held_operator(world, tmp_path) as first:
        assert_all_are_refused(world, ORDERS[1:])
    code, said = end_of(first)
    assert code == DONE, said
    go_home(world)
    assert_sound(world, began)


def test_a_primary_that_is_lost_while_an_operator_moves_it(world, tmp_path):
    began, lost = time.monotonic(), world.primary("s0")
    with held_operator(world, tmp_path) as first:
        world.lab.cli("lab", "kill", lost.name)
    code, said = end_of(first)
    assert code in (ABORTED, FAILED) and "no shard is in between" in said, (code, said)
    heir = world.wait_for_more("s0", time.monotonic(), WHOLE_SECONDS)
    assert heir.server != lost.name
    world.lab.cli("lab", "restart", "--bare", lost.name)
    assert_sound(world, began)


def count_changes(world, began):
    """How often another server answered than before. Of two that accept at once, each does in turn."""
    names = [ack.server for ack in sorted(world.clients["s0"].acks, key=lambda ack: ack.got) if ack.got > began]
    return sum(one != other for one, other in zip(names, names[1:]))


def test_two_operators_order_at_the_same_moment(world):
    """One is done; the other one is done after it, or told who was at it."""
    began = time.monotonic()
    for words in (["switchover", "--to", "east", "--yes"], ["failover", "--shard", "s0", "--force", "--yes"]):
        fleet = world.by_shard["s0"]
        both = [fleet.start(*words), fleet.start("failover", "--shard", "s0", "--force", "--yes")]
        ends = [end_of(process) for process in both]
        assert DONE in [code for code, _ in ends], ends
        for code, said in ends:
            assert code == DONE or "in progress" in said or "moving" in said or "try again" in said, ends
        assert not fleet.unfinished()
        go_home(world)
        wait_until_whole(world, began)
    assert count_changes(world, began) <= CHANGES_MOST
