# SPDX-License-Identifier: Apache-2.0
"""A host is drained: its primaries and its relay go to others of its region, nothing acknowledged is lost,
it may go down without anybody noticing, and gets its roles back when it returns.
"""
import contextlib
import json
import threading
import time

import pytest

from conftest import wait_until
from moves import ABORTED, DONE, KILLED, SOAK, Writers, assert_sound, of_lab, source_of, wrong_rows
from test_failover import at_home, fail_over, give_route
from test_heal import is_first_opened, routes

FAILED, INVALID, NO_GO = 1, 2, 3
GAP_SECONDS = 5  # without an acknowledged write; milliseconds on a machine that is not shared
PATIENT = "{ move_timeout: 20s }"

# Where a process dies, or is told to stop: each store write, and what is done to servers before,
# within and after the critical section.
POINTS = ["handover.mark:before", "handover.mark:after", "role.connect:after", "handover.stop:after",
          "handover.apply:after", "handover.catch-up:after", "handover.point:sent", "handover.point:after",
          "handover.ackers:after", "cas.preparing:after", "old.freeze:sent", "cas.promoting:after",
          "new.promote:before", "new.promote:after", "cas.redirecting:after", "old.follow:after",
          "cas.serving:after", "role.set:after", "report.end:after", "run.end:before"]


@pytest.fixture
def fleet(lab):
    fleet = of_lab(lab, policy=PATIENT)
    yield fleet
    fleet.close()


def drain(fleet, server, *words, expect=DONE, **options):
    return fleet.cli("host", "drain", server.host, "--yes", *words, expect=expect, **options)


def take_back(fleet, server, *words, expect=DONE, **options):
    return fleet.cli("host", "return", server.host, "--yes", *words, expect=expect, **options)


def marks(fleet):
    """{host: its mark}"""
    hosts = json.loads(fleet.cli("host", "list", "--json", expect=DONE).stdout)
    return {host["host"]: host["drained"] for host in hosts if host["drained"]}


def runs(fleet):
    return json.loads(fleet.cli("run", "list", "--json", expect=DONE).stdout)


def is_open(fleet, server):
    return fleet.value(server, "SELECT @@GLOBAL.read_only") == 0


@contextlib.contextmanager
def no_long_gap(writers):
    """No time without an acknowledged write is longer than GAP_SECONDS."""
    longest, stop = [0], threading.Event()

    def watch():
        seen, since = len(writers.acked), time.monotonic()
        while not stop.wait(0.005):
            now = time.monotonic()
            if len(writers.acked) != seen:
                seen, since = len(writers.acked), now
            longest[0] = max(longest[0], now - since)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield longest
    stop.set()
    thread.join()
    assert longest[0] < GAP_SECONDS, f"{longest[0]:.1f} s without an acknowledged write"


def restart(fleet, server):
    """As after a reboot: as its configuration says; an operator brings it into its role."""
    fleet.cli("lab", "restart", "--bare", server.name, expect=DONE)
    fleet.cli("fleet", "converge", "--yes", expect=DONE)


# ---- the plain case ----

def test_a_primary_leaves_its_host_and_comes_back(fleet):
    old, replicas = fleet.primary(), at_home(fleet)[1:]
    with Writers(fleet, ends=at_home(fleet)) as writers:
        with no_long_gap(writers) as gap:
            report = json.loads(drain(fleet, old, "--reason", "new disks", "--json").stdout)
            assert report["shards"][0]["result"] == "moved" and report["kind"] == "drain"
            assert report["shards"][0]["lost_transactions"] == 0
            assert fleet.primary() in replicas and fleet.relay().region != old.region
            mark = marks(fleet)[old.host]
            assert (mark["state"], mark["reason"], mark["primaries"]) == ("drained", "new disks", [old.address])
            writers.wait_for_more(10)
            fleet.cli("lab", "kill", old.name, expect=DONE)
            writers.wait_for_more(10)
            print(f"\nlongest gap {gap[0] * 1000:.0f} ms, critical {report['shards'][0]['critical_ms']} ms")
        assert len(runs(fleet)) == 1, "nothing else had to be done"
        refused = take_back(fleet, old, expect=NO_GO)
        assert f"{old.address} does not answer" in refused.stderr and marks(fleet)
        restart(fleet, old)
        assert fleet.primary() in replicas, "converge gives it no role"
        take_back(fleet, old)
        writers.wait_for_more(10)
    assert fleet.primary() is old and not marks(fleet)
    assert_sound(fleet, writers.acked)


