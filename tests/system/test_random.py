# SPDX-License-Identifier: Apache-2.0
"""Random runs over simulated shards, and what must be true after each of them, for every shard.

A story is drawn from its seed: the fleet, what breaks and when, how the run is ordered and what
interrupts it. What broke is mended afterwards, as an operator would, and the run is resumed (or
aborted, or its process killed again) until it has an end. HOLDFAST_SEED=n tells the n-th story.

A statement of a story happens at a server's k-th statement or after some milliseconds: the same
seed gives the same story, and nearly the same course of it.
"""
import os
import pathlib
import random
import signal
import time

import pytest

from conftest import CLI_SECONDS, wait_until
from moves import SOAK
from sim import CONTROL, NO_GO, Command, make_sim, value  # noqa: F401 a fixture

FIRST = int(os.environ.get("HOLDFAST_SEED", "1"))
STORIES = range(FIRST, FIRST + (1 if "HOLDFAST_SEED" in os.environ else 200 if SOAK else 10))
SERVERS = range(6)
ENDED = ("done", "aborted", "failed")
ERRORS = (1040, 1201, 1205, 1290, 1317, 1969)  # too many connections, ..., a statement's time is over


HOOKS = {
    "works": "exit 0",
    "fails": "echo no; exit 3",
    "fails sometimes": "exit $(($$ % 3))",
    "hangs": "sleep 60",
    "floods": "head -c 3000000 /dev/zero",
    "is killed": "kill -9 $$",
}


class Story:
    def __init__(self, seed):
        self.random = draw = random.Random(seed)
        self.shards = draw.randint(6, 20)
        self.options = ["--freeze-cap", str(draw.choice([1, 2, 8, 64])), "--lag", str(draw.choice([0, 1, 5]))]
        if draw.random() < 0.5:
            self.options += ["--rtt", f"west={draw.choice([2, 20])}"]
        self.order = ["--to", "east", "--yes"]
        if draw.random() < 0.4:
            self.order += ["--wave", draw.choice(["canary=1,50%", "25%,50%", "canary=2"])]
        if draw.random() < 0.4:
            self.order += ["--max-failures", str(draw.randint(0, 3))]
        if draw.random() < 0.3:
            self.order += ["--on-abort", "return"]
        self.faults = [self.fault() for _ in range(draw.randint(0, 5))]
        self.hook = self.a_hook() if draw.random() < 0.5 else None
        self.interruption = draw.choice([None, "SIGINT", "SIGKILL", "SIGKILL", "run abort"])
        self.after_s = draw.uniform(0.1, 1.0)

    def fault(self):
        draw = self.random
        kind = draw.choice(["dead", "hang", "slow=30", "slow=400", "freeze-timeout", "promote-fails",
                            f"error={draw.choice(ERRORS)}"])
        at = draw.choice([0, 3]) if "=" in kind and "slow" in kind else draw.randint(8, 70)
        server = draw.choice([0, 0, 3, 3, *SERVERS])  # the two ends more often than the others
        return f"{draw.randrange(self.shards)}:{server}:{kind}@{at}"

    def a_hook(self):
        """(what it does, its events, whether it is required)"""
        draw = self.random
        events = draw.sample(["run.before", "wave.before", "shard.before", "shard.frozen", "shard.after",
                              "run.after"], draw.randint(1, 4))
        is_required = any(event.endswith(".before") for event in events) and draw.random() < 0.5
        return draw.choice(list(HOOKS)), events, is_required

    def __str__(self):
        return (f"{self.shards} shards, {' '.join(self.options)}; {' '.join(self.order)};"
                f" {' '.join(self.faults) or 'nothing breaks'};"
                f" hook {self.hook};"
                f" {self.interruption} after {self.after_s:.2f} s")


def told(seed, make_sim):
    story = Story(seed)
    print(f"HOLDFAST_SEED={seed}: {story}")
    faults = [word for fault in story.faults for word in ("--fault", fault)]
    sim = make_sim(*story.options, *faults, shards=story.shards)
    sim.set_policy(move_timeout="2s")
    if story.hook:
        add_hook(sim, *story.hook)
    return story, sim


def add_hook(sim, kind, events, is_required):
    script = pathlib.Path(sim.dir, "hook.sh")
    script.write_text(f"#!/bin/sh\n{HOOKS[kind]}\n")
    script.chmod(0o755)
    with open(sim.fleet, "a", encoding="utf-8") as fleet:
        fleet.write(f"hooks:\n  - {{ name: world, events: [ {', '.join(events)} ], exec: [ {script} ],"
                    f" timeout: 300ms, required: {str(is_required).lower()} }}\n")


