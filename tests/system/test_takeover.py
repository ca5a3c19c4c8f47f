# SPDX-License-Identifier: Apache-2.0
"""The conductor that leads dies (SIGKILL) before, within and after every SQL packet and every store write of a
failover that it began by itself, and of bringing the lost server back. It stays down: another one takes over.
"""
import os
import shlex
import signal
import time
import urllib.error
import urllib.request

import pytest

from conftest import HOLDFAST, wait_until
from host_disasters import WHOLE_SECONDS, World, assert_one_at_a_time, longest_gap, wait_until_whole
from moves import SOAK
from test_host_disasters import show_logs

LEAD_SECONDS = 30
ASIDE = ["conductor-east-1", "conductor-east-2"]  # down: else nobody knows who takes over

pytestmark = pytest.mark.lab(shards=1, daemons=True)


@pytest.fixture
def world(lab):
    world = World(lab)
    lab.cli("lab", "kill", *ASIDE)
    try:
        yield world
    finally:
        show_logs(lab)  # seen when it failed
        world.close()


def leads(lab, name):
    daemon = lab.daemons()[name]
    try:
        with urllib.request.urlopen(f"http://{daemon['host']}:{daemon['port']}/v1/health", timeout=5) as answer:
            return '"leads":true' in answer.read().decode().replace(" ", "")
    except urllib.error.HTTPError:
        return False  # it has not looked yet, or has no store


def is_well(lab, name):
    daemon = lab.daemons()[name]
    try:
        urllib.request.urlopen(f"http://{daemon['host']}:{daemon['port']}/v1/health", timeout=5).close()
        return True
    except OSError:
        return False


def start(lab, name, **env):
    lab.cli("lab", "restart", name, env=env)
    wait_until(lambda: is_well(lab, name), LEAD_SECONDS, f"{name} is well")


def put_in_the_lead(lab, name, other, **env):
    """'name' leads, with something in its environment; 'other' waits."""
    if lab.daemons()[name]["state"] == "up":
        lab.cli("lab", "kill", name)
    start(lab, name, **env)
    os.kill(lab.daemons()[other]["pid"], signal.SIGTERM)  # gives the lead back
    wait_until(lambda: leads(lab, name), LEAD_SECONDS, f"{name} leads")
    wait_until(lambda: lab.daemons()[other]["state"] == "down", LEAD_SECONDS, f"{other} has ended")
    start(lab, other)


def lose_primary(world):
    """It is killed, replaced, and comes back; when it was lost."""
    lost = world.primary("s0")
    world.lab.cli("lab", "kill", lost.name)
    struck = time.monotonic()
    heir = world.wait_for_more("s0", struck, WHOLE_SECONDS)
    assert heir.server != lost.name
    world.lab.cli("lab", "restart", "--bare", lost.name)
    return struck


def assert_told(world, victim=""):
    """The last run says how it ended; and that another one took it over, if the victim had begun it."""
    run = world.lab.json("run", "list")[-1]
    report = world.lab.json("report", run["run"])
    assert run["state"] == "done" and report["shards"][0]["result"] == "moved", (run, report)
    if victim and f"conductor {victim}:" in run["reason"]:
        assert "took the run over" in report["audit"], report["audit"]


def one_takeover(world, point, is_within, victim, successor):
    """The outage, when the victim died there; else None. 'is_within': before its run has ended."""
    lab = world.lab
    put_in_the_lead(lab, victim, successor, HOLDFAST_FAULT=f"{point}=kill")
    struck = lose_primary(world)
    wait_until_whole(world, struck - 1, down=[*ASIDE, victim])
    acks = [ack for ack in list(world.clients["s0"].acks) if ack.got > struck - 1]
    assert_one_at_a_time(acks)
    if lab.daemons()[victim]["state"] != "down":
        return None
    assert_told(world, is_within and victim.removeprefix("conductor-"))
    return longest_gap(acks, struck)


def passed_points(world, tmp_path, victim, successor):
    """Those that a leader passes from the loss until all is well, in order."""
    trace = tmp_path / "trace"
    put_in_the_lead(world.lab, victim, successor, HOLDFAST_FAULT_TRACE=str(trace))
    struck = lose_primary(world)
    wait_until_whole(world, struck - 1, down=ASIDE)
    assert_told(world)
    return list(dict.fromkeys(trace.read_text().split()))


