# SPDX-License-Identifier: Apache-2.0
"""Hooks with real programs: what they are told, and that nothing they do harms a run.

A hook is a few lines of sh beside the lab; what it hears it appends to a file of its own.
"""
import json
import pathlib
import re
import signal

import pytest

from conftest import wait_until

DONE, FAILED, ABORTED, KILLED = 0, 1, 4, -signal.SIGKILL
HEAR = 'cat >>"$(dirname "$0")/$HOLDFAST_HOOK.heard"; echo >>"$(dirname "$0")/$HOLDFAST_HOOK.heard"\n'
STATES = ["shard.preparing", "shard.frozen", "shard.promoting", "shard.redirecting", "shard.serving"]


class Hooks:
    """Adds hooks to a lab's fleet file, and reads what they heard."""

    def __init__(self, lab):
        self.lab, self.entries = lab, []
        self.without = pathlib.Path(lab.fleet).read_text()

    def script(self, name, body, mode=0o755):
        path = pathlib.Path(self.lab.dir, name)
        path.write_text(f"#!/bin/sh\n{body}")
        path.chmod(mode)
        return str(path)

    def add(self, name, events, body=HEAR, undo=None, exec=None, **keys):
        entry = {"name": name, "events": events, "exec": exec or [self.script(name, body)], **keys}
        if undo:
            entry["undo"] = [self.script(f"un{name}", undo)]
        self.entries.append(entry)
        pathlib.Path(self.lab.fleet).write_text(
            self.without + "\nhooks: " + json.dumps(self.entries) + "\n")

    def heard(self, name):
        path = pathlib.Path(self.lab.dir, f"{name}.heard")
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def events(self, name):
        return [news["event"] for news in self.heard(name)]


@pytest.fixture
def hooks(lab):
    return Hooks(lab)


def move(lab, *options, to="east", expect=DONE, env=None):
    done = lab.cli("switchover", "--to", to, "--yes", "--json", *options, check=False, env=env)
    assert done.returncode == expect, f"{done.returncode}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout) if done.stdout else done.stderr


def tally(report, name):
    return next(hook for hook in report["hooks"] if hook["name"] == name)


def homes(lab):
    return [shard["home"] for shard in lab.json("status", check=False)["shards"]]


@pytest.mark.lab(shards=2)
def test_a_run_that_nothing_stopped_takes_nothing_back(lab, hooks):
    """Without waves what can move does, and --on-abort is of runs that are stopped."""
    hooks.add("gate", ["shard.before"], '[ "$HOLDFAST_SHARD" != s1 ]\n', required=True)
    report = move(lab, "--on-abort", "return", expect=FAILED)
    assert [shard["result"] for shard in report["shards"]] == ["moved", "undone"]
    assert "return" not in report and homes(lab) == ["east", "west"]


@pytest.mark.lab(shards=3)
def test_a_process_that_was_replaced_takes_nothing_back(lab, hooks):
    """It stood still between two waves until another one had finished its run."""
    hooks.add("freeze", ["shard.before"],
              f'[ "$HOLDFAST_SHARD" = s1 ] && [ ! -e {lab.dir}/frozen ] && '
              f'touch {lab.dir}/frozen && kill -STOP $PPID\n:\n')
    process = lab.popen("switchover", "--to", "east", "--yes", "--json", "--wave", "1,2", "--on-abort",
                        "return")
    wait_until(pathlib.Path(lab.dir, "frozen").exists, 20, "the first wave is over")
    wait_until(lambda: lab.cli("run", "resume", check=False).returncode == DONE, 30, "taken over")
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=30)
    assert homes(lab) == ["east", "east", "east"]
    assert [run["state"] for run in lab.json("run", "list")] == ["done"]


def test_a_hook_hears_all_of_a_run(lab, hooks):
    hooks.add("ear", ["run.before", "wave.before", "shard.before", *STATES, "shard.after",
                      "wave.after", "run.after"])
    report = move(lab, "--reason", "ticket 4711", env={"SECRET_PASSWORD": "hunter2"})
    heard = hooks.heard("ear")
    assert [news["event"] for news in heard] == [
        "run.before", "wave.before", "shard.before", *STATES, "shard.after", "wave.after",
        "run.after"]
    for news in heard:
        assert news["run"] == report["run"] and news["kind"] == "switchover"
        assert (news["from"], news["to"], news["resumed"]) == ("west", "east", False)
        assert news["by"] == report["by"] and news["reason"] == "ticket 4711" and news["time"]
    frozen = next(news for news in heard if news["event"] == "shard.frozen")
    assert (frozen["shard"], frozen["wave"], frozen["state"]) == ("s0", "all", "frozen")
    assert frozen["old_primary"] == frozen["primary"] == lab.address("s0-west-1")
    assert frozen["new_primary"] == lab.address("s0-east-1")
    serving = next(news for news in heard if news["event"] == "shard.serving")
    assert serving["primary"] == lab.address("s0-east-1")
    assert serving["epoch"] == frozen["epoch"] + 1
    assert heard[0]["shards"] == ["s0"] and heard[-1]["result"] == "done"
    assert tally(report, "ear")["calls"] == len(heard) and tally(report, "ear")["failures"] == []
    assert "hook ear: 11 calls, slowest" in lab.cli("report", report["run"]).stdout


