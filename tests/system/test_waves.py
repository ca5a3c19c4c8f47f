# SPDX-License-Identifier: Apache-2.0
"""A run in waves: each must be well before the next; what stops a run, and what happens then."""
import json
import signal
import subprocess
import time

import pytest

from conftest import HOLDFAST, wait_until

FAILED, INVALID, ABORTED = 1, 2, 4
LOCKED_SECONDS = 25  # longer than a gate has patience for


def move(lab, *options, to="east", expect=0, env=None):
    done = lab.cli("switchover", "--to", to, "--yes", "--json", *options, check=False, env=env)
    assert done.returncode == expect, f"{done.returncode}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout) if done.stdout else done.stderr


def homes(lab):
    return {shard["name"]: shard["home"] for shard in lab.json("status", check=False)["shards"]}


def results(report):
    return {shard["name"]: shard["result"] for shard in report["shards"]}


@pytest.mark.lab(shards=3)
def test_waves_follow_each_other(lab):
    report = move(lab, "--wave", "canary=1,66%", "--settle", "1", "--reason", "ticket 4711")
    assert [shard["wave"] for shard in report["shards"]] == ["canary", "wave 2", "rest"]
    assert set(results(report).values()) == {"moved"}
    assert report["took_ms"] > 2000  # two gates of a second each
    assert set(homes(lab).values()) == {"east"}
    assert lab.json("run", "show", report["run"])["reason"] == "ticket 4711"
    assert report["reason"] == "ticket 4711"


@pytest.mark.lab(shards=3)
def test_a_canary_that_is_not_well_stops_the_run(lab):
    """Its old home does not follow: the relay there is stopped as soon as it is one."""
    stop = f"{HOLDFAST} lab freeze s0-west-1 --dir {lab.dir} >/dev/null"
    report = move(lab, "--wave", "canary=1", "--settle", "2", expect=FAILED,
                  env={"HOLDFAST_FAULT": f"cas.serving:after=run:{stop}"})
    lab.cli("lab", "thaw", "s0-west-1")
    assert results(report) == {"s0": "moved", "s1": "stopped", "s2": "stopped"}
    assert report["stopped"].startswith("after canary: s0: "), report["stopped"]
    assert homes(lab) == {"s0": "east", "s1": "west", "s2": "west"}


@pytest.mark.lab(shards=2)
def test_a_canary_at_which_a_client_cannot_write_stops_the_run(lab, tmp_path):
    """All servers are well, but somebody holds a lock at the new primary."""
    at = lab.servers()["s0-east-1"]
    script = tmp_path / "lock.py"
    script.write_text(f"""
import os, pymysql, time
connection = pymysql.connect(host={at["host"]!r}, port={at["port"]}, user="admin",
                             password={lab.password("admin")!r}, connect_timeout=5)
connection.cursor().execute("LOCK TABLES holdfast.probe WRITE")
if os.fork() == 0:
    os.closerange(0, 3)
    time.sleep({LOCKED_SECONDS})
os._exit(0)
""", encoding="utf-8")
    lock = f"/usr/bin/python3 {script}"
    report = move(lab, "--wave", "canary=1", expect=FAILED,
                  env={"HOLDFAST_FAULT": f"cas.serving:after=run:{lock}"})
    assert results(report) == {"s0": "moved", "s1": "stopped"}
    assert "a client's write at" in report["stopped"], report["stopped"]


@pytest.mark.lab(shards=2)
@pytest.mark.parametrize("percent, result", [(0, "stopped"), (60, "moved"), (5, "stopped")])
def test_a_share_of_failed_writes_stops_a_wave_that_settles(lab, percent, result):
    """The table of the gate's writes is away for a moment."""
    with open(lab.fleet, "a", encoding="utf-8") as fleet:
        fleet.write(f"\npolicy: {{ max_error_percent: {percent} }}\n")
    process = lab.popen("switchover", "--to", "east", "--yes", "--json", "--wave", "1", "--settle", "6")
    wait_until(lambda: homes(lab)["s0"] == "east", 20, "the canary has moved")
    count = "SELECT SUM(n) FROM holdfast.probe"
    before = lab.value("s0-east-1", count)
    wait_until(lambda: lab.value("s0-east-1", count) > before, 10, "the gate writes")
    wait_until(lambda: lab.value("s0-east-1", count) > before + 1, 10, "it is well")
    lab.sql("s0-east-1", "RENAME TABLE holdfast.probe TO holdfast.away")
    away = time.monotonic()
    wait_until(lambda: time.monotonic() > away + 0.7, 5, "some writes have failed")
    lab.sql("s0-east-1", "RENAME TABLE holdfast.away TO holdfast.probe")
    out, err = process.communicate(timeout=60)
    report = json.loads(out)
    assert results(report) == {"s0": "moved", "s1": result}, out + err
    if result == "stopped":
        assert "a client's write at" in report["stopped"], report["stopped"]
    if percent == 5:
        assert "writes failed, more than policy.max_error_percent (5)" in report["stopped"]


@pytest.mark.lab(shards=2)
@pytest.mark.parametrize("point", ["run.end:after", "run.take:before", "run.take:after"])
def test_a_return_outlives_the_process_that_was_to_do_it(lab, point):
    """It dies between the run that was stopped and the return."""
    kill = f"{HOLDFAST} lab kill s1-east-1 --dir {lab.dir} >/dev/null"
    move(lab, "--wave", "1,2", "--on-abort", "return", expect=-signal.SIGKILL,
         env={"HOLDFAST_FAULT": f"cas.serving:after=run:{kill};{point}=kill"})
    waiting = lab.json("run", "show")
    assert waiting["to"] == "west" and waiting["names"] == ["s0"], waiting
    report = lab.json("run", "resume")
    assert results(report) == {"s0": "moved"} and set(homes(lab).values()) == {"west"}
    states = [run["state"] for run in lab.json("run", "list")]
    assert states == ["failed", "done"], states


