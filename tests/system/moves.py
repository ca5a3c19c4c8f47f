# SPDX-License-Identifier: Apache-2.0
"""What the tests of moves share: a fleet however it was made, clients that write to it and remember
what was acknowledged, and the checker of what must hold after every disaster.

The checker (`violations`) knows nothing of Holdfast but the route of the shard: it asks the servers.
"""
import contextlib
import itertools
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import threading
import time

import pymysql

from conftest import HOLDFAST, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
SOAK = os.environ.get("HOLDFAST_SOAK") == "1"
KILLED = -9
DONE, ABORTED, STUCK = 0, 4, 5  # exit codes
CLI_SECONDS = 60
SETTLE_SECONDS = 10

TABLE = """CREATE TABLE IF NOT EXISTS ledger (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, n BIGINT NOT NULL, KEY (n))"""


class Server:
    def __init__(self, name, host, port, region):
        self.name, self.host, self.port, self.region = name, host, int(port), region
        self.address = f"{host}:{port}"


class Fleet:
    """One shard, without ignored servers. Accounts are {"admin": (user, password), "app": ...}; 'wrap'
    begins Holdfast's command line."""

    def __init__(self, file, servers, accounts, database="app", env=None, shard="s0", wrap=()):
        self.file, self.servers, self.accounts = file, servers, accounts
        self.program = [*wrap, HOLDFAST]
        self.database, self.shard = database, shard
        self.env = {**os.environ, **(env or {}), "HOLDFAST_FLEET": file}
        self.by_name = {server.name: server for server in servers}
        self.by_address = {server.address: server for server in servers}
        self._open = {}
        self._run = None

    # ---- servers ----

    def connect(self, server, account="admin", seconds=3, **options):
        user, password = self.accounts[account]
        options = {"autocommit": True, "cursorclass": pymysql.cursors.DictCursor, **options}
        return pymysql.connect(host=server.host, port=server.port, user=user, password=password,
                               connect_timeout=seconds, read_timeout=seconds,
                               write_timeout=seconds, **options)

    def sql(self, server, query, *values, seconds=5):
        """Rows as dicts, over an admin connection that is kept."""
        key = server.name
        for attempt in (1, 2):
            is_kept = key in self._open
            if not is_kept:
                self._open[key] = self.connect(server, seconds=seconds)
            try:
                with self._open[key].cursor() as cursor:
                    cursor.execute(query, values or None)
                    return list(cursor.fetchall())
            except (pymysql.err.OperationalError, pymysql.err.InterfaceError):
                close(self._open.pop(key, None))
                if not is_kept or attempt == 2:
                    raise
        return None

    def value(self, server, query, *values, **options):
        rows = self.sql(server, query, *values, **options)
        return next(iter(rows[0].values())) if rows else None

    def close(self):
        for connection in self._open.values():
            close(connection)
        self._open = {}

    # ---- holdfast ----

    def environment(self, fault=None, trace=None):
        env = dict(self.env)
        if fault:
            env["HOLDFAST_FAULT"] = fault
        if trace:
            env["HOLDFAST_FAULT_TRACE"] = str(trace)
        return env

    def cli(self, *args, fault=None, trace=None, seconds=CLI_SECONDS, expect=None):
        """Run holdfast to its end; with 'expect' (a code or several) it has to end so."""
        done = subprocess.run([*self.program, *args], env=self.environment(fault, trace), text=True,
                              capture_output=True, timeout=seconds, check=False,
                              stdin=subprocess.DEVNULL)
        if expect is not None:
            wanted = expect if isinstance(expect, tuple) else (expect,)
            assert done.returncode in wanted, (
                f"holdfast {' '.join(args)} (fault {fault}) ended with {done.returncode}, not "
                f"{expect}:\n{done.stdout}{done.stderr}")
        return done

    def start(self, *args, fault=None, trace=None):
        return subprocess.Popen([*self.program, *args], env=self.environment(fault, trace), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                stdin=subprocess.DEVNULL)

    def move(self, to, **options):
        """A switchover; {"code", "report" (None when there is none), "stderr"}."""
        return outcome(self.cli("switchover", "--to", to, "--yes", "--json", **options))

    def resume(self, **options):
        return outcome(self.cli("run", "resume", "--json", **options))

    def unfinished(self):
        """The id of the run that waits to be resumed, or None."""
        done = self.cli("run", "show", "--json")
        if done.returncode == 0:
            return json.loads(done.stdout)["run"]
        assert "no run is unfinished" in done.stderr, done.stderr
        return None

    def route(self):
        """Where the store says that the shard is."""
        run = self.unfinished() or json.loads(self.cli("run", "list", "--json").stdout)[-1]["run"]
        shown = json.loads(self.cli("run", "show", run, "--json", expect=0).stdout)
        return next((r for r in shown["routes"] if r["shard"] == self.shard), None)

    # ---- roles, asked of the servers ----

    def primary(self):
        """The only server that is writable and follows nobody."""
        found = [server for server in self.servers
                 if not self.value(server, "SELECT @@GLOBAL.read_only")
                 and not self.sql(server, "SHOW ALL SLAVES STATUS")]
        assert len(found) == 1, [server.name for server in found]
        return found[0]

    def relay(self):
        """The server of the other region that follows the primary."""
        primary = self.primary()
        for server in self.servers:
            if server.region != primary.region:
                status = self.sql(server, "SHOW ALL SLAVES STATUS")
                if status and source_of(status[0]) == primary.address:
                    return server
        raise AssertionError("no relay")

    def replicas(self, source):
        return [server for server in self.servers
                if server.region == source.region and server is not source]