def test_gates_of_a_run(lab, hooks):
    """One lab: nothing moves until the last of them."""
    a_required_hook_keeps_a_run_from_beginning(lab, hooks)
    hooks.entries.clear()
    an_abort_does_not_wait_for_a_gate(lab, hooks)
    hooks.entries.clear()
    a_hook_gets_little_of_our_environment_and_no_descriptor(lab, hooks)


def a_hook_gets_little_of_our_environment_and_no_descriptor(lab, hooks):
    body = ('env >"$(dirname "$0")/env"; ls -l /proc/self/fd >"$(dirname "$0")/fds"; '
            'pwd >"$(dirname "$0")/pwd"; cat /dev/stdin >/dev/null\n')
    hooks.add("look", ["run.before"], body, required=True)
    move(lab, env={"SECRET_PASSWORD": "hunter2"})
    folder = pathlib.Path(lab.dir)
    env = (folder / "env").read_text()
    assert "hunter2" not in env and "HOLDFAST_FLEET" not in env and "PATH=" in env
    assert "HOLDFAST_EVENT=run.before" in env and "HOLDFAST_HOOK=look" in env
    assert (folder / "pwd").read_text() == "/\n"
    assert "store.db" not in (folder / "fds").read_text()


@pytest.mark.lab(shards=2)
def test_a_required_hook_keeps_one_shard_from_moving(lab, hooks):
    hooks.add("no", ["shard.before"], 'grep -q \'"shard":"s1"\' && { echo "not s1"; exit 3; }; exit 0',
              required=True, undo=HEAR)
    report = move(lab, expect=FAILED)
    s0, s1 = report["shards"]
    assert (s0["result"], s1["result"]) == ("moved", "undone")
    assert "hook 'no'" in s1["error"] and "exit status 3: not s1" in s1["error"], s1
    assert s1["epoch"] == 0 or s1["epoch"] == s0["epoch"] - 1  # nothing was changed
    assert homes(lab) == ["east", "west"]
    assert hooks.heard("no") == []  # it did not succeed: nothing to undo


def a_required_hook_keeps_a_run_from_beginning(lab, hooks):
    hooks.add("drain", ["run.before"], undo=HEAR, required=True)
    hooks.add("no", ["run.before"], "echo 'change freeze until Monday' >&2; exit 1", required=True)
    report = move(lab, expect=FAILED)
    assert "exit status 1: change freeze until Monday" in report["stopped"]
    assert report["shards"][0]["result"] == "stopped" and homes(lab) == ["west"]
    assert hooks.events("drain") == ["run.before", "run.undo"]
    assert lab.json("run", "list")[0]["state"] == "failed"


MISBEHAVIOURS = {
    "hangs": ("sleep 1000", "timed_out", "did not end within 300 ms"),
    "deaf": ("trap '' TERM; sleep 1000 & wait; sleep 1000", "timed_out", "did not end"),
    "floods": ("yes 0123456789", "timed_out", "was killed: 0123456789"),
    "fails": ("exit 9", "failed", "exit status 9"),
    "dies": ("kill -SEGV $$", "failed", "killed by signal 11"),
    "hostile": (r"""printf '\033[2J\033]0;x\a\377\376</td><script>alert(1)</script>\342\200\256\n{"a":'; exit 1""",
                "failed", "<script>"),
    "forks": ("(sleep 3; echo late) & exit 1", "failed", "exit status 1"),
    "daemon": ("setsid sleep 5 & exit 0", None, None),
    "closes": ("exec 0<&- 1>&- 2>&-; exit 4", "failed", "exit status 4"),
    "prints": ("head -c 100000 /dev/zero | tr '\\0' x; exit 1", "failed", "xxx..."),
}


