# SPDX-License-Identifier: Apache-2.0
"""What a region that is cut off may still acknowledge: up to a TTL of writes, or with promise.rpo_guard no more
than the promised RPO. A client inside it writes on, and when each write was acknowledged is compared with what
the other region has."""
import contextlib
import os
import pathlib
import re
import signal
import threading
import time

import pymysql
import pytest

from conftest import wait_until
from test_lab_network import needs_namespaces

RPO, TTL, RTT_MS = 1.0, 3, 20
PAUSE = 0.01
NETNS = ("--network", "netns", "--wan-rtt", str(RTT_MS))
PRIMARY, RELAY = "s0-west-1", "s0-east-1"

pytestmark = [needs_namespaces, pytest.mark.lab(daemons=True, wan=NETNS)]


class Writer:
    """Writes numbers at the primary, from inside its region, for as long as that accepts them."""

    def __init__(self, lab, primary=PRIMARY):
        self.acks = {}  # number: when it was acknowledged
        lab.sql(primary, "CREATE TABLE IF NOT EXISTS app.ledger (n BIGINT PRIMARY KEY)")
        self._lab = lab
        self._primary = primary
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self):
        connection, number = None, 0
        while not self._stop.wait(PAUSE):
            try:
                connection = connection or self._lab.connect(self._primary, user="app", timeout=30)
                number += 1
                connection.cursor().execute("INSERT INTO app.ledger VALUES (%s)", (number,))
                self.acks[number] = time.monotonic()
            except (pymysql.err.Error, OSError) as error:
                if error.args[:1] != (1290,) and connection:
                    with contextlib.suppress(pymysql.err.Error, OSError):
                        connection.close()
                    connection = None

    def wait_for_more(self, seconds, what):
        since = time.monotonic()
        wait_until(lambda: max(self.acks.values(), default=0) > since, seconds, what)

    def stop(self):
        self._stop.set()
        self._thread.join(60)


def is_known(lab):
    """On a slow machine it may be closed before that: then it is for an operator to open it, once."""
    if is_closed(lab):
        lab.sql(PRIMARY, "SET GLOBAL read_only=0")
    return lab.json("status", check=False)["shards"][0]["epoch"] >= 1 and not is_closed(lab)


@pytest.fixture
def writer(lab):
    wait_until(lambda: is_known(lab), 60, "the primary is open, and the store knows that")
    made = Writer(lab)
    try:
        made.wait_for_more(30, "it accepts writes")
        yield made
    finally:
        made.stop()


def promise(lab, is_guarded):
    """All daemons by a fleet file that promises this; agents go on with the permission that they have."""
    path = pathlib.Path(lab.fleet)
    text, count = re.subn(r"^promise: .*$", f"promise: {{ rto: 30s, rpo: {RPO:.0f}s, "
                          f"rpo_guard: {str(is_guarded).lower()} }}",
                          path.read_text(encoding="utf-8"), flags=re.M)
    text, more = re.subn(r"^permission: .*$", f"permission: {{ ttl: {TTL}s }}", text, flags=re.M)
    assert (count, more) == (1, 1)
    path.write_text(text, encoding="utf-8")
    daemons = lab.daemons()
    for name in daemons:  # first: who is to close in time asks often enough
        if name.startswith("agent-"):
            os.kill(daemons[name]["pid"], signal.SIGHUP)
    for name in daemons:
        if name.startswith("conductor-"):
            lab.cli("lab", "kill", name)
            lab.cli("lab", "restart", name)


def loss(lab):
    return lab.json("status", check=False)["shards"][0]["loss"] or {}


def is_covered(lab):
    shard = lab.json("status", check=False)["shards"][0]
    seen = shard["loss"] or {}
    return shard["primary"] and seen.get("ms") is not None and seen["ms"] < RPO * 1000


def is_shown(lab):
    return is_covered(lab) and loss(lab)["region"] == "west"


def promise_findings(lab):
    return {finding["check"] for finding in lab.json("readiness", check=False)["findings"]} & {"rpo", "rpo-guard"}


def is_closed(lab):
    return lab.value(PRIMARY, "SELECT @@GLOBAL.read_only") == 1


def cut_off(lab, writer, region):
    """Until the primary is closed. How long it went on after the last write that the other region has."""
    lab.cli("lab", "unplug", region)
    wait_until(lambda: is_closed(lab), 60, "the primary is closed")
    there = lab.value(RELAY, "SELECT MAX(n) FROM app.ledger")  # perhaps more than was acknowledged
    acks = dict(writer.acks)
    return max(acks.values()) - max(at for number, at in acks.items() if number <= there)


def settle(lab, writer, is_guarded):
    promise(lab, is_guarded)
    wait_until(lambda: is_shown(lab), 90, "a loss would cost little")  # it may need a leader who opens it again
    writer.wait_for_more(60, "it is open under the new promise")
    wait_until(lambda: time.monotonic() - max(writer.acks.values()) < 0.2 and is_shown(lab), 30, "all is calm")