def source_of(status):
    host = status["Master_Host"]
    return f"{f'[{host}]' if ':' in host else host}:{status['Master_Port']}"


def outcome(done):
    report = None
    if done.stdout.strip().startswith("{"):
        report = json.loads(done.stdout)
    return {"code": done.returncode, "report": report, "stderr": done.stderr,
            "shard": report["shards"][0] if report else None}


def of_lab(lab, policy="", probe=False):
    """The lab's first shard as a Fleet, with a fleet file of its own: by default without the probe,
    whose measuring before and after each move takes longer than the move."""
    text = open(lab.fleet, encoding="utf-8").read()
    if not probe:
        text = re.sub(r"^probe:.*\n", "", text, flags=re.M)
    if policy:
        text = re.sub(r"^deployments:", f"policy: {policy}\ndeployments:", text, flags=re.M)
    file = f"{lab.dir}/moves.yaml"
    with open(file, "w", encoding="utf-8") as out:
        out.write(text)
    servers = [Server(name, s["host"], s["port"], s["region"])
               for name, s in sorted(lab.servers().items()) if name.startswith("s0-")]
    accounts = {user: (user, lab.password(user)) for user in ("admin", "app", "holdfast")}
    fleet = Fleet(file, servers, accounts, env={"HOLDFAST_LAB": lab.dir})
    make_table(fleet)
    return fleet


def put_in_store(lab, key, value):
    """As another process would."""
    with contextlib.closing(sqlite3.connect(f"{lab.dir}/store/store.db")) as store, store:
        store.execute("UPDATE meta SET revision = revision + 1")
        store.execute("INSERT OR REPLACE INTO entry SELECT ?, CAST(? AS BLOB), revision, revision, 0 FROM meta",
                      (key, value))
        store.execute("INSERT INTO change SELECT revision, ?, CAST(? AS BLOB), revision, 0 FROM meta",
                      (key, value))


def remove_from_store(lab, key):
    with contextlib.closing(sqlite3.connect(f"{lab.dir}/store/store.db")) as store, store:
        store.execute("UPDATE meta SET revision = revision + 1")
        store.execute("DELETE FROM entry WHERE key = ?", (key,))
        store.execute("INSERT INTO change SELECT revision, ?, NULL, 0, 0 FROM meta", (key,))


def make_table(fleet):
    connection = fleet.connect(fleet.primary(), "app", database=fleet.database)
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLE)


def other_region(fleet, region):
    return next(server.region for server in fleet.servers if server.region != region)


