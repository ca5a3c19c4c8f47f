# SPDX-License-Identifier: Apache-2.0
"""The run that fails a region over begins a moment before the region may be fenced (src/daemon/warden.c): what
becomes of it when the region was only late, and when its conductor dies just then.
"""
import json

import pytest

from conftest import wait_until
from region_disasters import RegionWorld
from store_watch import ask, decoded, encoded
from test_host_disasters import show_logs
from test_lab_network import NETNS, needs_namespaces
from test_region_by_hand import open_servers

SECONDS = 60  # only a hang gets here

pytestmark = needs_namespaces


@pytest.fixture
def lab(make_lab):
    made = make_lab(shards=1, daemons=True, wan=[*NETNS, "--ttl", "4s", "--automatic", "region"])
    yield made
    show_logs(made)  # pytest shows it when the test fails


def held(lab, key):
    """Its value in the store, or None."""
    kvs = ask(RegionWorld._member(lab, "etcd-witness"), "kv/range", {"key": encoded(f"holdfast/{key}")}).get("kvs")
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
    """Its conductors stand still until the other region's have begun the run, which is returned."""
    assert held(lab, "run-current") is None
    lab.cli("lab", "freeze", *conductors(region))
    wait_until(lambda: held(lab, "run-current"), SECONDS, "a run begins")
    assert held(lab, f"fenced/{region}") is None, "it began when the region was fenced"
    return held(lab, "run-current")


def let_beat(lab, region):
    lab.cli("lab", "thaw", *conductors(region))


def kill_owner(lab, run):
    reason = json.loads(held(lab, f"runs/{run}"))["reason"]
    owner = next(name for name in conductors("east") if name.removeprefix("conductor-") in reason)
    lab.cli("lab", "kill", owner)


def test_a_region_that_is_only_late_stays(lab):
    wait_for_calm(lab)
    run = silence(lab, "west")
    let_beat(lab, "west")
    wait_until(lambda: held(lab, "run-current") is None, SECONDS, "the run is over")
    told = lab.json("run", "show", run)
    assert told["state"] == "aborted", told
    assert "ended it before it did anything: the region beats again" in lab.cli("run", "show", run).stdout
    assert held(lab, "fenced/west") is None and home(lab) == "west"
    wait_until(lambda: open_servers(lab) == ["s0-west-1"], SECONDS, "the primary serves again")
    wait_until(lambda: lab.cli("switchover", "--to", "east", "--yes", check=False).returncode == 0, SECONDS,
               "the shard can be moved")


def test_its_conductor_dies_before_the_fence(lab):
    wait_for_calm(lab)
    run = silence(lab, "west")
    kill_owner(lab, run)
    wait_until(lambda: home(lab) == "east", SECONDS, "the other conductor fails the shard over")
    let_beat(lab, "west")
    assert [name for name in open_servers(lab) if "-west-" not in name]
    # Ended for a run of the other one, or gone on with: by its warden or its healer, whichever came first.
    wait_until(lambda: lab.json("run", "show", run)["state"] in ("failed", "done"), SECONDS,
               "the run of the dead one is ended")
    assert held(lab, "run-current") is None


def test_its_conductor_dies_and_the_region_was_only_late(lab):
    """Whoever finds the run fails nothing over that nobody has fenced."""
    wait_for_calm(lab)
    run = silence(lab, "west")
    kill_owner(lab, run)
    let_beat(lab, "west")
    wait_until(lambda: held(lab, "run-current") is None, SECONDS, "the run is ended by another conductor")
    assert lab.json("run", "show", run)["state"] == "aborted"
    assert held(lab, "fenced/west") is None and home(lab) == "west"
    wait_until(lambda: open_servers(lab) == ["s0-west-1"], SECONDS, "the primary serves again")
