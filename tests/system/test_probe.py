# SPDX-License-Identifier: Apache-2.0
"""The outage that a report gives, beside that of a client that knows nothing of Holdfast."""
import contextlib
import random
import threading
import time

import pymysql
import pytest

from conftest import wait_until
from moves import DONE, make_table, of_lab

LANES = 3
PERIOD = 0.001 * LANES  # each: together a thousand writes a second
HELD_SECONDS = 0.3
LONG_MS = 60     # an outage that is much longer than what either can resolve
RESOLUTION_MS = 5
AGREE = 0.2
MOVES = 20
COMPARED = 3


class Outside:
    """A client pool of its own, connected to both ends: writes 1,000 times a second at the end that
    accepts, and remembers when it was told so."""

    def __init__(self, fleet, ends):
        self.acks, self._end, self._stop = [], 0, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(fleet, ends, lane), daemon=True)
                         for lane in range(LANES)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        wait_until(lambda: len(self.acks) > 20, 10, "the outside probe writes")
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def _run(self, fleet, ends, lane):
        open_ends = [fleet.connect(server, account="app", database=fleet.database)
                     for server in ends]
        while not self._stop.is_set():
            began, end = time.monotonic(), self._end
            try:
                with open_ends[end].cursor() as cursor:
                    cursor.execute("INSERT INTO ledger (n) VALUES (%s)", (lane,))
                self.acks.append(time.monotonic())
            except pymysql.err.Error:
                self._end = 1 - end
            time.sleep(max(0.0, PERIOD - (time.monotonic() - began)))
        for connection in open_ends:
            connection.close()

    def longest_ms(self, since):
        acks = sorted(ack for ack in list(self.acks) if ack >= since)
        return max(1000 * (b - a) for a, b in zip(acks, acks[1:]))


@contextlib.contextmanager
def held_up(fleet, server):
    """One statement after the other that makes a freeze wait, for up to HELD_SECONDS."""
    stop = threading.Event()
    user = fleet.connect(server, account="app", database=fleet.database)

    def run():
        while not stop.is_set():
            with contextlib.suppress(pymysql.err.Error), user.cursor() as cursor:
                cursor.execute("UPDATE held SET n = n + SLEEP(%s)",
                               (random.uniform(0.5, 1) * HELD_SECONDS,))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)
        user.close()


@pytest.mark.alone
def test_the_report_agrees_with_an_outside_client(lab):
    """Within 20 %. Real outages are too short to compare, so a statement of a client stretches them."""
    fleet = of_lab(lab, probe=True)
    make_table(fleet)
    fleet.sql(fleet.primary(), f"CREATE TABLE {fleet.database}.held (n INT)")
    fleet.sql(fleet.primary(), f"INSERT INTO {fleet.database}.held VALUES (1)")
    compared = []
    for _ in range(MOVES):
        ends = fleet.primary(), fleet.relay()
        with Outside(fleet, ends) as outside, held_up(fleet, ends[0]):
            since = time.monotonic()
            done = fleet.move(ends[1].region, expect=DONE)
            count = len(outside.acks)
            wait_until(lambda: len(outside.acks) > count + 20, 10, "writes after the move")
        seen, said = outside.longest_ms(since), done["shard"]["write_outage_ms"]
        if seen > LONG_MS:
            compared.append((round(said, 1), round(seen, 1)))
        if len(compared) == COMPARED:
            break
    assert len(compared) == COMPARED, f"only {compared} were long enough to compare"
    for said, seen in compared:
        assert abs(said - seen) <= AGREE * seen + RESOLUTION_MS, f"(said, seen) in ms: {compared}"
