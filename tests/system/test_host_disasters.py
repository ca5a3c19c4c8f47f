# SPDX-License-Identifier: Apache-2.0
"""Hosts of primaries, replicas and relays are killed and frozen at random, agents and servers alone are
killed; nobody is at the keyboard. After each, what was acknowledged is there, no two servers accepted
writes at once, and everything comes back by itself. A soak ends with a table of the outages.
"""
import pathlib
import time

import pytest

from conftest import wait_until
from host_disasters import (WHOLE_SECONDS, World, draw_disasters, go_through, seed_from_environment, table,
                            wait_until_whole)
from moves import KILLED, SOAK

SHARDS = 4 if SOAK else 2
DISASTERS = 100 if SOAK else 10
BOUND_SECONDS = 15.0  # five times TTL + 1 s; bench/host-loss holds that itself


def show_logs(lab):
    for command in (["status"], ["fleet", "converge", "--dry-run"]):
        print(lab.cli(*command, check=False).stdout)
    for log in sorted(pathlib.Path(lab.dir, "log").glob("conductor-*.log")):
        print(f"== {log.name}\n" + "\n".join(log.read_text(encoding="utf-8").splitlines()[-40:]))


def test_hosts_are_lost_at_random_and_nothing_else_is(make_lab):
    seed = seed_from_environment()
    lab = make_lab(shards=SHARDS, daemons=True)
    world = World(lab)
    outcomes = []
    try:
        for step, (kind, number) in enumerate(draw_disasters(seed, DISASTERS)):
            print(f"HOLDFAST_SEED={seed} disaster {step}: {kind}", flush=True)
            found = go_through(world, kind, number)
            print("  " + "; ".join(f"{one.shard} {one.outage:.2f} s" for one in found), flush=True)
            outcomes += found
            assert all(one.outage < BOUND_SECONDS for one in found), found
    except BaseException:
        show_logs(lab)
        raise
    finally:
        world.close()
        print(table(outcomes))


@pytest.mark.parametrize("what", ["killed", "closed"])
def test_a_run_that_its_process_left_does_not_keep_other_shards_without_a_primary(make_lab, what):
    lab = make_lab(shards=2, daemons=True)
    world = World(lab)
    try:
        world.by_shard["s0"].cli("switchover", "--to", "east", "--shard", "s0", "--yes", "--direct",
                                 fault="cas.preparing:after=kill", expect=KILLED)
        lost = world.primary("s1")
        if what == "killed":
            lab.cli("lab", "kill", lost.name)
        else:
            world.by_shard["s1"].sql(lost, "SET GLOBAL read_only=1")
        heir = world.wait_for_more("s1", time.monotonic(), WHOLE_SECONDS)
        assert (heir.server != lost.name) == (what == "killed")
        wait_until(lambda: world.by_shard["s0"].route()["state"] == "serving", 10, "s0 is at one side")
        assert [run["state"] for run in lab.json("run", "list")][0] == "aborted"
    except BaseException:
        show_logs(lab)
        raise
    finally:
        world.close()


def test_a_shard_that_nobody_can_take_over_keeps_no_other_from_it(make_lab):
    lab = make_lab(shards=3, daemons=True)
    world = World(lab)
    try:
        began, closed = time.monotonic(), world.primary("s2")
        missing = next(s for s in world.fleets[0].replicas(world.primary("s0")))
        lab.cli("lab", "kill", world.primary("s0").name, missing.name)
        wait_until(lambda: "stuck" in (runs := [run["state"] for run in lab.json("run", "list")]) and runs,
                   WHOLE_SECONDS, "the failover of s0 waits for an operator")
        world.by_shard["s2"].sql(closed, "SET GLOBAL read_only=1")
        lost = world.primary("s1")
        lab.cli("lab", "kill", lost.name)
        for shard in ("s1", "s2"):
            world.wait_for_more(shard, time.monotonic(), WHOLE_SECONDS)
        assert world.primary("s1") is not lost and world.primary("s2") is closed
        lab.cli("lab", "restart", "--bare", missing.name)
        world.wait_for_more("s0", time.monotonic(), WHOLE_SECONDS)
        wait_until_whole(world, began)
    except BaseException:
        show_logs(lab)
        raise
    finally:
        world.close()