# ---- clients ----

class Writers:
    """Unprivileged clients that write uniquely numbered rows, at whichever end accepts them: so many
    threads, each with so many connections that it uses in turn.

    A number whose write failed or was not answered is not used again: it may or may not be there.
    """
    PAUSE_SECONDS = 0.004  # paced: the disk is shared with the servers
    ANSWER_SECONDS = 1

    def __init__(self, fleet, count=2, each=1, ends=None):
        self.fleet, self.each = fleet, each
        first = {}
        for server in fleet.servers:
            first.setdefault(server.region, server)
        self.ends = list(ends or first.values())
        self.acked = []  # appended by any writer, never changed otherwise
        self.errors = {}  # error number: how often
        self.used = [0] * (count * each)  # by connection: acknowledged writes
        self._numbers = iter(range(1, 1 << 60))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(i,), daemon=True)
                         for i in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.wait_for_more(4)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * self.ANSWER_SECONDS + 5)
            assert not thread.is_alive(), "a writer hangs"

    def wait_for_more(self, count, seconds=15):
        """Until so many more writes were acknowledged than now."""
        wanted = len(self.acked) + count
        wait_until(lambda: len(self.acked) >= wanted, seconds,
                   f"{count} more acknowledged writes; errors so far {self.errors}")

    def wait_for_all(self, seconds):
        """Until each connection had one more write acknowledged than now."""
        before = list(self.used)
        wait_until(lambda: all(now > then for now, then in zip(self.used, before)), seconds,
                   f"every connection of {len(before)} works; errors so far {self.errors}")

    def _next(self):
        with self._lock:
            return next(self._numbers)

    def _write(self, index):
        first = index * self.each
        at = {slot: slot % len(self.ends) for slot in range(first, first + self.each)}
        connections = {}
        for slot in itertools.cycle(at):
            if self._stop.wait(self.PAUSE_SECONDS):
                break
            number = self._next()
            try:
                if slot not in connections:
                    connections[slot] = self.fleet.connect(
                        self.ends[at[slot]], "app", self.ANSWER_SECONDS,
                        database=self.fleet.database)
                with connections[slot].cursor() as cursor:
                    cursor.execute("INSERT INTO ledger (n) VALUES (%s)", (number,))
                self.acked.append(number)
                self.used[slot] += 1
            except (pymysql.err.Error, OSError) as error:
                code = error.args[0] if error.args else 0
                self.errors[code] = self.errors.get(code, 0) + 1
                close(connections.pop(slot, None))
                at[slot] = (at[slot] + 1) % len(self.ends)
        for connection in connections.values():
            close(connection)


def close(connection):
    """Whatever state it is in; None is fine."""
    if connection is not None:
        with contextlib.suppress(pymysql.err.Error, OSError):
            connection.close()


# ---- what must hold ----

def wrong_roles(fleet, route):
    """Sentences about servers that are not what the route makes of them."""
    found = []
    primary = fleet.by_address.get(route["primary"])
    if route["state"] != "serving" or not primary or primary.region != route["home"]:
        return [f"the route is not at one side: {route}"]
    writable = [s.name for s in fleet.servers if not fleet.value(s, "SELECT @@GLOBAL.read_only")]
    if writable != [primary.name]:
        found.append(f"writable are {writable}, the route says {primary.name}")
    relays = []
    for server in fleet.servers:
        status = fleet.sql(server, "SHOW ALL SLAVES STATUS")
        if server is primary:
            if status:
                found.append(f"{server.name} is the primary and follows {source_of(status[0])}")
            continue
        if len(status) != 1:
            found.append(f"{server.name} follows {len(status)} servers")
            continue
        row, source = status[0], source_of(status[0])
        if row["Slave_IO_Running"] != "Yes" or row["Slave_SQL_Running"] != "Yes":
            found.append(f"{server.name} does not replicate: IO {row['Slave_IO_Running']} "
                         f"{row['Last_IO_Error']}, SQL {row['Slave_SQL_Running']} "
                         f"{row['Last_SQL_Error']}")
        source = fleet.by_address.get(source)
        if server.region != primary.region and source is primary:
            relays.append(server)
        elif source is None or source.region != server.region or (
                server.region == primary.region and source is not primary):
            found.append(f"{server.name} follows {source.name if source else 'a stranger'}")
    if len(relays) != 1:
        found.append(f"relays are {[relay.name for relay in relays]}")
    return found