@pytest.mark.lab(shards=2)
def test_a_return_does_not_stay_open_for_a_shard_that_serves_nobody(lab):
    """Its primary was restarted before the return began: it is not in between."""
    kill = f"{HOLDFAST} lab kill s1-east-1 --dir {lab.dir} >/dev/null"
    move(lab, "--wave", "1,2", "--on-abort", "return", expect=-signal.SIGKILL,
         env={"HOLDFAST_FAULT": f"cas.serving:after=run:{kill};run.take:after=kill"})
    lab.cli("lab", "kill", "s0-east-1")
    lab.cli("lab", "restart", "s0-east-1", "--bare")
    report = json.loads(lab.cli("run", "resume", "--json", check=False).stdout)
    assert results(report) == {"s0": "undone"}, report
    assert "no run is unfinished" in lab.cli("run", "show", check=False).stderr


@pytest.mark.lab(shards=3)
def test_what_moved_goes_back_when_that_was_ordered(lab):
    """The second shard's relay is dead when its wave comes: more than no failure."""
    kill = f"{HOLDFAST} lab kill s1-east-1 --dir {lab.dir} >/dev/null"
    report = move(lab, "--wave", "1,2,3", "--on-abort", "return", expect=FAILED,
                  env={"HOLDFAST_FAULT": f"cas.serving:after=run:{kill}"})
    assert results(report) == {"s0": "moved", "s1": "undone", "s2": "stopped"}
    assert report["stopped"].startswith("1 shard did not move, and none may stay behind (--max-failures): s1: ")
    assert results(report["return"]) == {"s0": "moved"} and report["return"]["to"] == "west"
    assert set(homes(lab).values()) == {"west"}
    runs = {run["run"]: run["state"] for run in lab.json("run", "list")}
    assert runs[report["run"]] == "failed" and runs[report["return"]["run"]] == "done"


@pytest.mark.lab(shards=2)
def test_interrupted_between_two_waves(lab):
    process = lab.popen("switchover", "--to", "east", "--yes", "--json", "--wave", "1",
                        "--settle", "60", "--on-abort", "return")
    wait_until(lambda: homes(lab)["s0"] == "east", 20, "the canary has moved")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    report = json.loads(out)
    assert process.returncode == ABORTED, err
    assert results(report) == {"s0": "moved", "s1": "aborted"}
    assert results(report["return"]) == {"s0": "moved"}
    assert set(homes(lab).values()) == {"west"}


@pytest.fixture
def hangup_ends():
    """As at a terminal: also when the tests run under nohup, whose children ignore it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.lab(shards=2)
def test_a_run_outlives_its_terminal(lab, hangup_ends):
    """It goes away between two waves; and before the go, when nothing is to happen."""
    asked = lab.popen("switchover", "--to", "east", stdin=subprocess.PIPE)
    asked.stderr.read(1)  # it shows the plan: its signals are set
    asked.send_signal(signal.SIGHUP)
    assert asked.wait(timeout=20) == -signal.SIGHUP and lab.json("run", "list") == []
    process = lab.popen("switchover", "--to", "east", "--yes", "--json", "--wave", "1", "--settle", "2")
    wait_until(lambda: homes(lab)["s0"] == "east", 20, "the canary has moved")
    process.send_signal(signal.SIGHUP)
    process.stderr.close()
    assert set(results(json.loads(process.stdout.read())).values()) == {"moved"}
    assert process.wait(timeout=20) == 0


@pytest.mark.lab(shards=2)
def test_a_long_run_is_estimated_in_minutes(lab):
    move(lab)
    words = ("switchover", "--to", "west", "--wave", "1", "--settle", "600")
    asked = lab.cli(*words, check=False)
    assert asked.returncode == ABORTED and "estimated: 10:0" in asked.stderr, asked


def test_a_reason_is_a_line_that_can_be_shown(lab):
    for command in (("pause",), ("switchover", "--to", "east")):
        done = lab.cli(*command, "--reason", "x" * 501, check=False)
        assert done.returncode == INVALID and "at most 500" in done.stderr, done


@pytest.mark.lab(shards=2)
def test_what_a_killed_process_had_moved_goes_back_too(lab):
    """It was killed between the end of the move and its report."""
    move(lab, "--wave", "1", "--on-abort", "return", expect=-signal.SIGKILL,
         env={"HOLDFAST_FAULT": "cas.serving:after=kill"})
    assert homes(lab) == {"s0": "east", "s1": "west"}
    shown = lab.cli("run", "show").stdout
    assert "s1: not moved yet" in shown, shown
    report = json.loads(lab.cli("run", "abort", "--json", check=False).stdout)
    assert results(report) == {"s0": "moved", "s1": "aborted"}
    assert "the outage is not known" in report["shards"][0]["notes"], report
    assert results(report["return"]) == {"s0": "moved"}
    assert set(homes(lab).values()) == {"west"}


def test_a_shape_that_is_none_is_refused_before_anything(lab):
    for words, says in [(("--wave", "canary"), "'canary' is neither"),
                        (("--wave", "50%,25%"), "less than the wave before"),
                        (("--on-abort", "maybe"), "neither 'stay' nor 'return'"),
                        (("--settle", "-1"), "--settle"), (("--max-failures", "x"), "--max-failures")]:
        assert says in move(lab, *words, expect=INVALID)
    assert lab.json("run", "list") == []
