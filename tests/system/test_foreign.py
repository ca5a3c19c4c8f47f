# SPDX-License-Identifier: Apache-2.0
"""A fleet that the lab did not make: other ports, GTID domain, databases and passwords, events, an
application with hundreds of connections that are in use while the shard moves, a cron job of root."""
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
from moves import DONE, SOAK, Fleet, Server, Writers, assert_sound, make_table, violations

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
# max_connections: what the pool may need, and little for all the others
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
max_connections=260
"""
FLEET_FILE = """
promise: {{ rto: 30s, rpo: 5s }}
regions: [ north, south ]
store: file://{dir}/store
credentials: {{ user: mover, {mover} }}
replication: {{ user: copy, {copy} }}
probe: {{ user: watch, {watch} }}
policy: {{ freeze_timeout: 1s, accept: [ errant-transactions ] }}
deployments:
  - name: shop
    shards:
      - name: shop-0
        servers:
          - {{ region: north, hosts: [ {north} ] }}
          - {{ region: south, hosts: [ {south} ] }}
"""
OWN = ("mover", "copy", "watch")  # the accounts in the fleet file
# The longest that CHANGE MASTER takes has 96 bytes; the other accounts' may be longer.
PASSWORDS = {
    "by file": {"mover": " it's \"so\" \\ \\\\n #1 %d%s; -- /* €\U0001f600 */ ",
                "copy": " 'c\"o\\p#y %s\\' é€ ; ", "watch": "`w`\\'\"# -- ${HOME} "},
    "by environment": {"mover": "x\"'\\" * 60, "copy": "é'\"\\# %€x" * 8, "watch": "\\\\'\U0001f600"},
}


class Foreign:
    """Six servers by hand, in a folder: 127.77.0.1-3 north, 127.78.0.1-3 south, other ports."""

    def __init__(self, folder, strict, passwords):
        self.dir, self.strict, self.given = folder, strict, passwords
        self.passwords = {"dba": "dba-pw.1", "shop": "shop-pw.2", **PASSWORDS[passwords]}
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

    def accounts(self, fleet):
        """On each server by itself: Holdfast's own with the SQL that it prints."""
        grants = fleet.cli("fleet", "grants", "--with-passwords", expect=0).stdout
        sql = f"""SET sql_log_bin=0;
            DELETE FROM mysql.global_priv WHERE User = ''; FLUSH PRIVILEGES;
            GRANT ALL ON *.* TO dba@'%' IDENTIFIED BY '{self.passwords['dba']}' WITH GRANT OPTION;
            CREATE USER shop@'%' IDENTIFIED BY '{self.passwords['shop']}';
            GRANT ALL ON shop.* TO shop@'%'; GRANT ALL ON stock.* TO shop@'%';
            {grants}; GRANT SUPER ON *.* TO mover@'%'; GRANT SELECT ON mysql.* TO mover@'%';"""
        for server in self.servers:
            subprocess.run(["mariadb", "--no-defaults", f"--socket={self.dir}/{server.name}.sock",
                            "--user=root"], input=sql.encode(), check=True, capture_output=True,
                           env={**os.environ, "LC_ALL": "C"})

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
        password = self.passwords["copy"].replace("'", "''")
        for server in self.servers:
            if server is north:
                continue
            source = north if server.region == "north" or server is south else south
            self.root(server, f"SET GLOBAL rpl_semi_sync_slave_enabled={int(server is not south)}",
                      "SET sql_mode='NO_BACKSLASH_ESCAPES'",
                      f"CHANGE MASTER TO MASTER_HOST='{source.host}', MASTER_PORT={source.port},"
                      f" MASTER_USER='copy', MASTER_PASSWORD='{password}',"
                      " MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1", "START SLAVE")
        wait_until(lambda: self.ackers(north) == 2 and self.ackers(south) == 2, 10, "ackers")
        self.root(north, "SET GLOBAL rpl_semi_sync_master_enabled=1", "SET GLOBAL read_only=0",
                  "CREATE DATABASE shop", "CREATE DATABASE stock", "CREATE DATABASE `odd-name`",
                  "CREATE TABLE `odd-name`.t (a INT)", "INSERT INTO `odd-name`.t VALUES (1)")

    def ackers(self, server):
        connection = pymysql.connect(host=server.host, port=server.port, user="dba",
                                     password=self.passwords["dba"])
        with connection, connection.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_clients'")
            return int(cursor.fetchone()[1])

    def password_key(self, user, env):
        """How the fleet file says where the password is; puts it there."""
        if self.given == "by environment":
            env[f"PW_{user}"] = self.passwords[user]
            return f"password_env: PW_{user}"
        with open(f"{self.dir}/{user}.password", "w", encoding="utf-8",
                  opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write(self.passwords[user] + "\n")
        return f"password_file: {user}.password"

    def fleet(self):
        env = {}
        keys = {user: self.password_key(user, env) for user in OWN}
        hosts = {region: ", ".join(s.address for s in self.servers if s.region == region)
                 for region in ("north", "south")}
        with open(f"{self.dir}/fleet.yaml", "w", encoding="utf-8") as out:
            out.write(FLEET_FILE.format(dir=self.dir, **keys, **hosts))
        accounts = {"admin": ("dba", self.passwords["dba"]), "app": ("shop", self.passwords["shop"])}
        return Fleet(f"{self.dir}/fleet.yaml", self.servers, accounts, "shop", env, shard="shop-0")

    def down(self):
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait(10)


@pytest.fixture(name="foreign", params=[(0, "by file"), (1, "by environment")],
                ids=["loose gtids, passwords by file", "strict gtids, passwords by environment"])
def foreign_fixture(request):
    folder = tempfile.mkdtemp(prefix="holdfast-foreign-")
    foreign = Foreign(folder, *request.param)
    try:
        foreign.up()
        foreign.accounts(foreign.fleet())
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
    fleet = foreign.fleet()
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
