# SPDX-License-Identifier: Apache-2.0
"""A fleet that the lab did not make: other ports, GTID domain, databases and passwords, events, an
application with hundreds of connections that are in use while the shard moves, a cron job of root."""
import tempfile
import threading

import pymysql
import pytest

from conftest import wait_until
from foreign import PLAIN, Foreign
from moves import DONE, SOAK, Writers, assert_sound, make_table, violations

# The longest that CHANGE MASTER takes has 96 bytes; the other accounts' may be longer.
PASSWORDS = {
    "by file": {"mover": " it's \"so\" \\ \\\\n #1 %d%s; -- /* €\U0001f600 */ ",
                "copy": " 'c\"o\\p#y %s\\' é€ ; ", "watch": "`w`\\'\"# -- ${HOME} "},
    "by environment": {"mover": "x\"'\\" * 60, "copy": "é'\"\\# %€x" * 8, "watch": "\\\\'\U0001f600"},
}
SHAPE = {"north": ["127.77.0.1", "127.77.0.2", "127.77.0.3"],
         "south": ["127.78.0.1", "127.78.0.2", "127.78.0.3"]}
# max_connections: what the pool needs, and little for all the others
OPTIONS = "gtid_strict_mode={strict}\nmax_connections=260"
# a FLUSH TABLES on a replica is a transaction that its primary never had
POLICY = "accept: [ errant-transactions ]"


@pytest.fixture(name="foreign", params=[(0, "by file"), (1, "by environment")],
                ids=["loose gtids, passwords by file", "strict gtids, passwords by environment"])
def foreign_fixture(request):
    strict, given = request.param
    with tempfile.TemporaryDirectory(prefix="holdfast-foreign-") as folder, \
            Foreign(folder, SHAPE, passwords={**PLAIN, **PASSWORDS[given]},
                    by_env=given == "by environment",
                    options=OPTIONS.format(strict=strict)) as foreign:
        foreign.strict = strict
        yield foreign


class Cron:
    """root's job that flushes tables every 50 ms on one server: unless GTIDs must be in strict order,
    also when it has become a replica."""

    def __init__(self, fleet, server, only_on_a_primary):
        self.fleet, self.server, self.only_on_a_primary = fleet, server, only_on_a_primary
        self.flushed = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        connection = None
        while not self._stop.wait(0.05):
            try:
                connection = connection or self.fleet.connect(self.server)
                with connection.cursor() as cursor:
                    cursor.execute("SELECT @@GLOBAL.read_only AS ro")
                    if not (self.only_on_a_primary and cursor.fetchone()["ro"]):
                        cursor.execute("FLUSH TABLES")
                        self.flushed += 1
            except (pymysql.err.Error, OSError):
                connection = None

    def __enter__(self):
        self._thread.start()
        wait_until(lambda: self.flushed, 5, "the first flush")
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)
        assert self.flushed


class Pool(Writers):
    """An application's connections, all in use, also while the shard moves: refused or cut off, they
    connect to the other end."""
    CONNECTIONS, THREADS = 240, 6
    PAUSE_SECONDS = 0.025  # all together about 200 writes a second: what the replicas can follow

    def __init__(self, fleet):
        super().__init__(fleet, self.THREADS, self.CONNECTIONS // self.THREADS)


def make_events(fleet, primary):
    fleet.sql(primary, "CREATE TABLE stock.tick (id BIGINT AUTO_INCREMENT PRIMARY KEY, server INT)")
    fleet.sql(primary, "CREATE DEFINER=shop@'%' EVENT stock.ticks ON SCHEDULE EVERY 1 SECOND DO"
                       " INSERT INTO stock.tick (server) VALUES (@@server_id)")
    fleet.sql(primary, "CREATE DEFINER=shop@'%' EVENT stock.`not now` ON SCHEDULE EVERY 1 SECOND"
                       " DISABLE DO INSERT INTO stock.tick (server) VALUES (0)")
    fleet.sql(primary, "SET GLOBAL event_scheduler=ON")


def events(fleet, server):
    return {row["EVENT_NAME"]: (row["STATUS"], row["DEFINER"]) for row in fleet.sql(
        server, "SELECT EVENT_NAME, STATUS, DEFINER FROM information_schema.EVENTS")}


def test_a_fleet_that_the_lab_did_not_make(foreign):
    fleet = foreign.fleet(probe=True, policy=POLICY)
    make_table(fleet)
    make_events(fleet, fleet.primary())
    settings = {s.name: fleet.value(s, "SELECT @@GLOBAL.gtid_strict_mode") for s in fleet.servers}
    checked = 0
    with Pool(fleet) as pool:
        pool.wait_for_all(20)
        for _ in range(6 if SOAK else 4):
            old, new = fleet.primary(), fleet.relay()
            with Cron(fleet, old, only_on_a_primary=bool(foreign.strict)):
                done = fleet.move(new.region, expect=DONE)
            assert done["shard"]["result"] == "moved", done
            assert done["shard"]["lost_transactions"] == 0, done
            assert done["shard"]["write_outage_ms"] is not None, done  # the probe was let in
            assert "AHEAD" not in done["shard"].get("notes", ""), done
            pool.wait_for_all(20)
            acked = list(pool.acked)
            assert_sound(fleet, acked, checked)
            checked = max(acked)
            there, here = events(fleet, new), events(fleet, old)
            assert there["ticks"] == ("ENABLED", "shop@%") and here["ticks"][0] != "ENABLED"
            assert there["not now"][0] != "ENABLED" and here["not now"][0] != "ENABLED"
            assert fleet.value(new, "SELECT @@GLOBAL.event_scheduler") == "ON"
            fleet.sql(new, "KILL USER shop")  # as a load balancer would: all connections are cut
        pool.wait_for_all(20)
        for server in (old, new):
            used = fleet.sql(server, "SHOW GLOBAL STATUS LIKE 'Max_used_connections'")[0]["Value"]
            assert int(used) > pool.CONNECTIONS, f"{server.name} never had the whole pool: {used}"
        pool.stop()
        assert_sound(fleet, pool.acked)
    new = fleet.primary()
    ticks = fleet.value(new, "SELECT COUNT(*) FROM stock.tick WHERE server = @@server_id")
    wait_until(lambda: fleet.value(new, "SELECT COUNT(*) FROM stock.tick WHERE server = @@server_id")
               > ticks, 5, "the event runs at the new primary")
    assert not fleet.value(new, "SELECT COUNT(*) FROM stock.tick WHERE server = 0")
    assert settings == {s.name: fleet.value(s, "SELECT @@GLOBAL.gtid_strict_mode")
                        for s in fleet.servers}
    assert not violations(fleet)
