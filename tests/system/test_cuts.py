# SPDX-License-Identifier: Apache-2.0
"""Daemons lose their store, or each other, while clients write at every server: etcd's leader, its majority,
all conductors of a region. What is shorter than a permission closes nobody. What is longer closes everybody,
opens nobody meanwhile, and is over when there is permission again: the same servers are open.
"""
import contextlib
import json
import pathlib
import time

import pymysql
import pytest

from conftest import wait_until
from host_disasters import (ETCD, TTL, WHOLE_SECONDS, World, assert_one_at_a_time, leader, restart_what_ended,
                            wait_until_whole)
from moves import SOAK
from test_host_disasters import show_logs

LONG = 60 if SOAK else 4 * TTL
CLOSED_SECONDS = 5 * TTL
ATTEMPTS = 5
CONDUCTORS = ["conductor-west-1", "conductor-west-2"]
BACK = {"kill": "restart", "freeze": "thaw"}

pytestmark = pytest.mark.lab(shards=4, daemons=True)


@pytest.fixture
def world(lab):
    world = World(lab)
    try:
        yield world
    finally:
        show_logs(lab)  # seen when it failed
        world.close()


# ---- who is cut off ----

def majority(lab):
    leads = leader(lab)
    return leads + [name for name in ETCD if name not in leads][:1]


def conductors(_):
    return CONDUCTORS


# ---- what is so ----

def routes(world):
    shards = json.loads(world.lab.cli("status", "--json", check=False).stdout)["shards"]
    return {shard["name"]: (shard["epoch"], shard["primary"]) for shard in shards}


def is_open(fleet, server):
    """One that does not answer is not: an agent ends a server that it cannot close."""
    with contextlib.suppress(pymysql.err.Error, OSError):
        return not fleet.value(server, "SELECT @@GLOBAL.read_only")
    return False


def open_servers(world):
    return [server.name for fleet in world.fleets for server in fleet.servers if is_open(fleet, server)]


def count_closings(world):
    logs = pathlib.Path(world.lab.dir, "log").glob("agent-west-*.log")
    return sum(log.read_text(encoding="utf-8").count('is="is closed"') for log in logs)


def sent_since(world, moment):
    return [ack for clients in world.clients.values() for ack in list(clients.acks) if ack.sent > moment]


def wait_for_all(world, since):
    restart_what_ended(world)
    for shard in world.by_shard:
        world.wait_for_more(shard, since, WHOLE_SECONDS)


def assert_sound(world, began):
    """Nothing acknowledged is lost, nobody accepted writes beside another, everything is as before."""
    wait_until_whole(world, began)
    for clients in world.clients.values():
        assert_one_at_a_time([ack for ack in list(clients.acks) if ack.got > began])


def cut(world, verb, names, seconds):
    world.lab.cli("lab", verb, *names)
    time.sleep(seconds)  # the disaster itself
    world.lab.cli("lab", BACK[verb], *names)


# ---- blinks ----

def blink(world, whose, seconds):
    """Whether it closed anybody."""
    closings = count_closings(world)
    cut(world, "freeze", whose(world.lab), seconds)
    wait_for_all(world, time.monotonic())
    return count_closings(world) > closings


def test_a_blink_closes_nobody_and_an_election_costs_a_moment(world):
    """A machine that stalls makes a blink longer: one of a few counts."""
    before, began = routes(world), time.monotonic()
    for whose, seconds in ((leader, 0.2 * TTL), (majority, 0.2 * TTL), (conductors, 0.3 * TTL)):
        for attempt in range(ATTEMPTS):
            wait_until_whole(world, time.monotonic())
            if not blink(world, whose, seconds):
                break
            assert attempt + 1 < ATTEMPTS, f"each {seconds} s without {whose.__name__} closed servers"
    for verb, back in BACK.items():
        names = leader(world.lab)
        world.lab.cli("lab", verb, *names)
        wait_for_all(world, time.monotonic() + TTL)  # every permission is younger than the loss
        world.lab.cli("lab", back, *names)
    assert_sound(world, began)
    assert routes(world) == before


# ---- what lasts ----

def close_everybody(world, verb, names):
    """Until when that holds."""
    world.lab.cli("lab", verb, *names)
    wait_until(lambda: not open_servers(world), CLOSED_SECONDS, "everybody is closed")
    return time.monotonic()


@pytest.mark.parametrize("whose", [majority, conductors])
def test_what_lasts_closes_everybody_until_it_is_over(world, whose):
    for verb, back in BACK.items():
        before, began = routes(world), time.monotonic()
        names = whose(world.lab)
        closed = close_everybody(world, verb, names)
        time.sleep(LONG)  # the disaster itself
        accepted = sent_since(world, closed)
        assert not accepted, f"without permission: {len(accepted)} writes, {accepted[:3]}"
        ended = restart_what_ended(world)
        world.lab.cli("lab", back, *names)
        wait_for_all(world, time.monotonic())
        assert_sound(world, began)
        assert ended or routes(world) == before


@pytest.mark.lab(shards=2, daemons=True)
def test_silent_replicas_do_not_keep_a_primary_closed(world):
    """One of its region; all of the other region."""
    for lost in ("s0-west-2", "east"):
        began = time.monotonic()
        world.lab.cli("lab", "kill", lost)
        close_everybody(world, "freeze", ["etcd-west", "etcd-witness"])
        world.lab.cli("lab", "thaw", "etcd-west", "etcd-witness")
        ended = time.monotonic()
        for shard in world.by_shard:
            world.wait_for_more(shard, ended, WHOLE_SECONDS)
        world.lab.cli("lab", "restart", lost)
        assert_sound(world, began)
