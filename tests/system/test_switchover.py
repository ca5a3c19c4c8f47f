# SPDX-License-Identifier: Apache-2.0
"""Moves without disasters: what a client sees, how few statements it takes, and fleets that the lab
did not make."""
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pymysql
import pytest

from conftest import wait_until
from moves import (DONE, Fleet, Server, Writers, assert_sound, make_table, of_lab,
                   violations)

REPLICATES_SECONDS = 2
CRITICAL_STATEMENTS = 5


def test_there_and_back_with_nothing_lost(lab):
    fleet = of_lab(lab, probe=True)
    with Writers(fleet) as writers:
        for _ in range(4):
            to = fleet.relay().region
            done = fleet.move(to, expect=DONE)
            assert done["report"]["result"] == "done" and done["report"]["to"] == to
            assert done["shard"]["result"] == "moved" and done["shard"]["lost_transactions"] == 0
            assert done["shard"]["critical_statements"] <= CRITICAL_STATEMENTS
            assert done["shard"]["write_outage_ms"] is not None
            assert_sound(fleet, writers.acked, seconds=REPLICATES_SECONDS)
            writers.wait_for_more(5)
        writers.stop()
        assert_sound(fleet, writers.acked)


def test_a_shard_that_is_there_already_is_left_alone(lab):
    fleet = of_lab(lab)
    to = fleet.relay().region
    fleet.move(to, expect=DONE)
    route = fleet.route()
    done = fleet.move(to, expect=DONE)
    assert done["shard"]["result"] == "already there"
    assert fleet.route() == route


def logged(fleet, server, since):
    """What Holdfast's account sent to the server since a time: (when, packet) by its general log."""
    rows = fleet.sql(server, "SELECT event_time, CONVERT(argument USING utf8mb4) AS text"
                             " FROM mysql.general_log WHERE command_type = 'Query'"
                             " AND event_time >= %s AND user_host LIKE 'holdfast%%'", since)
    return [(row["event_time"], row["text"]) for row in rows]


def test_the_servers_count_the_same_critical_statements(lab):
    """The report says at most five between freeze and publish; the servers' own logs agree."""
    fleet = of_lab(lab)
    ends = fleet.primary(), fleet.relay()
    since = {}
    for server in ends:
        fleet.sql(server, "SET GLOBAL log_output='TABLE'")
        fleet.sql(server, "SET GLOBAL general_log=ON")
        since[server] = fleet.value(server, "SELECT NOW(6)")
    done = fleet.move(ends[1].region, expect=DONE)
    packets = sorted(packet for server in ends for packet in logged(fleet, server, since[server]))
    for server in ends:
        fleet.sql(server, "SET GLOBAL general_log=OFF")
    texts = [text for _, text in packets]
    freeze = next(i for i, text in enumerate(texts) if "FOR SET GLOBAL read_only=1" in text)
    promote = next(i for i, text in enumerate(texts) if "MASTER_GTID_WAIT" in text
                   and "read_only=0" in text)
    assert promote == freeze + 1, texts[freeze:promote + 1]
    statements = len(texts[freeze].split("; ")) + 1  # promote is one, however many it is made of
    assert done["shard"]["critical_statements"] == statements <= CRITICAL_STATEMENTS


# ---- a fleet that somebody else made ----

SMALL = """
performance_schema=OFF
innodb_buffer_pool_size=8M
innodb_log_file_size=4M
innodb_data_file_path=ibdata1:3M:autoextend
innodb_autoextend_increment=1
innodb_use_native_aio=0
innodb_read_io_threads=1
innodb_write_io_threads=2
innodb_fast_shutdown=2
key_buffer_size=64K
aria_pagecache_buffer_size=1M
"""
PRODUCTION = """
read_only=1
skip_slave_start=1
log_bin=mysql-bin
relay_log=mysql-relay
log_slave_updates=1
binlog_format=ROW
gtid_domain_id=7
sync_binlog=1
innodb_flush_log_at_trx_commit=1
transaction_isolation=READ-COMMITTED
rpl_semi_sync_master_timeout=18446744073709551615
rpl_semi_sync_master_wait_point=AFTER_SYNC
slave_parallel_threads=4
slave_net_timeout=10
skip_name_resolve=1
max_connections=600
"""
PASSWORDS = {"dba": "dba-pw.1", "shop": "shop-pw.2", "mover": "mover-pw.3", "copy": "copy !#4\"pw"}
GRANTS = [
    "GRANT ALL ON *.* TO dba@'%' IDENTIFIED BY '{dba}' WITH GRANT OPTION",
    "CREATE USER shop@'%' IDENTIFIED BY '{shop}'",
    "GRANT ALL ON shop.* TO shop@'%'",
    "GRANT ALL ON stock.* TO shop@'%'",
    "GRANT REPLICATION SLAVE ON *.* TO copy@'%' IDENTIFIED BY '{copy}'",
    "GRANT SUPER, RELOAD, PROCESS, EVENT, SET USER, BINLOG MONITOR, BINLOG ADMIN,"
    " CONNECTION ADMIN, READ_ONLY ADMIN, REPLICATION MASTER ADMIN, REPLICATION SLAVE ADMIN,"
    " SLAVE MONITOR ON *.* TO mover@'%' IDENTIFIED BY '{mover}'",
    "GRANT SELECT ON mysql.* TO mover@'%'",
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON holdfast.* TO mover@'%'",
]
FLEET_FILE = """
promise: {{ rto: 30s, rpo: 5s }}
regions: [ north, south ]
store: file://{dir}/store
credentials: {{ user: mover, password_file: mover.password }}
replication: {{ user: copy, password_file: copy.password }}
policy: {{ freeze_timeout: 1s, accept: [ errant-transactions ] }}
deployments:
  - name: shop
    shards:
      - name: shop-0
        servers:
          - {{ region: north, hosts: [ {north} ] }}
          - {{ region: south, hosts: [ {south} ] }}
"""


