# SPDX-License-Identifier: Apache-2.0
"""The real conductor on simulated servers (tests/sim): more shards than real ones would allow.

    def test_something(make_sim):
        sim = make_sim("--fault", "3:1:dead", shards=20)
        sim.cli("switchover", "--to", "east", "--yes")

At its end each simulation must have seen no unknown statement, no two writable servers in a shard,
and no loss; `sim.end()` gives what it saw.
"""
import contextlib
import json
import os
import pathlib
import select
import signal
import subprocess
import tempfile
import time

import pymysql
import pytest

from conftest import CLI_SECONDS, HOLDFAST, wait_until

BUILD = pathlib.Path(HOLDFAST).parent
SIMFLEET = pathlib.Path(os.environ.get("SIMFLEET", BUILD / "simfleet"))
SHARDS = 20
CONTROL, PROBE = "holdfast", "probe"


@pytest.fixture(scope="module", autouse=True)
def _simfleet():
    if "SIMFLEET" not in os.environ:
        subprocess.run(["ninja", "-C", str(BUILD), "simfleet"], check=True,
                       stdout=subprocess.DEVNULL, timeout=300)


class Sim:
    """One simulated fleet in a folder, and the commands on it."""

    def __init__(self, folder, options, shards):
        self.dir = folder
        self.fleet = f"{folder}/holdfast.yaml"
        self.env = {**os.environ, "HOLDFAST_FLEET": self.fleet}
        self.errors = open(f"{folder}/stderr", "w+")
        self.process = subprocess.Popen(
            [SIMFLEET, "--shards", str(shards), "--fleet", self.fleet, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.port = int(self.line().split(" port ")[1].split()[0])

    def line(self, seconds=10):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        assert ready, f"simfleet said nothing for {seconds} s"
        return self.process.stdout.readline()

    def fault(self, text):
        """Let it happen now."""
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        assert self.line() == f"ok {text}\n"

    def popen(self, *args):
        return subprocess.Popen([HOLDFAST, *args], env=self.env, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def cli(self, *args, code=0):
        """What it printed; with code None it may end as it likes."""
        done = subprocess.run([HOLDFAST, *args], env=self.env, text=True, capture_output=True,
                              timeout=CLI_SECONDS, check=False, stdin=subprocess.DEVNULL)
        assert code in (None, done.returncode), f"{args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *args, code=0):
        return json.loads(self.cli(*args, "--json", code=code))

    def switchover(self, region, code=0):
        """{shard: report}"""
        report = self.json("switchover", "--to", region, "--yes", code=code)
        return {shard["name"]: shard for shard in report["shards"]}

    def homes(self):
        """{shard: region}; None while it is frozen."""
        shards = self.json("status", code=None)["shards"]
        return {shard["name"]: shard["home"] for shard in shards}

    def findings(self):
        found = self.json("readiness", code=3)["findings"]
        return {(one["check"], one["server"]) for one in found if one["severity"] == "no-go"}

    def address(self, shard, server):
        return f"127.100.{shard // 40}.{shard % 40 * 6 + server + 1}:{self.port}"

    def password_file(self, user):
        return pathlib.Path(self.dir, f"{user}.password")

    def connect(self, shard, server, user=CONTROL):
        return pymysql.connect(host=self.address(shard, server).split(":")[0], port=self.port,
                               user=user, password=self.password_file(user).read_text(),
                               read_timeout=5)

    def end(self, code=0):
        """End it, and give what it saw."""
        self.process.stdin.close()
        seen = json.loads(self.line())
        assert self.process.wait(10) == code, self.said()
        self.process.stdout.close()
        return seen

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def destroy(self, is_ok):
        try:
            if self.process.returncode is None and self.process.poll() is not None:
                pytest.fail(f"simfleet died: {self.process.returncode}\n{self.said()}")
            if is_ok and self.process.returncode is None:
                self.end()
        finally:
            self.process.kill()
            self.process.wait()
            self.errors.close()


@pytest.fixture
def make_sim(request):
    with contextlib.ExitStack() as ends:
        parent = ends.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-sim-"))

        def make(*options, shards=SHARDS):
            folder = tempfile.mkdtemp(dir=parent)
            sim = Sim(folder, options, shards)
            ends.callback(lambda: sim.destroy(not request.node.session.testsfailed))
            return sim

        yield make


def value(connection, query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


# --- Moves ------------------------------------------------------------------------------------


def test_all_shards_move_there_and_back(make_sim):
    sim = make_sim("--freeze-cap", "8")
    assert sim.json("readiness")["go"]
    for region in ("east", "west"):
        shards = sim.switchover(region)
        assert {shard["result"] for shard in shards.values()} == {"moved"}
        assert sum(shard["lost_transactions"] for shard in shards.values()) == 0
        assert set(sim.homes().values()) == {region}
    assert sim.json("readiness")["go"]
    seen = sim.end()
    assert (seen["opened"], seen["two_primaries"], seen["lost"]) == (2 * SHARDS, 0, 0)
    assert seen["rss_peak_kib"] < 20000 or "SIMFLEET" in os.environ


def test_the_distance_between_the_regions_is_in_the_outage(make_sim):
    sim = make_sim("--rtt", "west=15", shards=2)
    shards = sim.switchover("east")
    assert all(15 <= shard["critical_ms"] < 45 for shard in shards.values())
    assert all(shard["write_outage_ms"] >= 12 for shard in shards.values())


def test_the_outage_is_measured_where_every_answer_takes_its_time(make_sim):
    """Somebody always waits at the old primary, also while the probe gets to know the new one."""
    sim = make_sim("--fault", "0:0:slow=15", "--fault", "0:3:slow=40", shards=1)
    for region in ("east", "west", "east"):
        assert sim.switchover(region)["s0"]["write_outage_ms"] is not None


def test_a_conductor_killed_in_the_middle_leaves_a_run_that_is_resumed(make_sim):
    sim = make_sim("--freeze-cap", "1")
    run = sim.popen("switchover", "--to", "east", "--yes")
    wait_until(lambda: "east" in sim.homes().values(), 10, "the first shard is there")
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert set(sim.homes().values()) != {"east"}
    sim.cli("run", "resume")
    assert set(sim.homes().values()) == {"east"}
    assert sim.end()["lost"] == 0


# --- Faults -----------------------------------------------------------------------------------


def test_servers_that_are_dead_or_hang_are_named_after_one_deadline(make_sim):
    sim = make_sim("--fault", "3:2:dead", "--fault", "7:4:hang")
    began = time.monotonic()
    assert sim.findings() == {("unreachable", sim.address(3, 2)),
                              ("unreachable", sim.address(7, 4))}
    assert time.monotonic() - began < 5
    sim.fault("3:2:up")
    sim.fault("7:4:up")
    assert sim.findings() == {("replication-broken", sim.address(3, 2))}
    with sim.connect(3, 2) as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL rpl_semi_sync_slave_enabled=1")
        cursor.execute("START SLAVE")
    assert sim.json("readiness")["go"]


def test_a_slow_server_shows_in_the_lag(make_sim):
    sim = make_sim("--fault", "1:3:slow=100", shards=2)
    lags = {shard["name"]: shard["lag_ms"] for shard in sim.json("status")["shards"]}
    assert lags["s1"] >= 100 > lags["s0"]


@pytest.mark.parametrize("fault", ["5:0:freeze-timeout", "5:3:promote-fails"])
def test_a_shard_that_cannot_move_is_undone_and_the_others_go(make_sim, fault):
    sim = make_sim("--fault", fault, "--freeze-cap", "8")
    shards = sim.switchover("east", code=1)
    stayed = [name for name, shard in shards.items() if shard["result"] != "moved"]
    assert stayed == ["s5"] and shards["s5"]["result"] == "undone"
    assert [name for name, home in sim.homes().items() if home == "west"] == ["s5"]
    with sim.connect(5, 0, PROBE) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE probe SET n = n WHERE FALSE")


def test_the_new_primary_that_dies_before_its_promotion_leaves_the_old_one_open(make_sim):
    sim = make_sim("--fault", "2:3:dead@22", "--freeze-cap", "4", shards=4)
    shards = sim.switchover("east", code=1)
    assert {shard["result"] for shard in shards.values()} == {"moved", "undone"}
    assert sim.homes()["s2"] == "west"


def test_a_wrong_password_is_refused_by_every_server(make_sim):
    sim = make_sim(shards=2)
    right = sim.password_file(CONTROL).read_text()
    sim.password_file(CONTROL).write_text("wrong")
    assert sim.findings() >= {("login-refused", sim.address(shard, server))
                              for shard in range(2) for server in range(6)}
    sim.password_file(CONTROL).write_text(right)
    sim.password_file("repl").write_text("wrong")
    assert {check for check, _ in sim.findings()} == {"replication-login"}


# --- The simulation itself --------------------------------------------------------------------


def test_a_statement_that_is_not_known_is_an_error_and_ends_badly(make_sim):
    sim = make_sim(shards=1)
    with sim.connect(0, 0) as connection, pytest.raises(pymysql.err.ProgrammingError) as raised:
        value(connection, "SELECT @@nothing_of_the_kind")
    assert raised.value.args[0] == 1064 and "nothing_of_the_kind" in raised.value.args[1]
    assert sim.end(code=1)["unknown"] == 1
    assert "nothing_of_the_kind" in sim.said()


def test_the_nth_statement_fails_as_ordered(make_sim):
    sim = make_sim("--fault", "0:0:error=1205@3", shards=1)  # the client's greeting is the first
    with sim.connect(0, 0) as connection:
        assert value(connection, "SELECT @@server_id") == "1"
        with pytest.raises(pymysql.err.OperationalError) as raised:
            value(connection, "SELECT @@server_id")
        assert raised.value.args[0] == 1205
        assert value(connection, "SELECT @@server_id") == "1"


def test_two_writable_servers_and_a_lost_write_are_noticed(make_sim):
    sim = make_sim("--lag", "5000", shards=1)
    with sim.connect(0, 0, PROBE) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO probe (slot, n, at_us) VALUES (1, 1, 0)"
                       " ON DUPLICATE KEY UPDATE n = n + 1")
    with sim.connect(0, 3) as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL read_only=0")
    seen = sim.end(code=1)
    assert (seen["two_primaries"], seen["lost"]) == (1, 1)


def test_the_user_lock_has_one_holder_and_kill_frees_it(make_sim):
    sim = make_sim(shards=1)
    with contextlib.ExitStack() as ends:
        first, second = (ends.enter_context(sim.connect(0, 0)) for _ in range(2))
        assert value(first, "SELECT GET_LOCK('holdfast', 0.000)") == "1"
        assert value(second, "SELECT GET_LOCK('holdfast', 0.050)") == "0"
        holder = value(second, "SELECT IS_USED_LOCK('holdfast')")
        assert int(holder) == first.thread_id()
        with second.cursor() as cursor:
            cursor.execute(f"KILL {holder}")
        assert value(second, "SELECT GET_LOCK('holdfast', 1.000)") == "1"
        first._force_close()


def test_a_position_is_waited_for_until_replication_has_it(make_sim):
    sim = make_sim("--lag", "200", shards=1)
    with sim.connect(0, 0) as primary, sim.connect(0, 4) as replica:
        with primary.cursor() as cursor:
            cursor.execute("INSERT INTO probe (slot, n, at_us) VALUES (1, 1, 0)"
                           " ON DUPLICATE KEY UPDATE n = n + 1")
        position = value(primary, "SELECT @@gtid_binlog_pos")
        began = time.monotonic()
        assert value(replica, f"SELECT MASTER_GTID_WAIT('{position}', 0.100)") == "-1"
        assert value(replica, f"SELECT MASTER_GTID_WAIT('{position}', 2.000)") == "0"
        assert 0.35 < time.monotonic() - began < 1  # by way of the relay: twice the lag
        assert value(replica, "SELECT @@gtid_slave_pos") == position