def test_nothing_that_a_hook_does_harms_a_run(lab, hooks):
    """All at once, on each event; each is reported as what it is, and the outage is as ever."""
    for name, (body, _, _) in MISBEHAVIOURS.items():
        hooks.add(name, ["run.before", *STATES, "run.after"], body, timeout="300ms")
    hooks.add("missing", ["shard.frozen"], exec=["/nowhere/there"])
    hooks.add("plain", ["shard.frozen"], exec=[hooks.script("plain.sh", "exit 0", mode=0o644)])
    hooks.add("folder", ["shard.frozen"], exec=["/tmp"])
    report = move(lab)
    assert report["shards"][0]["result"] == "moved" and report["shards"][0]["lost_transactions"] == 0
    assert report["shards"][0]["critical_ms"] < 290  # no call is waited for there
    for name, (_, kind, says) in MISBEHAVIOURS.items():
        counts = tally(report, name)
        if kind is None:
            assert counts["failures"] == [], counts
            continue
        assert counts[kind] >= 1, counts
        assert all(says in failure["why"] for failure in counts["failures"]), counts
    for name, says in [("missing", "No such file"), ("plain", "ermission denied"),
                       ("folder", "ermission denied")]:
        assert tally(report, name)["not_started"] == 1
        assert says in tally(report, name)["failures"][0]["why"]
    assert tally(report, "hangs")["given_up"] and tally(report, "hangs")["not_called"] > 0
    assert tally(report, "prints")["failures"][0]["output_bytes"] == 100000
    assert len(tally(report, "prints")["failures"][0]["output"]) <= 4096

    for command in (["report", report["run"]], ["run", "show", report["run"]]):
        shown = lab.cli(*command).stdout
        assert "\x1b" not in shown and "\a" not in shown and "\u202e" not in shown
    journal = pathlib.Path(lab.dir, "store", "journal", f"{report['run']}.jsonl").read_bytes()
    assert b"\\u001b" not in journal and b"\x1b" not in journal
    assert sum(json.loads(line)["event"] == "hook" for line in journal.decode().splitlines()) > 20
    page = lab.cli("report", report["run"], "--html", "-").stdout
    assert "<script" not in page and "&lt;script&gt;alert" in page and "hostile: run.before" in page


@pytest.mark.lab(shards=2)
def test_what_succeeded_is_undone_when_its_shard_came_back(lab, hooks):
    hooks.add("step", ["shard.frozen", "shard.after"], undo=HEAR)
    hooks.add("run", ["run.before", "run.after"], undo=HEAR)
    report = move(lab, "--max-failures", "9", expect=FAILED,
                  env={"HOLDFAST_FAULT": "cas.promoting:before=fail"})
    back = [shard["name"] for shard in report["shards"] if shard["result"] == "undone"]
    assert len(back) == 1
    step = hooks.heard("step")
    assert [news["shard"] for news in step if news["event"] == "shard.undo"] == back
    events = [news["event"] for news in step if news["shard"] == back[0]]
    assert events == ["shard.frozen", "shard.undo", "shard.after"]
    assert hooks.events("run") == ["run.before", "run.undo", "run.after"]
    assert tally(report, "step")["undos"] == 1


def test_a_hook_that_kills_the_conductor_leaves_a_run_that_resumes(lab, hooks):
    hooks.add("killer", ["shard.frozen"], '[ -e "$0.done" ] || { touch "$0.done"; kill -9 $PPID; }')
    hooks.add("ear", ["run.before", "shard.serving", "shard.after", "run.after"])
    lab.cli("switchover", "--to", "east", "--yes", check=False)
    assert pathlib.Path(lab.dir, "killer.done").exists()
    assert lab.json("run", "list")[0]["state"] == "running"
    report = lab.json("run", "resume")
    assert report["result"] == "done" and homes(lab) == ["east"]
    again = [news for news in hooks.heard("ear") if news["resumed"]]
    assert [news["event"] for news in again][0] == "run.before"
    assert [news["event"] for news in again][-3:] == ["shard.serving", "shard.after", "run.after"]
    assert again[-1]["result"] == "done"


def an_abort_does_not_wait_for_a_gate(lab, hooks):
    hooks.add("slow", ["run.before"], 'touch "$0.began"; sleep 60', timeout="60s", required=True)
    process = lab.popen("switchover", "--to", "east", "--yes", "--json")
    wait_until(pathlib.Path(lab.dir, "slow.began").exists, 20, "the hook began")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert process.returncode == ABORTED, err
    assert tally(json.loads(out), "slow")["cancelled"] == 1 and homes(lab) == ["west"]


