# SPDX-License-Identifier: Apache-2.0
"""What is shown live: a watched status, a followed run, a countdown; and the pause, which all show."""
import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from conftest import HOLDFAST, wait_until

FAILED, INVALID, ABORTED, STUCK, KILLED = 1, 2, 4, 5, -signal.SIGKILL


def catches(pid, number):
    """Has the process a handler for the signal?"""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"(?m)^SigCgt:\s*(\w+)", status)[1], 16) >> (number - 1) & 1


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, lab, *args, rows=24, columns=100, env=None):
        self.fd, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen([HOLDFAST, *args], env={**lab.env, **(env or {})}, stdin=end,
                                        stdout=end, stderr=end, start_new_session=True)
        os.close(end)
        self.text = ""

    def read(self):
        while select.select([self.fd], [], [], 0)[0]:
            try:
                more = os.read(self.fd, 65536)
            except OSError:  # the other end is closed
                return self.text
            self.text += more.decode()
        return self.text

    def wait_for(self, words, seconds=30):
        wait_until(lambda: words in self.read(), seconds, f"'{words}' on the terminal: {self.text}")

    def end(self, seconds=20):
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read()
            time.sleep(0.01)
        code = self.process.wait(timeout=1)
        self.read()
        os.close(self.fd)
        return code


@pytest.mark.lab(shards=2)
def test_status_is_watched_and_survives_dead_servers(lab):
    screen = Terminal(lab, "status", "--watch", "--interval", "1", rows=7)
    screen.wait_for("s1")
    lab.cli("lab", "kill", "s0-west-1")
    screen.wait_for("! s0")
    assert "more lines" in screen.read()  # fewer rows than there is to say
    for frame in screen.text.split("\x1b[H")[1:]:
        assert frame.count("\n") <= 6, frame
    lab.cli("pause", "--reason", "maintenance")
    screen.wait_for("! paused by ")
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 0

    process = lab.popen("status", "--watch", "--interval", "1", "--json")
    documents = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert all(document["shards"][0]["name"] == "s0" for document in documents)
    assert "maintenance" in documents[0]["paused"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    process.communicate()


def test_a_pause_is_shown_to_all_and_stops_no_order(lab):
    assert lab.json("status")["paused"] is None
    said = lab.cli("pause", "--reason", "network \x1b[31mworks", "--for", "2h").stdout
    assert re.search(r"^paused by \S+@\S+ \(.*\) since \S+Z until \S+Z: network .*works$", said.strip())
    assert "\x1b" not in said
    assert "paused by" in lab.cli("status").stdout and "paused by" in lab.json("status")["paused"]
    finding = next(f for f in lab.json("readiness")["findings"] if f["check"] == "paused")
    assert finding["severity"] == "warning"
    moved = lab.cli("switchover", "--to", "east", "--yes")
    assert "paused by" in moved.stderr
    assert "it was paused by" in lab.cli("pause", "--reason", "again", "--for", "1s").stdout
    wait_until(lambda: lab.json("status")["paused"] is None, 10, "the pause ended by itself")
    lab.cli("pause")
    assert "it was paused by" in lab.cli("unpause").stdout
    assert lab.cli("unpause").stdout == "it was not paused\n"
    for wrong in ("soon", "0s", "3000h"):
        assert lab.cli("pause", "--for", wrong, check=False).returncode == INVALID


@pytest.mark.lab(shards=3)
def test_a_run_is_followed_from_elsewhere(lab):
    assert "no run is unfinished" in lab.cli("run", "show", "--follow", check=False).stderr
    run = lab.popen("switchover", "--to", "east", "--yes", "--wave", "1", "--settle", "4")
    wait_until(lambda: lab.json("run", "list"), 20, "the run began")
    screen = Terminal(lab, "run", "show", "--follow")
    plain = lab.popen("run", "show", "--follow")
    screen.wait_for("1 of 3 shards done")
    left = lab.popen("run", "show", "--follow")
    wait_until(lambda: catches(left.pid, signal.SIGINT), 20, "it takes Ctrl-C")
    left.send_signal(signal.SIGINT)
    assert "goes on" in left.communicate(timeout=20)[1] and left.returncode == ABORTED
    assert screen.end(40) == 0
    assert "3 of 3 shards done" in screen.text and "done in" in screen.text
    out, err = plain.communicate(timeout=20)
    assert plain.returncode == 0 and "3 of 3 shards done" in err and "\x1b" not in err, err
    assert "write outage" in out
    progress = run.communicate(timeout=20)[1]
    assert run.returncode == 0 and "3 of 3 shards done" in progress and "\x1b" not in progress
    again = lab.cli("run", "show", lab.json("run", "list")[0]["run"], "--follow")
    assert again.returncode == 0 and again.stderr == "" and "done in" in again.stdout


def test_following_ends_as_the_run_does(lab):
    dead = lab.cli("switchover", "--to", "east", "--yes", check=False,
                   env={"HOLDFAST_FAULT": "cas.frozen:after=kill"})
    assert dead.returncode == KILLED
    gone = lab.cli("run", "show", "--follow", check=False)
    assert gone.returncode == STUCK and "run resume" in gone.stderr, gone.stderr
    lab.cli("run", "abort", check=False)
    run = lab.json("run", "list")[0]
    assert run["state"] == "aborted"
    assert lab.cli("run", "show", run["run"], "--follow", check=False).returncode == ABORTED


def test_a_countdown_may_be_stopped(lab):
    screen = Terminal(lab, "switchover", "--to", "east", "--yes", "--countdown", "30")
    screen.wait_for("beginning in 30 s")
    screen.wait_for("beginning in 29 s")
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == ABORTED and "nothing was changed" in screen.text
    assert lab.json("run", "list") == []
    screen = Terminal(lab, "switchover", "--to", "east", "--yes", "--countdown", "1")
    assert screen.end(30) == 0 and "west -> east: 1 of 1 shard done" in screen.text


@pytest.mark.parametrize("shards", [4, 1])
def test_a_slow_shard_is_named(make_lab, shards):
    """A hook holds it back until the display has said so: slower than the others, or, of a single one,
    than in an earlier run."""
    lab, last = make_lab(shards=shards), f"s{shards - 1}"
    to = "east"
    if shards == 1:
        lab.json("switchover", "--to", "east", "--yes")
        to = "west"
    script, go = pathlib.Path(lab.dir, "wait"), pathlib.Path(lab.dir, "go")
    script.write_text(f'#!/bin/sh\nwhile [ $HOLDFAST_SHARD = {last} ] && [ ! -e {go} ]; do sleep 0.05; done')
    script.chmod(0o755)
    with open(lab.fleet, "a", encoding="utf-8") as fleet:
        fleet.write(f"\nhooks: [ {{ name: wait, events: [ shard.before ], exec: [ {script} ], "
                    "timeout: 100s } ]\n")
    run = lab.popen("switchover", "--to", to, "--yes")
    said = ""
    while "is slow: " not in said:
        line = run.stderr.readline()
        assert line, said
        said += line
    go.touch()
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0
    assert re.search(rf"^{last} is slow: looked at for \d+\.\d s; usually", said, re.M), said + err
    slow = [entry for entry in journal_of(lab, lab.json("run", "list")[-1]["run"])
            if entry["event"] == "slow"]
    assert [entry["shard"] for entry in slow] == [last], out


def journal_of(lab, run):
    path = pathlib.Path(lab.dir, "store", "journal", f"{run}.jsonl")
    with contextlib.suppress(FileNotFoundError):
        return [json.loads(line) for line in path.read_text().splitlines()]
    return []