def test_it_may_be_ordered_again(fleet):
    old = fleet.primary()
    drain(fleet, old, "--reason", "first")
    again = drain(fleet, old, "--reason", "second")
    assert f"host {old.host} drained since" in again.stdout and again.stdout.strip().endswith(": first")
    assert len(runs(fleet)) == 1
    take_back(fleet, old)
    assert f"host {old.host} is not drained" in take_back(fleet, old).stdout
    assert len(runs(fleet)) == 2
    assert_sound(fleet)


def test_a_relay_leaves_its_host_and_comes_back(fleet):
    old = fleet.relay()
    with Writers(fleet, ends=at_home(fleet)) as writers:
        drain(fleet, old)
        relay = fleet.relay()
        assert relay is not old and relay.region == old.region
        assert source_of(fleet.sql(old, "SHOW ALL SLAVES STATUS")[0]) == relay.address
        assert marks(fleet)[old.host]["relays"] == [old.address]
        fleet.cli("lab", "kill", old.name, expect=DONE)
        writers.wait_for_more(5)
        restart(fleet, old)
        assert fleet.relay() is relay, "converge gives it no role"
        take_back(fleet, old)
        assert fleet.relay() is old and not marks(fleet)
    assert_sound(fleet, writers.acked)


def test_a_replica_only_gets_a_mark(fleet):
    primary, replica = at_home(fleet)[:2]
    plan = json.loads(fleet.cli("host", "drain", replica.host, "--dry-run", "--json", expect=DONE).stdout)
    assert plan["go"] and plan["roles"] == [{"shard": "s0", "role": "replica", "from": replica.address,
                                             "to": None, "refused": None, "hint": None, "note": None}]
    assert not marks(fleet), "a dry run changes nothing"
    drain(fleet, replica)
    assert fleet.primary() is primary and marks(fleet)[replica.host]["primaries"] == []
    take_back(fleet, replica)
    assert_sound(fleet)


def test_what_moved_meanwhile_is_left_there(fleet):
    old = fleet.primary()
    drain(fleet, old)
    other = next(server.region for server in fleet.servers if server.region != old.region)
    fleet.move(other, expect=DONE)
    done = take_back(fleet, old)
    assert "in the other region now" in done.stderr, done.stderr
    assert fleet.primary().region == other and not marks(fleet)
    assert_sound(fleet)


def test_hooks_are_told_what_kind_of_run_it_is(fleet, tmp_path):
    heard, script = tmp_path / "heard", tmp_path / "hook"
    script.write_text(f"#!/bin/sh\n(cat; echo) >>{heard}\n")
    script.chmod(0o755)
    with open(fleet.file, "a", encoding="utf-8") as file:
        file.write(f"\nhooks: [ {{ name: hear, events: [ run.before ], exec: [ {script} ] }} ]\n")
    home = fleet.primary()
    drain(fleet, home)
    take_back(fleet, home)
    news = [json.loads(line) for line in heard.read_text().splitlines()]
    assert [(each["kind"], each["from"], each["to"]) for each in news] == [
        ("drain", home.host, home.region), ("return", home.region, home.host)]


# ---- refused ----

def test_refused_when_nobody_would_acknowledge(fleet):
    primary, second, third = at_home(fleet)
    fleet.cli("lab", "kill", third.name, expect=DONE)
    for server in (primary, second):
        refused = drain(fleet, server, expect=NO_GO)
        assert "nobody would acknowledge" in refused.stderr and third.address in refused.stderr, refused.stderr
        assert "does not answer" in refused.stderr and "next:" in refused.stderr
    assert not marks(fleet) and not runs(fleet) and is_open(fleet, primary)
    restart(fleet, third)
    drain(fleet, third)
    refused = drain(fleet, second, expect=NO_GO)
    assert f"{third.address} is drained" in refused.stderr, refused.stderr
    assert list(marks(fleet)) == [third.host]


def test_wrong_input_is_named(fleet):
    unknown = fleet.cli("host", "drain", "nowhere", "--yes", expect=INVALID)
    assert "no host 'nowhere'" in unknown.stderr and "holdfast host list" in unknown.stderr
    assert fleet.cli("host", "return", "nowhere", "--yes", expect=INVALID)
    assert "needs HOST" in fleet.cli("host", "drain", expect=INVALID).stderr
    stopped = fleet.cli("host", "drain", fleet.primary().host, expect=ABORTED)  # nobody types its name
    assert "no go: nothing was changed" in stopped.stderr and not marks(fleet)


# ---- nothing gives it a role ----