def wrong_semi_sync(fleet, primary):
    status = {row["Variable_name"]: row["Value"]
              for row in fleet.sql(primary, "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_%'")}
    found = []
    if status["Rpl_semi_sync_master_status"] != "ON":
        found.append(f"{primary.name} does not wait for acknowledgements")
    wanted = len(fleet.replicas(primary))
    if int(status["Rpl_semi_sync_master_clients"]) < wanted:
        found.append(f"{primary.name} has {status['Rpl_semi_sync_master_clients']} of {wanted} ackers")
    return found


def wrong_rows(fleet, primary, acked, since=0, seconds=3):
    """Every acknowledged number above 'since' is there, exactly once, on every server."""
    found = []
    position = fleet.value(primary, "SELECT @@GLOBAL.gtid_binlog_pos")
    wanted = {number for number in acked if number > since}
    for server in fleet.servers:
        if server is not primary:
            # not longer than a read of fleet.sql() waits
            waited = fleet.value(server, "SELECT MASTER_GTID_WAIT(%s, %s)", position, seconds)
            if waited != 0:
                found.append(f"{server.name} does not reach {position} of {primary.name}")
                continue
        rows = [row["n"] for row in fleet.sql(
            server, f"SELECT n FROM {fleet.database}.ledger WHERE n > %s", since)]
        lost = wanted - set(rows)
        if lost:
            found.append(f"{server.name} lost {len(lost)} acknowledged rows: {sorted(lost)[:5]}")
        if len(rows) != len(set(rows)):
            found.append(f"{server.name} has rows twice")
    return found


def violations(fleet, acked=(), since=0):
    """Everything that is wrong with the fleet at this moment, as sentences."""
    run = fleet.unfinished()
    if run:
        return [f"run {run} is not finished"]
    route = fleet.route()
    found = wrong_roles(fleet, route)
    primary = fleet.by_address.get(route["primary"])
    if primary:
        found += wrong_semi_sync(fleet, primary)
        found += wrong_rows(fleet, primary, acked, since)
    return found


def assert_sound(fleet, acked=(), since=0, seconds=SETTLE_SECONDS):
    """No violation, within a time in which connections may come back."""
    acked = list(acked)
    found = []

    def is_sound():
        try:
            found[:] = violations(fleet, acked, since)
        except (pymysql.err.Error, OSError) as error:
            found[:] = [f"a server does not answer: {error}"]
        return not found

    deadline = time.monotonic() + seconds
    while not is_sound():
        assert time.monotonic() < deadline, "\n  ".join(["the fleet is not sound:", *found])
        time.sleep(0.02)


def hold_command(fleet, server, statement, state):
    """A command that sends a statement to the server and ends when a session is in the state."""
    user, password = fleet.accounts["admin"]
    return shlex.join([sys.executable, os.path.join(HERE, "hold.py"), server.host,
                       str(server.port), user, password, statement, state])


def open_command(fleet, server, *statements, account="app"):
    """A command that sends the statements on one connection of a client, and leaves it open."""
    user, password = fleet.accounts[account]
    return shlex.join([sys.executable, os.path.join(HERE, "hold_open.py"), server.host, str(server.port),
                       user, password, fleet.database, *statements])


def points(fleet, of=None):
    """Every crash point of a move, or those "role." of bringing roles back, "failover." or "handover.":
    "CALL:MOMENT"."""
    everything = fleet.cli("dev", "points", expect=0).stdout.split()
    others = ("role.", "failover.", "handover.")
    return [point for point in everything if (point.startswith(of) if of else not point.startswith(others))]


def selected(items, of=3):
    """All of them in a soak; else every third, beginning with the first."""
    items = list(items)
    return items if SOAK else items[::of]
