# SPDX-License-Identifier: Apache-2.0
"""The lock for the run that fails a region over is taken a moment before the region may be fenced
(src/daemon/warden.c): what becomes of it when the region was only late, and when its conductor dies just then.
"""
import json

import pytest

from conftest import wait_until
from store_watch import ask, decoded, encoded
from test_host_disasters import show_logs
from test_lab_network import NETNS, needs_namespaces
from test_region_by_hand import open_servers

SECONDS = 60  # only a hang gets here

pytestmark = needs_namespaces


@pytest.fixture
def lab(make_lab):
    made = make_lab(shards=1, daemons=True, wan=[*NETNS, "--ttl", "4s", "--automatic", "region"])
    daemon = made.daemons()["etcd-witness"]
    made.witness = f"{daemon['host']}:{daemon['port']}"
    yield made
    show_logs(made)  # pytest shows it when the test fails


def held(lab, key):
    """Its value in the store, or None."""
    kvs = ask(lab.witness, "kv/range", {"key": encoded(f"holdfast/{key}")}).get("kvs")
    return decoded(kvs[0]["value"]) if kvs else None


def home(lab):
    """By the route: the primary itself may be closed."""
    return json.loads(held(lab, "shards/s0"))["home"]


def conductors(region):
    return [f"conductor-{region}-{number}" for number in (1, 2)]


def wait_for_calm(lab):
    """Nobody brings roles back, and the store knows the shard."""
    wait_until(lambda: held(lab, "shards/s0") and not held(lab, "run-lock"), SECONDS, "nothing is under way")


def silence(lab, region):
    """Its conductors stand still until one of the other region has taken the lock."""
    assert held(lab, "run-current") is None
    lab.cli("lab", "freeze", *conductors(region))
    wait_until(lambda: held(lab, "run-lock") == "ready", SECONDS, "somebody gets ready")
    assert held(lab, f"fenced/{region}") is None, "the lock was taken when the region was fenced"


def let_beat(lab, region):
    lab.cli("lab", "thaw", *conductors(region))


def kill_those_who_may_have_it(lab):
    """And one is back at once, who knows nothing of it."""
    lab.cli("lab", "kill", *conductors("east"))
    lab.cli("lab", "restart", conductors("east")[0])


def test_a_region_that_is_only_late_stays(lab):
    wait_for_calm(lab)
    silence(lab, "west")
    let_beat(lab, "west")
    wait_until(lambda: held(lab, "run-lock") != "ready", SECONDS, "the lock is given back")
    assert held(lab, "fenced/west") is None and home(lab) == "west"
    assert lab.json("run", "list") == [], "nothing is left of it"
    wait_until(lambda: open_servers(lab) == ["s0-west-1"], SECONDS, "the primary serves again")
    wait_until(lambda: lab.cli("switchover", "--to", "east", "--yes", check=False).returncode == 0, SECONDS,
               "the shard can be moved")


def test_its_conductors_die_before_the_fence(lab):
    wait_for_calm(lab)
    silence(lab, "west")
    kill_those_who_may_have_it(lab)
    wait_until(lambda: home(lab) == "east", SECONDS, "another conductor fails the shard over")
    let_beat(lab, "west")
    assert [name for name in open_servers(lab) if "-west-" not in name]
    wait_until(lambda: held(lab, "run-current") is None, SECONDS, "the run is over")
    assert [run["state"] for run in lab.json("run", "list")] == ["done"]


def test_its_conductors_die_and_the_region_was_only_late(lab):
    wait_for_calm(lab)
    silence(lab, "west")
    kill_those_who_may_have_it(lab)
    let_beat(lab, "west")
    wait_until(lambda: held(lab, "run-lock") is None, SECONDS, "the lock ends with its lease")
    assert held(lab, "fenced/west") is None and home(lab) == "west"
    assert lab.json("run", "list") == []
    wait_until(lambda: open_servers(lab) == ["s0-west-1"], SECONDS, "the primary serves again")


def test_a_pause_that_comes_when_somebody_is_ready_counts(lab):
    wait_for_calm(lab)
    lab.cli("pause", "--reason", "let it burn")
    order = held(lab, "pause")
    lab.cli("unpause")
    silence(lab, "west")
    ask(lab.witness, "kv/put", {"key": encoded("holdfast/pause"), "value": encoded(order)})  # sooner than a command
    assert held(lab, "fenced/west") is None, "the pause came too late to say anything"
    wait_until(lambda: held(lab, "run-lock") is None, SECONDS, "nobody is ready any more")
    assert held(lab, "fenced/west") is None and home(lab) == "west"
    let_beat(lab, "west")
    lab.cli("unpause")
    wait_until(lambda: open_servers(lab) == ["s0-west-1"], SECONDS, "the primary serves again")