@pytest.mark.parametrize("is_guarded", [True, False])
def test_a_region_that_is_cut_off_acknowledges_no_more_than_is_promised(lab, writer, is_guarded):
    settle(lab, writer, is_guarded)
    text = lab.cli("status").stdout
    assert re.search(r"^a loss of west now would cost s0 at most \d+ ms and about \d+ transactions?; a cut, "
                     + ("1000 ms at most$" if is_guarded else "up to 3000 ms more$"), text, re.M), text
    assert max(map(len, text.splitlines()[:2])) <= 80
    wait_until(lambda: promise_findings(lab) == ({"rpo-guard"} if is_guarded else {"rpo"}), 60,
               "readiness compares the promise with what a cut costs")
    went_on = cut_off(lab, writer, "west")
    print(f"the last write was acknowledged {went_on:.3f} s after the last one that east has")
    assert went_on <= RPO if is_guarded else RPO < went_on < TTL
    wait_until(lambda: loss(lab).get("ms", 0) > RPO * 1000, 30, "status tells what it would cost now")
    lab.cli("lab", "plug", "west")
    writer.wait_for_more(120, "it is opened again")


def test_without_the_other_region_writes_wait_until_it_has_what_was_acknowledged(lab, writer):
    """The home region keeps the majority of the store, and yet must not go on."""
    settle(lab, writer, True)
    went_on = cut_off(lab, writer, "east")
    assert went_on <= RPO
    wait_until(lambda: "writes wait until the other region" in lab.cli("status", check=False).stdout, 30, "why")
    assert is_closed(lab)
    lab.cli("lab", "plug", "east")
    writer.wait_for_more(120, "it is opened again, by nobody's word")
    wait_until(lambda: is_shown(lab), 30, "it is covered as before")


def test_what_is_opened_in_its_place_is_covered_in_time(lab, writer):
    """A move to the other region and back, then the loss of the primary's host: nobody stays closed."""
    settle(lab, writer, True)
    for region in ("east", "west"):
        wait_until(lambda r=region: lab.cli("switchover", "--to", r, "--yes", check=False).returncode == 0, 90,
                   f"{region} is the home")  # conductors may be at work
        wait_until(lambda r=region: loss(lab).get("region") == r and is_covered(lab), 60, f"{region} is covered")
    writer.wait_for_more(60, "it is open where it was")
    lab.cli("lab", "kill", "west-1")
    wait_until(lambda: any(role == "primary" for name, role in lab.roles().items() if name != PRIMARY), 90,
               "another server of the region is the primary")
    wait_until(lambda: is_covered(lab), 60, "it is covered, too")
    assert lab.primary().startswith("s0-west-")


# ---- a region is lost, and given back ----

WEST = [f"s0-west-{number}" for number in (1, 2, 3)]
ROWS, ROW_BYTES, SLOW_KB = 60, 1_000_000, 2000  # a backlog that takes half a minute to cross


def hold_down_for_a_moment(lab):
    path = pathlib.Path(lab.fleet)
    text, count = re.subn(r"(automatic: .*\n)", r"\1  hold_down: 1ms\n", path.read_text(encoding="utf-8"))
    assert count == 1
    path.write_text(text, encoding="utf-8")


def sequence(position):
    """Of the one domain that is written."""
    return max((int(part.split("-")[2]) for part in position.split(",") if part), default=0)


def received_in_the_west(lab):
    """By the one that has most."""
    said = [row["Gtid_IO_Pos"] for name in WEST for row in lab.sql(name, "SHOW ALL SLAVES STATUS")]
    return max(map(sequence, said), default=0)


def write_backlog(lab, primary):
    """Where its end is."""
    lab.sql(primary, "CREATE TABLE app.bulk (n INT PRIMARY KEY, data LONGBLOB)")
    for number in range(ROWS):
        lab.sql(primary, "INSERT INTO app.bulk VALUES (%s, REPEAT('x', %s))", number, ROW_BYTES, timeout=60)
    return sequence(lab.value(primary, "SELECT @@GLOBAL.gtid_binlog_pos"))


def is_west_fenced(lab):
    return "region west is fenced" in lab.cli("status", "--direct", check=False).stdout


def test_a_region_that_was_lost_is_given_back_when_it_has_caught_up(lab):
    """Until then nothing is held against it: what serves in its place goes on, with rpo_guard and without its copy."""
    wait_until(lambda: is_known(lab), 60, "the primary is open, and the store knows that")
    hold_down_for_a_moment(lab)
    promise(lab, True)
    wait_until(lambda: is_shown(lab), 90, "a loss would cost little")
    lab.cli("lab", "unplug", "west")
    lab.cli("failover", "--to", "east", "--accept-loss", "--yes", timeout=120)
    heir = lab.primary()
    assert heir.startswith("s0-east-")
    writer = Writer(lab, heir)
    try:
        writer.wait_for_more(30, "it accepts writes")
        alone = time.monotonic()
        backlog = write_backlog(lab, heir)
        wait_until(lambda: max(writer.acks.values()) > alone + 2 * (RPO + TTL), 60, "it serves on alone")
        for name in WEST:
            lab.sql(name, "SET GLOBAL read_binlog_speed_limit = %s", SLOW_KB)
        lab.cli("lab", "plug", "west")
        wait_until(lambda: re.search(r"shard s0 is about \d+ transactions behind", lab.cli("region", "list").stdout),
                   60, "its servers follow, and lack what was written")
        told = lab.cli("region", "return", "west", "--yes", check=False)
        assert told.returncode == 3 and "it has not caught up" in told.stderr, told
        wait_until(lambda: not is_west_fenced(lab), 180, "it is given back")
        received = received_in_the_west(lab)
        print(f"west had received {received} when it was given back; the backlog ended with {backlog}")
        assert received >= backlog
        back = time.monotonic()
        wait_until(lambda: max(writer.acks.values()) > back + 2 * (RPO + TTL), 60, "it serves on")
    finally:
        writer.stop()