def test_another_conductor_takes_over_at_every_point(world, tmp_path):
    pair = "conductor-west-1", "conductor-west-2"
    everything = passed_points(world, tmp_path, *pair)
    assert len(everything) > 60, everything
    missed, end = [], everything.index("run.end:after")
    for point in everything if SOAK else everything[::9]:
        outage = one_takeover(world, point, everything.index(point) < end, *pair)
        print(f"{point}: {'not passed' if outage is None else f'outage {outage:.2f} s'}", flush=True)
        missed += [point] if outage is None else []
    assert not missed, missed


def test_a_candidate_that_died_keeps_no_other_shard_from_a_primary(make_lab):
    """It may be open, so there is no way back: the run is set aside until it answers."""
    lab = make_lab(shards=2, daemons=True)
    world = World(lab)
    replicas = [server.name for server in world.by_shard["s0"].replicas(world.primary("s0"))]
    kill = shlex.join([HOLDFAST, "lab", "kill", "--dir", str(lab.dir), *replicas])
    try:
        lab.cli("lab", "kill", *ASIDE)
        put_in_the_lead(lab, "conductor-west-1", "conductor-west-2",
                        HOLDFAST_FAULT=f"failover.cas-opening:after=run:{kill} >/dev/null")
        began, lost = time.monotonic(), [world.primary(shard).name for shard in ("s0", "s1")]
        lab.cli("lab", "kill", lost[0])
        wait_until(lambda: [run["state"] for run in lab.json("run", "list")] == ["stuck"], WHOLE_SECONDS,
                   "the failover of s0 waits for its candidate")
        lab.cli("lab", "kill", lost[1])
        assert world.wait_for_more("s1", time.monotonic(), WHOLE_SECONDS).server != lost[1]
        for way in (["status"], ["status", "--direct"]):
            wait_until(lambda way=way: "it waits for an operator" in lab.cli(*way, check=False).stdout,
                       WHOLE_SECONDS, f"{' '.join(way)} tells of the run that was set aside")
        lab.cli("lab", "restart", "--bare", *replicas)
        world.wait_for_more("s0", time.monotonic(), WHOLE_SECONDS)
        lab.cli("lab", "restart", "--bare", *lost)
        wait_until_whole(world, began, down=ASIDE)
    except BaseException:
        show_logs(lab)
        raise
    finally:
        world.close()


@pytest.mark.lab(shards=2, daemons=True)
def test_a_move_that_was_set_aside_is_brought_to_its_end_when_its_old_primary_is_back(lab):
    """Whoever set it aside need not live: what no run has in hand is found by its route."""
    lost, replica = lab.primary("s0"), "s1-west-2"
    kill = shlex.join([HOLDFAST, "lab", "kill", "--dir", str(lab.dir), lost])

    def states():
        return [run["state"] for run in lab.json("run", "list")]

    def is_stuck():  # just after a start roles are brought back, and a move is refused
        lab.cli("switchover", "--to", "east", "--shard", "s0", "--direct", "--yes", check=False,
                env={"HOLDFAST_FAULT": f"old.freeze:after=run:{kill} >/dev/null && kill -INT $PPID"})
        return states() == ["stuck"]

    try:
        wait_until(is_stuck, WHOLE_SECONDS, "a move is called off, and its old primary is dead")
        lab.sql(replica, "STOP SLAVE")  # the run is in the way of whoever brings that back
        wait_until(lambda: lab.sql(replica, "SHOW ALL SLAVES STATUS")[0]["Slave_IO_Running"] == "Yes", WHOLE_SECONDS,
                   "another shard's replica follows again")
        for name in ("conductor-west-1", "conductor-west-2", *ASIDE):
            lab.cli("lab", "kill", name)
            start(lab, name)
        lab.cli("lab", "restart", "--bare", lost)
        wait_until(lambda: states() == ["done"], WHOLE_SECONDS, "the run is brought to its end")
        told = lab.json("status", "--direct", check=False)["shards"][0]
        assert told["home"] == "east" and lab.value("s0-east-1", "SELECT @@GLOBAL.read_only") == 0, told
    except BaseException:
        show_logs(lab)
        raise