class Foreign:
    """Six servers by hand, in a folder: 127.77.0.1-3 north, 127.78.0.1-3 south, other ports."""

    def __init__(self, folder, strict):
        self.dir, self.strict = folder, strict
        self.processes = []
        port = 41000 + os.getpid() % 20000
        self.servers = [Server(f"{region}-{i}", f"127.{net}.0.{i}", port + i, region)
                        for region, net in (("north", 77), ("south", 78)) for i in (1, 2, 3)]

    def option_file(self, server, number):
        path = f"{self.dir}/{server.name}.cnf"
        with open(path, "w", encoding="utf-8") as out:
            out.write(f"[mariadbd]\nserver_id={number}\nbind_address={server.host}\n"
                      f"port={server.port}\nreport_host={server.host}\nreport_port={server.port}\n"
                      f"datadir={self.dir}/{server.name}\nsocket={self.dir}/{server.name}.sock\n"
                      f"pid_file={self.dir}/{server.name}.pid\nlog_error={self.dir}/{server.name}.err\n"
                      f"gtid_strict_mode={self.strict}\n{PRODUCTION}{SMALL}")
        return path

    def up(self):
        template = f"{self.dir}/template"
        subprocess.run(["mariadb-install-db", "--no-defaults", f"--datadir={template}",
                        "--user=root", "--auth-root-authentication-method=normal",
                        "--skip-test-db", "--skip-name-resolve",
                        *("--" + option for option in SMALL.split())],
                       check=True, capture_output=True)
        for number, server in enumerate(self.servers, 2001):
            shutil.copytree(template, f"{self.dir}/{server.name}")
            path = self.option_file(server, number)
            self.processes.append(subprocess.Popen(
                ["mariadbd", f"--defaults-file={path}", "--user=root"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True))
        for server in self.servers:
            wait_until(lambda s=server: self.try_root(s), 30, f"{server.name} accepts connections")
        for server in self.servers:
            self.root(server, "SET sql_log_bin=0", "DELETE FROM mysql.global_priv WHERE User = ''",
                      "FLUSH PRIVILEGES", *(grant.format(**PASSWORDS) for grant in GRANTS))

    def try_root(self, server):
        try:
            return self.root(server) or True
        except pymysql.err.OperationalError:
            return False

    def root(self, server, *statements):
        connection = pymysql.connect(unix_socket=f"{self.dir}/{server.name}.sock", user="root",
                                     autocommit=True, connect_timeout=2)
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def wire(self):
        """north-1 is the primary, south-1 its relay; semi-sync inside north and south."""
        north, south = self.servers[0], self.servers[3]
        for server in self.servers:
            if server is north:
                continue
            source = north if server.region == "north" or server is south else south
            self.root(server, f"SET GLOBAL rpl_semi_sync_slave_enabled={int(server is not south)}",
                      f"CHANGE MASTER TO MASTER_HOST='{source.host}', MASTER_PORT={source.port},"
                      f" MASTER_USER='copy', MASTER_PASSWORD='{PASSWORDS['copy']}',"
                      " MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1", "START SLAVE")
        wait_until(lambda: self.ackers(north) == 2 and self.ackers(south) == 2, 10, "ackers")
        self.root(north, "SET GLOBAL rpl_semi_sync_master_enabled=1", "SET GLOBAL read_only=0",
                  "CREATE DATABASE shop", "CREATE DATABASE stock", "CREATE DATABASE `odd-name`",
                  "CREATE TABLE `odd-name`.t (a INT)", "INSERT INTO `odd-name`.t VALUES (1)")

    def ackers(self, server):
        connection = pymysql.connect(host=server.host, port=server.port, user="dba",
                                     password=PASSWORDS["dba"])
        with connection, connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_clients'")
            return int(cursor.fetchone()[1])

    def fleet(self):
        for user in ("mover", "copy"):
            path = f"{self.dir}/{user}.password"
            with open(path, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as out:
                out.write(PASSWORDS[user] + "\n")
        with open(f"{self.dir}/fleet.yaml", "w", encoding="utf-8") as out:
            hosts = {region: ", ".join(s.address for s in self.servers if s.region == region)
                     for region in ("north", "south")}
            out.write(FLEET_FILE.format(dir=self.dir, **hosts))
        accounts = {"admin": ("dba", PASSWORDS["dba"]), "app": ("shop", PASSWORDS["shop"])}
        fleet = Fleet(f"{self.dir}/fleet.yaml", self.servers, accounts, "shop", shard="shop-0")
        make_table(fleet)
        return fleet

    def down(self):
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait(10)


@pytest.fixture(name="foreign", params=[0, 1], ids=["loose gtids", "strict gtids"])
def foreign_fixture(request):
    folder = tempfile.mkdtemp(prefix="holdfast-foreign-")
    foreign = Foreign(folder, request.param)
    try:
        foreign.up()
        foreign.wire()
        yield foreign
    finally:
        foreign.down()
        shutil.rmtree(folder, ignore_errors=True)


# accept: a FLUSH TABLES on a replica is a transaction that its primary never had.
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


class Pool:
    """An application's connections: mostly idle, each reconnects to whoever accepts writes; at most so
    many at once try to."""
    CONNECTIONS = 200

    def __init__(self, fleet):
        self.fleet = fleet
        self.open = {}

    def ends(self):
        return [server for server in self.fleet.servers if server.name.endswith("-1")]

    def use(self):
        """Each connection writes once, where it is or at the other end."""
        for i in range(self.CONNECTIONS):
            assert any(self.write(i) for _ in range(3)), f"connection {i} finds no primary"

    def write(self, i):
        for server in self.ends():
            try:
                if i not in self.open:
                    self.open[i] = self.fleet.connect(server, "app", database="stock")
                with self.open[i].cursor() as cursor:
                    cursor.execute("REPLACE INTO item VALUES (%s, %s)", (i, time.time()))
                return True
            except (pymysql.err.Error, OSError):
                with contextlib.suppress(KeyError, pymysql.err.Error, OSError):
                    self.open.pop(i).close()
        return False

    def close(self):
        for connection in self.open.values():
            connection.close()


def make_events(fleet, primary):
    fleet.sql(primary, "CREATE TABLE stock.item (a INT PRIMARY KEY, at DOUBLE)")
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
    fleet = foreign.fleet()
    home = fleet.primary()
    make_events(fleet, home)
    pool = Pool(fleet)
    pool.use()
    settings = {s.name: fleet.value(s, "SELECT @@GLOBAL.gtid_strict_mode") for s in fleet.servers}
    checked = 0
    with Writers(fleet) as writers:
        for _ in range(6):
            old = fleet.primary()
            new = fleet.relay()
            with Cron(fleet, old, only_on_a_primary=bool(foreign.strict)):
                done = fleet.move(new.region, expect=DONE)
            assert done["shard"]["result"] == "moved", done
            assert done["shard"]["lost_transactions"] == 0, done
            assert "AHEAD" not in done["shard"].get("notes", ""), done
            acked = list(writers.acked)
            assert_sound(fleet, acked, checked)
            checked = max(acked)
            there, here = events(fleet, new), events(fleet, old)
            assert there["ticks"] == ("ENABLED", "shop@%") and here["ticks"][0] != "ENABLED"
            assert there["not now"][0] != "ENABLED" and here["not now"][0] != "ENABLED"
            assert fleet.value(new, "SELECT @@GLOBAL.event_scheduler") == "ON"
            pool.use()
        writers.stop()
        assert_sound(fleet, writers.acked)
    new = fleet.primary()
    ticks = fleet.value(new, "SELECT COUNT(*) FROM stock.tick WHERE server = @@server_id")
    wait_until(lambda: fleet.value(new, "SELECT COUNT(*) FROM stock.tick WHERE server = @@server_id")
               > ticks, 5, "the event runs at the new primary")
    assert not fleet.value(new, "SELECT COUNT(*) FROM stock.tick WHERE server = 0")
    assert settings == {s.name: fleet.value(s, "SELECT @@GLOBAL.gtid_strict_mode")
                        for s in fleet.servers}
    pool.close()
    assert not violations(fleet)


def test_a_write_of_root_past_the_freeze_is_said(lab):
    """A privileged session changes the old primary between freeze and redirect (the conductor is dead):
    the move goes through, but the server is reported as ahead, with what it has."""
    fleet = of_lab(lab)
    old, new = fleet.primary(), fleet.relay()
    with Writers(fleet) as writers:
        fleet.move(new.region, fault="new.forget:after=kill")
        fleet.sql(old, f"CREATE TABLE {fleet.database}.late (a INT)")
        done = fleet.resume(expect=DONE)
        assert done["shard"]["result"] == "moved" and done["shard"]["lost_transactions"] == 1, done
        notes = done["shard"]["notes"]
        assert "AHEAD" in notes and "CREATE TABLE" in notes and old.address in notes, notes
        assert_sound(fleet, writers.acked)