def interrupt(sim, command, how):
    if how == "run abort":
        sim.cli("run", "abort", code=None)  # there may be no run any more
    elif how:
        command.process.send_signal(getattr(signal, how))


def run_until_interrupted(sim, story):
    """Its exit status."""
    command = Command(sim, "switchover", *story.order)
    deadline = time.monotonic() + story.after_s
    while command.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    interrupt(sim, command, story.interruption)
    status = command.end()
    print(f"exit {status}\n{command.words()[-2000:]}")
    return status


def server_of(fault):
    shard, server = fault.split(":")[:2]
    return int(shard), int(server)


def mend(sim, story):
    """What stands still goes on; what was down is started, and replicates when it did. Those that
    were down: {(shard, server)}."""
    was_down = set()
    for fault in story.faults:
        shard, server = server_of(fault)
        sim.fault(f"{shard}:{server}:slow=0")
        sim.fault(f"{shard}:{server}:up")
        if ":dead" in fault:
            was_down.add((shard, server))
    for shard, server in was_down:
        with sim.connect(shard, server) as connection, connection.cursor() as cursor:
            if cursor.execute("SHOW ALL SLAVES STATUS"):
                cursor.execute("SET GLOBAL rpl_semi_sync_slave_enabled=1")
                cursor.execute("START SLAVE")
    return was_down


def unfinished(sim):
    runs = sim.json("run", "list")
    return [run for run in runs if run["state"] not in ENDED]


def bring_to_an_end(sim, story):
    draw = story.random
    for _ in range(3):
        if not unfinished(sim):
            return
        command = Command(sim, "run", draw.choice(["resume", "resume", "abort"]))
        if draw.random() < 0.3:
            time.sleep(draw.uniform(0, 0.3))
            command.process.kill()
        command.end()
        print(f"exit {command.process.returncode}\n{command.words()[-2000:]}")
    if unfinished(sim):
        print(sim.cli("run", "resume", code=None))


def writable(sim, shard):
    found = set()
    for server in SERVERS:
        with sim.connect(shard, server) as connection:
            if value(connection, "SELECT @@global.read_only") == "0":
                found.add(server)
    return found


def last_words(sim):
    """{shard: (where the newest report with it says it is, which server is primary)}"""
    words = {}
    for run in sorted(sim.json("run", "list"), key=lambda run: run["started"]):
        report = sim.json("report", run["run"])
        other = {"west": "east", "east": "west"}[report["to"]]
        for shard in report["shards"]:
            is_there = shard["result"] in ("moved", "already there")
            words[shard["name"]] = (report["to"] if is_there else other, shard["primary"], shard)
    return words


def assert_one_side(sim, story, was_down):
    """Every shard is at exactly one side, with one writable server, and that is what all say: the
    servers, the routes, the reports. A server that was restarted when its shard did not move waits
    for whoever is to open it: no shard of such a server must have two, but it may have none."""
    status = {shard["name"]: shard for shard in sim.json("status", code=None)["shards"]}
    words = last_words(sim)
    assert len(status) == story.shards
    for index in range(story.shards):
        name = f"s{index}"
        open_servers, seen = writable(sim, index), status[name]
        assert len(open_servers) <= 1, (name, open_servers)
        home, primary, shard = words.get(name, ("west", sim.address(index, 0), None))
        if not open_servers:
            at = [server for server in SERVERS if sim.address(index, server) == primary]
            if not primary and shard["epoch"] == 0:  # it was down before anybody had looked
                at = [0]
            assert at and (index, at[0]) in was_down, (name, shard, seen)
            continue
        (server,) = open_servers
        assert ("west", "east")[server // 3] == home == seen["home"], (name, shard, seen)
        assert sim.address(index, server) == seen["primary"] == primary or not primary, (shard, seen)
        assert seen["state"] == "serving", (shard, seen)


@pytest.mark.parametrize("seed", STORIES)
def test_whatever_happens_each_shard_is_at_one_side_and_nothing_is_lost(seed, make_sim):
    story, sim = told(seed, make_sim)
    status = run_until_interrupted(sim, story)
    was_down = mend(sim, story)
    bring_to_an_end(sim, story)
    assert not unfinished(sim)
    if status == NO_GO:
        assert sim.json("run", "list") == []
    assert_one_side(sim, story, was_down)
    seen = sim.end()
    assert (seen["two_primaries"], seen["lost"], seen["unknown"]) == (0, 0, 0)