def test_a_failover_does_not_elect_a_server_of_a_drained_host(fleet):
    lost, first, second = at_home(fleet)
    drain(fleet, first)
    with Writers(fleet, ends=at_home(fleet)) as writers:
        fleet.cli("lab", "kill", lost.name, expect=DONE)
        fail_over(fleet, expect=DONE)
        writers.wait_for_more(5)
    assert is_open(fleet, second)


def test_status_and_readiness_say_it(fleet):
    old = fleet.primary()
    drain(fleet, old, "--reason", "kernel")
    shown = fleet.cli("status", expect=DONE).stdout
    assert f"! host {old.host} drained since" in shown and ": kernel" in shown
    drained = json.loads(fleet.cli("status", "--json", expect=DONE).stdout)["drained"]
    assert [(mark["host"], mark["state"], mark["reason"]) for mark in drained] == [(old.host, "drained", "kernel")]
    findings = json.loads(fleet.cli("readiness", "--json", expect=DONE).stdout)["findings"]
    assert [f["severity"] for f in findings if f["check"] == "drained"] == ["warning"]
    take_back(fleet, old)
    assert "drained" not in fleet.cli("status", expect=DONE).stdout


# ---- whoever dies in between ----

@pytest.mark.parametrize("action", ["kill", "int"])
def test_stopped_half_way_and_ordered_again(fleet, action):
    """Nothing is lost, and the same order goes on; there and back again, so that both ways are gone."""
    points = POINTS if SOAK or action == "kill" else POINTS[1::3]
    servers, back = at_home(fleet), False
    home = servers[0]
    with Writers(fleet, ends=servers) as writers:
        for point in points:
            order = take_back if back else drain
            done = order(fleet, home, fault=f"{point}={action}", expect=None)
            reached = done.returncode == KILLED if action == "kill" else done.returncode in (DONE, ABORTED)
            assert reached, f"{point}: {done.returncode}\n{done.stdout}{done.stderr}"
            again = order(fleet, home, expect=None)
            assert again.returncode == DONE, f"after {point}:\n{again.stdout}{again.stderr}"
            assert (fleet.primary() is home) == back, f"after {point}"
            assert bool(marks(fleet)) != back, f"after {point}"
            writers.wait_for_more(3)
            back = not back
        assert_sound(fleet, writers.acked)


def test_called_off_it_ends_at_one_side(fleet):
    """What a dead process left is brought to one side; the mark says that the host is not drained."""
    give_route(fleet)
    home = fleet.primary()
    died = drain(fleet, home, fault="handover.ackers:after=kill", expect=KILLED)
    assert died.returncode == KILLED
    fleet.cli("run", "abort", expect=ABORTED)
    assert fleet.primary() is home and marks(fleet)[home.host]["state"] == "draining"
    assert_sound(fleet)
    take_back(fleet, home)
    assert not marks(fleet)


# ---- with daemons ----

@pytest.mark.lab(shards=2, daemons=True)
def test_a_host_with_daemons_goes_down_unnoticed(lab):
    """Its primaries of two shards go, its agent and its servers die, no failover follows."""
    wait_until(lambda: all([is_first_opened(lab, name) for name in ("s0-west-1", "s1-west-1")]), 20,
               "both primaries are open")
    fleet = of_lab(lab)
    wait_until(lambda: set(routes(fleet)) == {"s0", "s1"}, 20, "the leader knows the shards")

    def returned():
        return fleet.cli("host", "return", "west-1", "--yes").returncode == DONE
    with Writers(fleet, ends=at_home(fleet)) as writers:
        with no_long_gap(writers):
            done = fleet.cli("host", "drain", "west-1", "--yes", "--reason", "patches", expect=DONE)
            assert done.stdout.count(" moved ") == 2, done.stdout
            wait_until(lambda: "host west-1 drained" in fleet.cli("status").stdout, 10, "a conductor says it")
            fleet.cli("lab", "kill", "west-1", expect=DONE)
            writers.wait_for_more(100)
            assert [run["kind"] for run in runs(fleet)] == ["drain"]
        lab.cli("lab", "restart", "west-1")
        wait_until(returned, 60, "its servers are healthy replicas, and it has its roles back")
        writers.wait_for_more(10)
    assert lab.primary("s0") == "s0-west-1" and lab.primary("s1") == "s1-west-1"
    assert not wrong_rows(fleet, fleet.by_name["s0-west-1"], writers.acked)
    assert [run["kind"] for run in runs(fleet)] == ["drain", "return"]
    fleet.close()
