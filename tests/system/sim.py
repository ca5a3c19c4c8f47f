# SPDX-License-Identifier: Apache-2.0
"""Simulated fleets (tests/sim) for the real conductor, and the commands on them.

    from sim import make_sim  # noqa: F401 a fixture

    def test_something(make_sim):
        sim = make_sim("--fault", "3:1:dead", shards=20)
        sim.cli("switchover", "--to", "east", "--yes")

At its end each simulation must have seen no unknown statement, no two writable servers in a shard,
and no loss; `sim.end()` gives what it saw.
"""
import contextlib
import functools
import json
import os
import pathlib
import pty
import re
import select
import subprocess
import tempfile
import threading
import time

import pymysql
import pytest

from conftest import CLI_SECONDS, HOLDFAST, wait_until

BUILD = pathlib.Path(HOLDFAST).parent
SIMFLEET = pathlib.Path(os.environ.get("SIMFLEET", BUILD / "simfleet"))
SHARDS = 20  # of a simulation that does not say
NO_GO = 3  # exit status of what was refused
CONTROL, PROBE = "holdfast", "probe"


@functools.cache
def build():
    if "SIMFLEET" not in os.environ:
        subprocess.run(["ninja", "-C", str(BUILD), "simfleet"], check=True,
                       stdout=subprocess.DEVNULL, timeout=300)


class Sim:
    """One simulated fleet in a folder, and the commands on it."""

    def __init__(self, folder, options, shards):
        build()
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

    def set_policy(self, **times):
        path = pathlib.Path(self.fleet)
        text = path.read_text()
        for name, time_text in times.items():
            text = re.sub(rf"{name}: \S+", f"{name}: {time_text}", text)
        path.write_text(text)

    def be_patient(self):
        """Let no bound of a move be shorter than this machine may stand still."""
        self.set_policy(freeze_timeout="5s", max_lag="5s", move_timeout="30s")

    def popen(self, *args, stderr=subprocess.PIPE):
        return subprocess.Popen([HOLDFAST, *args], env=self.env, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)

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


class Command:
    """One command that runs, with a terminal for its display: what it showed, when, and how much
    memory it took at most."""

    def __init__(self, sim, *words):
        self.terminal, inside = pty.openpty()
        self.process = sim.popen(*words, stderr=inside)
        os.close(inside)
        self.shown = b""
        self.counts = []  # (time, shards done) each time when it was drawn
        self.began = time.monotonic()
        self.peak_kib = 0
        self.out = ""
        self.readers = [threading.Thread(target=self.watch), threading.Thread(target=self.read_out)]
        for reader in self.readers:
            reader.start()

    def watch(self):
        with contextlib.suppress(OSError):  # EIO: nobody writes there any more
            while piece := os.read(self.terminal, 65536):
                self.shown += piece
                for done in re.findall(rb"(\d+) of \d+ shards done", piece):
                    self.counts.append((time.monotonic() - self.began, int(done)))
                self.measure()
        os.close(self.terminal)

    def read_out(self):
        self.out = self.process.stdout.read()

    def measure(self):
        """Not ru_maxrss: that one remembers the process that started this one."""
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    self.peak_kib = max(self.peak_kib, int(line.split()[1]))

    def done(self):
        """How many shards it says are done."""
        return self.counts[-1][1] if self.counts else 0

    def end(self, seconds=CLI_SECONDS):
        """Its exit status."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"not within {seconds} s\n{self.words()}"
            self.measure()
            time.sleep(0.02)
        for reader in self.readers:
            reader.join()
        return self.process.returncode

    def words(self):
        return self.shown.decode(errors="replace")


def order(sim, *words):
    """A switchover that has come to its shards. A machine that stands still for a second is refused
    as servers that do not answer: then once more."""
    def begun():
        command = Command(sim, "switchover", *words)
        while command.process.poll() is None and command.done() < 5:
            time.sleep(0.005)
        if command.process.poll() != NO_GO:
            return command
        command.end()
        assert "no answer" in command.words(), command.words()
        return None

    return wait_until(begun, CLI_SECONDS, "the fleet is ready")
