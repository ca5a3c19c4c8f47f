# SPDX-License-Identifier: Apache-2.0
"""A fleet that the lab did not make: servers started by hand, on other ports, with another GTID domain
and other accounts, in any shape.

    foreign = Foreign(folder, {"north": ["127.77.0.1", "127.77.0.2"], "south": [...]})
    with foreign:
        fleet = foreign.fleet()          # of the servers that are not ignored

The first server of the first region is the primary, the first of the other region the relay.
"""
import functools
import os
import shutil
import signal
import subprocess
import tempfile

import pymysql

from conftest import wait_until
from moves import Fleet, Server

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
"""
FLEET_FILE = """
promise: {{ rto: 30s, rpo: 5s }}
regions: [ {regions} ]
store: file://{dir}/store
credentials: {{ user: mover, {mover} }}
replication: {{ user: copy, {copy} }}
{probe}policy: {{ freeze_timeout: 4s{policy} }}
deployments:
  - name: shop
    shards:
      - name: shop-0
        servers:
"""
OWN = ("mover", "copy", "watch")  # the accounts in the fleet file
PLAIN = {user: f"{user}-pw" for user in ("dba", "shop", *OWN)}


@functools.cache
def template():
    """A data folder that servers start from, made once."""
    folder = tempfile.TemporaryDirectory(prefix="holdfast-template-")
    subprocess.run(["mariadb-install-db", "--no-defaults", f"--datadir={folder.name}/data",
                    "--user=root", "--auth-root-authentication-method=normal", "--skip-test-db",
                    "--skip-name-resolve", *("--" + option for option in SMALL.split())],
                   check=True, capture_output=True)
    return folder  # removed when the tests end


class Foreign:
    """'shape' is {region: [host, ...]}; 'names' is how the fleet file calls a host, if not so;
    'ignored' are names of servers: the third of north is "north-3". 'wrap' begins the command line of
    each server and of Holdfast."""

    def __init__(self, folder, shape, ignored=(), names=None, wrap=(), passwords=PLAIN,
                 by_env=False, options=""):
        self.dir, self.wrap, self.options = folder, list(wrap), options
        self.passwords, self.by_env = passwords, by_env
        self.processes = {}
        port = 41000 + os.getpid() % 20000
        self.servers = []
        for region, hosts in shape.items():
            for i, host in enumerate(hosts, 1):
                server = Server(f"{region}-{i}", host, port + len(self.servers), region)
                name = (names or {}).get(host, host)
                server.address = f"[{name}]:{server.port}" if ":" in name else f"{name}:{server.port}"
                server.known_as = name
                self.servers.append(server)
        self.regions = list(shape)
        self.ignored = [server for server in self.servers if server.name in ignored]
        self.used = [server for server in self.servers if server not in self.ignored]

    def __enter__(self):
        try:
            self.up()
            self.accounts(self.fleet(probe=True))
            self.wire()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_):
        self.down()

    def head(self, region):
        return next(server for server in self.used if server.region == region)

    # ---- servers ----

    def option_file(self, server, number):
        path = f"{self.dir}/{server.name}.cnf"
        with open(path, "w", encoding="utf-8") as out:
            out.write(f"[mariadbd]\nserver_id={number}\nbind_address={server.host}\n"
                      f"port={server.port}\nreport_host={server.known_as}\n"
                      f"report_port={server.port}\ndatadir={self.dir}/{server.name}\n"
                      f"socket={self.dir}/{server.name}.sock\npid_file={self.dir}/{server.name}.pid\n"
                      f"log_error={self.dir}/{server.name}.err\n{PRODUCTION}{self.options}\n{SMALL}")
        return path

    def up(self):
        for number, server in enumerate(self.servers, 2001):
            shutil.copytree(f"{template().name}/data", f"{self.dir}/{server.name}")
            path = self.option_file(server, number)
            self.processes[server.name] = subprocess.Popen(
                [*self.wrap, "mariadbd", f"--defaults-file={path}", "--user=root"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        for server in self.servers:
            wait_until(lambda s=server: self.try_root(s), 30, f"{server.name} accepts connections")

    def kill(self, *names):
        for name in names:
            process = self.processes.pop(name)
            process.send_signal(signal.SIGKILL)
            process.wait(10)

    def down(self):
        self.kill(*self.processes)

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

    def ask(self, server, query):
        """The first row, as a dict; None when there is none."""
        connection = pymysql.connect(unix_socket=f"{self.dir}/{server.name}.sock", user="root",
                                     cursorclass=pymysql.cursors.DictCursor, connect_timeout=2)
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()

    # ---- accounts and replication ----

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

    def point(self, server, source, acknowledges, extra=""):
        password = self.passwords["copy"].replace("'", "''")
        self.root(server, f"SET GLOBAL rpl_semi_sync_slave_enabled={int(acknowledges)}",
                  "SET sql_mode='NO_BACKSLASH_ESCAPES'", "STOP SLAVE",
                  f"CHANGE MASTER TO MASTER_HOST='{source.known_as}', MASTER_PORT={source.port},"
                  f" MASTER_USER='copy', MASTER_PASSWORD='{password}',"
                  f" MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1{extra}", "START SLAVE")

    def wire(self):
        """Semi-sync inside each region; ignored servers follow the head of theirs."""
        primary, relay = (self.head(region) for region in self.regions)
        for server in self.servers:
            if server is not primary:
                near = self.head(server.region)
                self.point(server, primary if server is relay else near,
                           server is not relay and server not in self.ignored)
        for head in (primary, relay):
            wanted = sum(s.region == head.region and s is not head for s in self.used)
            wait_until(lambda h=head, n=wanted: self.ackers(h) == n, 10, f"ackers of {head.name}")
        self.root(primary, "SET GLOBAL rpl_semi_sync_master_enabled=1", "SET GLOBAL read_only=0",
                  "CREATE DATABASE shop", "CREATE DATABASE stock", "CREATE DATABASE `odd-name`",
                  "CREATE TABLE `odd-name`.t (a INT)", "INSERT INTO `odd-name`.t VALUES (1)")

    def ackers(self, server):
        return int(self.ask(server, "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_clients'")["Value"])

    # ---- the fleet file ----

    def password_key(self, user, env):
        """How the fleet file says where the password is; puts it there."""
        if self.by_env:
            env[f"PW_{user}"] = self.passwords[user]
            return f"password_env: PW_{user}"
        with open(f"{self.dir}/{user}.password", "w", encoding="utf-8",
                  opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write(self.passwords[user] + "\n")
        return f"password_file: {user}.password"

    def write_file(self, keys, probe, policy, gone):
        with open(f"{self.dir}/fleet.yaml", "w", encoding="utf-8") as out:
            out.write(FLEET_FILE.format(
                dir=self.dir, regions=", ".join(self.regions), **keys,
                probe=f"probe: {{ user: watch, {keys['watch']} }}\n" if probe else "",
                policy=f", {policy}" if policy else ""))
            for region in self.regions:
                hosts, ignored = (
                    ", ".join(f'"{server.address}"' for server in servers
                              if server.region == region and server.name not in gone)
                    for servers in (self.used, self.ignored))
                out.write(f"          - {{ region: {region}, hosts: [ {hosts} ]"
                          + (f", ignore: [ {ignored} ]" if ignored else "") + " }\n")

    def fleet(self, probe=False, policy="", gone=()):
        """Without the servers named in 'gone'."""
        env = {}
        self.write_file({user: self.password_key(user, env) for user in OWN}, probe, policy, gone)
        accounts = {"admin": ("dba", self.passwords["dba"]), "app": ("shop", self.passwords["shop"])}
        servers = [server for server in self.used if server.name not in gone]
        return Fleet(f"{self.dir}/fleet.yaml", servers, accounts, "shop", env, shard="shop-0",
                     wrap=self.wrap)
