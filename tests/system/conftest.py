# SPDX-License-Identifier: Apache-2.0
"""What the system tests share: labs of real servers.

    @pytest.mark.lab(shards=2)          # 1 when there is no mark
    def test_something(lab):
        lab.cli("lab", "kill", "s0-west-1")
        lab.sql("s0-west-2", "SELECT @@read_only")

A lab is fresh for each test and lives in a folder of its own; whatever the test did, nothing is left
of it. `make_lab` makes more than one. Tests wait for events with a deadline (`wait_until`).
"""
import contextlib
import itertools
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import pymysql
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOLDFAST = os.environ.get("HOLDFAST", str(ROOT / "build" / "holdfast"))
CLI_SECONDS = 120


def pytest_configure(config):
    config.addinivalue_line("markers", "lab(shards=1, tls=False, daemons=False, wan=()): what the lab of the test is like")
    config.addinivalue_line("markers", "alone: compares times, so that nothing may run beside it")


def wait_until(condition, seconds, what):
    """The first true value of condition(); fails when there is none within the time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.005)


def is_of_lab(words, folder):
    """A server or an etcd with its data in this folder, or a daemon of its fleet."""
    fleet = f"{folder}/holdfast.yaml"
    return (any(word.startswith((f"--defaults-file={folder}/", f"--data-dir={folder}/"))
                for word in words)
            or (fleet in words and ("conductor" in words or "agent" in words))
            or (folder in words and ("keep" in words or "join" in words)))


def lab_processes(folder):
    """The processes of the lab in this folder: {pid: command line}."""
    folder = os.path.realpath(folder)
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            words = pathlib.Path("/proc", entry, "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            continue
        if is_of_lab(words, folder):
            found[int(entry)] = words
    return found


class Lab:
    """One lab, and the fleet it is. Its folder exists only while it is up."""

    def __init__(self, folder):
        self.dir = str(folder)
        self.fleet = f"{self.dir}/holdfast.yaml"
        self.env = {**os.environ, "HOLDFAST_LAB": self.dir, "HOLDFAST_FLEET": self.fleet}
        self._servers = None

    def popen(self, *args, env=None, **options):
        """Start a command; its output is in pipes unless options say otherwise."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen([HOLDFAST, *args], env={**self.env, **(env or {})}, **options)

    def cli(self, *args, check=True, env=None, timeout=CLI_SECONDS):
        """Run a command to its end. With check, it has to succeed."""
        done = subprocess.run([HOLDFAST, *args], env={**self.env, **(env or {})}, text=True,
                              capture_output=True, timeout=timeout, check=False,
                              stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            pytest.fail(f"holdfast {' '.join(args)} ended with {done.returncode}:\n"
                        f"{done.stdout}{done.stderr}")
        return done

    def json(self, *args, check=True, **options):
        """Run a command with --json; what it printed."""
        return json.loads(self.cli(*args, "--json", check=check, **options).stdout)

    def up(self, shards=1, tls=False, daemons=False, wan=()):
        self._servers = None
        network = [] if "--network" in wan else ["--network", "loopback"]
        return self.cli("lab", "up", "--shards", str(shards), *(["--tls"] if tls else []),
                        *(["--daemons"] if daemons else []), *network, *wan)

    def status(self):
        return self.json("lab", "status")

    def servers(self):
        """All servers as `lab status` gives them, by name. Addresses never change; roles do."""
        if self._servers is None:
            self._status = self.status()
            self._servers = {server["name"]: server for server in self._status["servers"]}
        return self._servers

    def roles(self):
        return {server["name"]: server["role"] for server in self.status()["servers"]}

    def daemons(self):
        """All daemons as `lab status` gives them, by name."""
        return {daemon["name"]: daemon for daemon in self.status()["daemons"]}

    def pid(self, name):
        """The process of a server now; 0 when it is down."""
        return next(s["pid"] for s in self.status()["servers"] if s["name"] == name)

    def address(self, name):
        server = self.servers()[name]
        return f"{server['host']}:{server['port']}"

    def primary(self, shard="s0"):
        """The name of the only server of a shard that is primary."""
        found = [name for name, role in self.roles().items()
                 if role == "primary" and name.startswith(shard + "-")]
        assert len(found) == 1, f"{shard} has the primaries {found}"
        return found[0]

    def password(self, user):
        return pathlib.Path(self.dir, f"{user}.password").read_text().strip()

    def connect(self, name, user="admin", timeout=5, **options):
        """A pymysql connection, autocommit. Users: admin, app, holdfast, repl, probe."""
        server = self.servers()[name]
        options = {"connect_timeout": timeout, "read_timeout": timeout, "write_timeout": timeout,
                   "autocommit": True, "cursorclass": pymysql.cursors.DictCursor, **options}
        if self._status["tls_ca"]:
            options.setdefault("ssl", {"ca": self._status["tls_ca"]})
        return pymysql.connect(host=server["host"], port=server["port"], user=user,
                               password=self.password(user), **options)

    def sql(self, name, query, *values, user="admin", timeout=5):
        """The rows of one statement as dicts, on a connection of its own."""
        with self.connect(name, user=user, timeout=timeout) as connection:
            with connection.cursor() as cursor:
                cursor.execute(query, values or None)
                return list(cursor.fetchall())

    def value(self, name, query, *values, **options):
        """The first column of the first row, or None."""
        rows = self.sql(name, query, *values, **options)
        return next(iter(rows[0].values())) if rows else None

    def wait_for_roles(self, expected, seconds=10):
        """Wait until `lab status` shows these roles, given as {name: role}."""
        def seen():
            roles = self.roles()
            return all(roles[name] == role for name, role in expected.items())
        wait_until(seen, seconds, f"roles {expected}; now {self.roles()}")

    def wait_for_replication(self, shard="s0", seconds=10):
        """Wait until all servers of a shard have what its primary has."""
        primary = self.primary(shard)
        position = self.value(primary, "SELECT @@GLOBAL.gtid_binlog_pos")
        for name in self.servers():
            if name.startswith(shard + "-") and name != primary:
                waited = self.value(name, "SELECT MASTER_GTID_WAIT(%s, %s)", position, seconds,
                                    timeout=seconds + 5)
                assert waited == 0, f"{name} does not have {position} within {seconds} s"

    def destroy(self):
        """Down, also when `lab down` does not do it."""
        try:
            self.cli("lab", "down", check=False)
        finally:
            for pid in lab_processes(self.dir):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


@pytest.fixture
def make_lab():
    """A function that makes labs: make_lab(shards=2), or make_lab(shards=0) for one not started."""
    with (tempfile.TemporaryDirectory(prefix="holdfast-test-") as parent,
          contextlib.ExitStack() as ends):  # all of them, also when one cannot be ended
        numbers = itertools.count()

        def make(shards=1, tls=False, daemons=False, wan=()):
            lab = Lab(os.path.join(parent, f"lab{next(numbers)}"))
            ends.callback(lab.destroy)
            if shards:
                lab.up(shards, tls, daemons, wan)
            return lab

        yield make


@pytest.fixture
def lab(request, make_lab):
    mark = request.node.get_closest_marker("lab")
    return make_lab(**(mark.kwargs if mark else {}))