def test_hooks_are_tried_by_hand(lab, hooks):
    hooks.add("ear", ["shard.frozen"], "cat; exit 0", undo="echo undone; exit 5")
    hooks.add("gone", ["run.after"], exec=["/nowhere/there"])
    done = lab.cli("hook", "test", "ear")
    assert '"event":"shard.frozen"' in done.stdout and '"kind":"test"' in done.stdout
    assert '"event":"run.before"' in lab.cli("hook", "test", "ear", "--event", "run.before").stdout
    undone = lab.cli("hook", "test", "ear", "--undo", check=False)
    assert undone.returncode == FAILED and "exit status 5: undone" in undone.stderr
    assert "No such file" in lab.cli("hook", "test", "gone", check=False).stderr
    assert "holdfast hook list" in lab.cli("hook", "test", "nobody", check=False).stderr
    assert "/nowhere/there does not exist here" in lab.cli("hook", "list").stdout
    assert "run.before  (a required hook can stop it)" in lab.cli("hook", "events").stdout
    refuse_wrong_ones(lab, hooks)


def refuse_wrong_ones(lab, hooks):
    for entry, says in [
            ({"events": ["run.befor"], "exec": ["/bin/true"]}, "did you mean 'run.before'"),
            ({"events": ["run.after"], "exec": ["true"]}, "full path"),
            ({"events": ["run.after"], "exec": ["/bin/true"], "required": True}, "can stop"),
            ({"events": ["run.after"], "exec": ["/bin/true"], "required": "yes"}, "true nor false"),
            ({"events": ["run.after"], "exec": "/bin/true"}, "exec"),
            ({"events": ["run.after"], "exec": ["/bin/true"], "timeout": "0s"}, "longer than 0")]:
        pathlib.Path(lab.fleet).write_text(
            hooks.without + "\nhooks: " + json.dumps([{"name": "bad", **entry}]) + "\n")
        done = lab.cli("hook", "list", check=False)
        assert done.returncode == 2 and says in done.stderr and "holdfast.yaml:" in done.stderr, done


@pytest.mark.lab(shards=4)
def test_a_probe_is_not_confused_by_processes_that_start(lab, hooks):
    """A process that is being started holds copies of descriptors that are closed meanwhile: what
    happened on them was taken for an event of a shard that was done with, and ended the conductor
    in 12 of 20 runs."""
    for number in range(8):
        hooks.add(f"h{number}", ["shard.before", *STATES, "shard.after"], exec=["/bin/true"])
    for to in ("east", "west", "east", "west"):
        done = lab.cli("switchover", "--to", to, "--yes", check=False)
        assert done.returncode in (DONE, FAILED), done  # this may be no calm machine


def test_a_hook_that_cannot_be_called_is_said_before_the_run(lab, hooks):
    hooks.add("gate", ["run.before"], required=True, exec=["/no/such/gate"])
    hooks.add("news", ["run.after"], exec=["/no/such/news"])
    hooks.add("tidy", ["run.after"])
    found = {f["problem"]: f["severity"] for f in lab.json("readiness", check=False)["findings"]
             if f["check"] == "hook-missing"}
    assert found == {"hook 'gate', which must agree: /no/such/gate does not exist here": "no-go",
                     "hook 'news': /no/such/news does not exist here": "warning"}, found
    assert "not ready" in lab.cli("switchover", "--to", "east", "--yes", check=False).stderr
    pathlib.Path(lab.fleet).write_text(pathlib.Path(lab.fleet).read_text() +
                                       "policy: { accept: [ hook-missing ] }\n")
    move(lab, expect=FAILED)


def test_a_run_that_waits_for_a_hook_says_so_everywhere(lab, hooks):
    go = pathlib.Path(lab.dir, "go")
    hooks.add("slow", ["wave.before"], f"while [ ! -e {go} ]; do sleep 0.1; done\n", timeout="20s")
    process = lab.popen("switchover", "--to", "east", "--yes")
    seen = wait_until(lambda: lab.json("run", "show", check=False)["waits"] if lab.json("run", "list") else None,
                      15, "the run says what it waits for")
    said = re.compile(r"waiting for hook slow \(wave.before, \d+ s of 20 s\)")
    assert said.fullmatch(seen), seen
    assert said.search(lab.cli("run", "show").stdout)
    follow = lab.popen("run", "show", "--follow")
    line = wait_until(lambda: said.search(follow.stderr.readline()), 10, "who follows it sees it")
    run = lab.json("run", "list")[0]["run"]
    journal = pathlib.Path(lab.dir, "store", "journal", f"{run}.jsonl").read_text()
    assert "slow: wave.before all, at most 20000 ms" in journal and line
    go.touch()
    err = process.communicate(timeout=30)[1]
    assert process.returncode == DONE and len(said.findall(err)) == 1, err
    follow.communicate(timeout=10)
    assert lab.json("run", "show", run)["waits"] is None
