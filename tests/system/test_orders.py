# SPDX-License-Identifier: Apache-2.0
"""Runs that conductors carry out: ordered over HTTP, and by the CLI."""
import json
import pathlib
import re
import signal
import time

import pytest

from conftest import wait_until
from test_conductor import Conductors, TOKENS
from test_heal import is_first_opened

SLOW = ["--wave", "canary=1,100%", "--settle", "30"]
RUN = "20200102-030405-06789"


@pytest.fixture
def conductors(lab):
    found = Conductors(lab)
    found.start("west-a")
    found.start("east-a")
    wait_until(lambda: leader(found), 5, "one leads")
    yield found
    found.stop()


def leader(conductors):
    return next((n for n in conductors.running if conductors.health(n)[1].get("leads")), None)


def other(conductors):
    return next(n for n in conductors.running if n != leader(conductors))


def order(conductors, role="operator", at=None, **body):
    return conductors.ask(at or leader(conductors), "/v1/runs", role=role, timeout=20,
                          body=json.dumps(body).encode())


def runs(conductors):
    return conductors.lab.json("run", "list")


def run_of(conductors, run):
    return conductors.lab.json("run", "show", run)


def wait_for_end(conductors, run, seconds=30):
    wait_until(lambda: run_of(conductors, run)["state"] != "running", seconds, f"{run} ends")
    return run_of(conductors, run)


def wait_for_settling(conductors, run):
    """Its first wave is done."""
    def settles():
        shown = run_of(conductors, run)
        return len(shown["routes"]) >= 1 and all(
            route["home"] == shown["to"] and route["state"] == "serving" for route in shown["routes"])
    wait_until(settles, 20, f"the first wave of {run} is done")


def test_a_switchover_is_ordered_and_followed(conductors):
    code, told = order(conductors, kind="switchover", to="east", reason="patching", caller="alice@ops1")
    assert code == 202, told
    with conductors.events(other(conductors), f"/v1/runs/{told['run']}/events") as events:
        heard = list(events)
    assert heard[-1][0] == "end" and heard[-1][1]["state"] == "done"
    shown = run_of(conductors, told["run"])
    assert shown["by"] == "operator-1"
    assert f"operator-1 (alice@ops1, by the API of conductor {leader(conductors)}) ordered a switchover " \
           "to east of s0: patching" in shown["audit"]
    assert shown["report"]["shards"][0]["result"] == "moved" and conductors.lab.primary() == "s0-east-1"
    code, back = order(conductors, kind="switchover", to="west", shards=["s0"])
    assert code == 202
    assert wait_for_end(conductors, back["run"])["state"] == "done"
    assert conductors.lab.primary() == "s0-west-1"
    log = conductors.log(leader(conductors))
    assert "run.order" in log and "alice@ops1" in log


def test_an_order_that_is_not_good_changes_nothing(conductors):
    lead = leader(conductors)

    def send(body, role="operator", **headers):
        code, told = conductors.ask(lead, "/v1/runs", role=role, body=body, headers=headers)
        assert told["error"] and told["hint"]
        return code, told["error"]
    good = b'{"kind": "switchover", "to": "east"}'
    assert send(good, role=None)[0] == 401
    assert send(good, role="viewer")[0] == 403 and send(good, role="agent")[0] == 403
    TOKENS["stranger"] = "stranger-0123456789abcdef"
    try:
        assert send(good, role="stranger")[0] == 401
    finally:
        del TOKENS["stranger"]
    assert send(good, **{"Content-Type": "text/plain"})[0] == 415
    assert send(300000 * b" ")[0] == 413
    for body, said in ((b"{", "no JSON"), (b"[]", "no JSON object"), (b"", "'kind'"), (b"{}", "'kind'"),
                       (b'{"kind": "switchover", "kind": "failover"}', "no JSON"),
                       (b'{"kind": "switchover", "to": "north"}', "'north'"),
                       (b'{"kind": "switchover", "to": "east", "shards": ["s9"]}', "'s9'"),
                       (b'{"kind": "switchover", "to": "east", "force": true}', "'force'"),
                       (b'{"kind": "switchover", "to": "east", "wave": "0"}', "--wave"),
                       (b'{"kind": "failover", "shards": ["s0"], "without": ["10.9.9.9:1"]}', "10.9.9.9:1"),
                       (b'{"kind": "switchover", "to": "east", "reason": "' + 501 * b"x" + b'"}', "'reason'")):
        code, error = send(body)
        assert code == 400 and said in error, (body, error)
    code, error = send(b'{"kind": "failover", "shards": ["s0"]}')
    assert code == 412 and "silent" in error  # it never moved the shard, and nobody is
    conductors.lab.sql("s0-east-1", "STOP SLAVE")
    code, error = send(good)
    assert code == 412 and "not ready" in error and "s0" in error
    assert runs(conductors) == []


@pytest.mark.lab(shards=2)
def test_one_run_at_a_time_and_the_same_order_again_is_the_same_run(conductors):
    slow = {"kind": "switchover", "to": "east", "wave": "canary=1,100%", "settle_s": 30, "run": RUN}
    assert order(conductors, **slow) == (202, {"run": RUN})
    assert order(conductors, **slow) == (202, {"run": RUN})
    code, told = order(conductors, **{**slow, "to": "west"})
    assert code == 409 and "to do something else" in told["error"], told
    code, told = order(conductors, kind="switchover", to="east")
    assert code in (409, 412) and RUN in told["error"]
    assert [run["run"] for run in runs(conductors)] == [RUN]
    code, _ = conductors.ask(other(conductors), f"/v1/runs/{RUN}/abort", role="operator", body=b"{}")
    assert code == 202
    assert wait_for_end(conductors, RUN)["state"] == "aborted"
    assert order(conductors, **slow) == (202, {"run": RUN}) and len(runs(conductors)) == 1


def test_who_does_not_lead_says_who_does(conductors):
    lead = leader(conductors)
    code, told = order(conductors, at=other(conductors), kind="switchover", to="east")
    assert code == 421 and lead in told["error"] and str(conductors.ports[lead]) in told["error"]
    assert runs(conductors) == []


def test_a_lost_primary_is_replaced_on_order(conductors):
    lab = conductors.lab
    lab.cli("lab", "kill", "s0-west-1")
    code, told = order(conductors, kind="failover", shards=["s0"])
    assert code == 202, told
    shown = wait_for_end(conductors, told["run"])
    assert (shown["state"], shown["to"]) == ("done", "west")
    assert lab.primary() in ("s0-west-2", "s0-west-3")


@pytest.mark.lab(shards=2)
def test_the_next_leader_goes_on_with_a_run_whose_conductor_is_killed(conductors):
    lead, heir = leader(conductors), other(conductors)
    code, told = order(conductors, kind="switchover", to="east", wave="canary=1,100%", settle_s=3)
    assert code == 202
    wait_for_settling(conductors, told["run"])
    conductors.end(lead, signal.SIGKILL)
    shown = wait_for_end(conductors, told["run"], 60)
    assert shown["state"] == "done" and shown["report"]["resumed"]
    assert [shard["result"] for shard in shown["report"]["shards"]] == ["moved", "moved"]
    assert f"conductor {heir}@" in shown["audit"] and "took the run over" in shown["audit"] and f"run={told['run']}" in conductors.log(heir)


@pytest.mark.lab(shards=2)
def test_a_conductor_that_is_stopped_hands_its_run_over_at_once(conductors):
    lead = leader(conductors)
    code, told = order(conductors, kind="switchover", to="east", wave="canary=1,100%", settle_s=4)
    assert code == 202
    wait_for_settling(conductors, told["run"])
    assert conductors.end(lead) == 0
    assert run_of(conductors, told["run"])["state"] == "running"
    began = time.monotonic()
    wait_until(lambda: run_of(conductors, told["run"])["alive"], 8, "the next leader has it")
    assert time.monotonic() - began < 8  # the lease of a killed one lasts 10 s
    shown = wait_for_end(conductors, told["run"], 30)
    assert shown["state"] == "done"
    assert [shard["result"] for shard in shown["report"]["shards"]] == ["moved", "moved"]


@pytest.mark.lab(shards=2)
def test_what_moved_goes_back_when_that_was_ordered(conductors):
    code, told = order(conductors, kind="switchover", to="east", wave="canary=1,100%", settle_s=30,
                       on_abort="return")
    assert code == 202
    wait_for_settling(conductors, told["run"])
    assert conductors.ask(leader(conductors), f"/v1/runs/{told['run']}/abort", role="operator",
                          body=b"{}")[0] == 202
    assert wait_for_end(conductors, told["run"])["state"] == "aborted"
    wait_until(lambda: len(runs(conductors)) == 2 and runs(conductors)[-1]["state"] == "done", 20,
               "it went back")
    assert conductors.lab.primary("s0") == "s0-west-1" and conductors.lab.primary("s1") == "s1-west-1"


# ---- by the CLI ----

def only_run(conductors, seconds=20):
    """The run that is under way."""
    def found():
        listed = runs(conductors)
        return listed and listed[-1]["state"] == "running" and listed[-1]["run"]
    return wait_until(found, seconds, "a run is under way")


def test_the_cli_hands_its_order_over_there_and_back(conductors):
    lab = conductors.lab
    done = lab.cli("switchover", "--to", "east", "--yes", "--reason", "patching")
    assert f"is carried out by conductor {leader(conductors)}" in done.stderr
    assert "moved" in done.stdout and lab.primary() == "s0-east-1"
    run = runs(conductors)[0]
    assert run["by"] == "operator-1" and run["reason"] == "patching" and run["state"] == "done"
    back = lab.cli("switchover", "--to", "west", "--yes", "--json")
    report = json.loads(back.stdout)
    assert report["result"] == "done" and report["shards"][0]["result"] == "moved"
    assert report["by"] == "operator-1" and lab.primary() == "s0-west-1"


def test_the_cli_carries_it_out_itself_when_told_so_or_when_nobody_else_does(conductors):
    lab = conductors.lab
    done = lab.cli("switchover", "--to", "east", "--yes", "--direct")
    assert "conductor" not in done.stderr and runs(conductors)[0]["by"] != "operator-1"
    pathlib.Path(lab.dir, "operator.token").rename(f"{lab.dir}/away.token")
    done = lab.cli("switchover", "--to", "west", "--yes")
    assert "! no token of an operator of api.tokens can be read here; carried out by this process" in done.stderr
    pathlib.Path(lab.dir, "away.token").rename(f"{lab.dir}/operator.token")
    for name in list(conductors.running):
        conductors.end(name)
    done = lab.cli("switchover", "--to", "east", "--yes")
    assert "! no conductor takes orders: conductor west-a: " in done.stderr
    assert "carried out by this process" in done.stderr and done.stderr.count("!") == 1
    assert [run["by"] == "operator-1" for run in runs(conductors)] == [False] * 3
    assert lab.primary() == "s0-east-1"


def test_a_token_that_may_not_order_is_refused_and_nothing_is_done(conductors):
    lab = conductors.lab
    wrong = pathlib.Path(lab.dir, "wrong.token")
    wrong.write_text("stranger-0123456789abcdef\n", encoding="utf-8")
    wrong.chmod(0o600)
    for name, said in (("viewer", "role"), ("wrong", "token")):
        done = lab.cli("switchover", "--to", "east", "--yes", check=False,
                       env={"HOLDFAST_TOKEN_FILE": f"{lab.dir}/{name}.token"})
        assert done.returncode == 1 and said in done.stderr and "conductor west-a: " in done.stderr
    assert runs(conductors) == [] and lab.primary() == "s0-west-1"


@pytest.mark.lab(shards=2)
def test_ctrl_c_aborts_the_run_of_the_conductor(conductors):
    move = conductors.lab.popen("switchover", "--to", "east", "--yes", *SLOW)
    run = only_run(conductors)
    wait_for_settling(conductors, run)
    move.send_signal(signal.SIGINT)
    out, said = move.communicate(timeout=30)
    assert move.returncode == 4, said
    assert "it was asked to abort" in said and "was aborted; no shard is in between" in said
    assert "aborted" in out and run_of(conductors, run)["state"] == "aborted"
    assert "asked the run to abort" in run_of(conductors, run)["audit"]


@pytest.mark.lab(shards=2)
def test_the_end_of_the_cli_is_not_the_end_of_the_run(conductors):
    move = conductors.lab.popen("switchover", "--to", "east", "--yes", "--wave", "canary=1,100%",
                                "--settle", "2")
    run = only_run(conductors)
    move.kill()
    move.communicate(timeout=10)
    assert wait_for_end(conductors, run)["state"] == "done"


@pytest.mark.lab(shards=2)
def test_the_cli_follows_the_next_conductor_when_the_first_is_killed(conductors):
    lead = leader(conductors)
    move = conductors.lab.popen("switchover", "--to", "east", "--yes", "--wave", "canary=1,100%",
                                "--settle", "3")
    run = only_run(conductors)
    wait_for_settling(conductors, run)
    conductors.end(lead, signal.SIGKILL)
    out, said = move.communicate(timeout=60)
    assert move.returncode == 0, said
    assert f"conductor {leader(conductors)}@" in said and "took the run over" in said and "moved" in out


@pytest.mark.lab(shards=2)
def test_the_cli_follows_also_what_goes_back(conductors):
    move = conductors.lab.popen("switchover", "--to", "east", "--yes", "--json", "--on-abort", "return",
                                *SLOW)
    wait_for_settling(conductors, only_run(conductors))
    move.send_signal(signal.SIGINT)
    out, said = move.communicate(timeout=60)
    assert move.returncode == 4, said
    report = json.loads(out)
    assert report["result"] == "aborted" and report["return"]["result"] == "done"
    assert conductors.lab.primary("s0") == "s0-west-1"


def test_the_cli_orders_a_failover(conductors):
    lab = conductors.lab
    lab.cli("lab", "kill", "s0-west-1")
    done = lab.cli("failover", "--yes")
    assert "is carried out by conductor" in done.stderr
    assert lab.primary() in ("s0-west-2", "s0-west-3") and runs(conductors)[0]["by"] == "operator-1"


@pytest.mark.lab(shards=2, daemons=True)
def test_in_a_fleet_with_etcd_the_run_outlives_its_conductor(lab):
    wait_until(lambda: is_first_opened(lab), 20, "the primary is open")
    wait_until(lambda: lab.cli("readiness", "--to", "east", check=False).returncode == 0, 60, "it is ready")
    move = lab.popen("switchover", "--to", "east", "--yes", "--wave", "canary=1,100%", "--settle", "3")
    carried = re.compile(r"is carried out by conductor (\S+);")
    conductor = next(found.group(1) for found in map(carried.search, move.stderr) if found)
    run = lab.json("run", "list")[0]["run"]
    wait_until(lambda: [r["home"] for r in lab.json("run", "show", run)["routes"]
                        if r["state"] == "serving"].count("east") == 1, 20, "the first wave is done")
    lab.cli("lab", "kill", f"conductor-{conductor}")
    out, said = move.communicate(timeout=60)
    assert move.returncode == 0, said
    heir = re.search(r"conductor (\S+)@\S+ \(.*\) took the run over", said)
    assert heir and heir.group(1) != conductor, said
    assert lab.json("report", run)["resumed"] and out.count("moved") >= 2


@pytest.mark.lab(shards=2)
def test_when_no_other_conductor_is_left_the_cli_says_what_to_type(conductors):
    conductors.end(other(conductors))
    move = conductors.lab.popen("switchover", "--to", "east", "--yes", *SLOW)
    run = only_run(conductors)
    wait_for_settling(conductors, run)
    conductors.end(leader(conductors), signal.SIGKILL)
    said = next(line for line in move.stderr if "its conductor is gone" in line)
    assert run in said and "waiting for another one to go on with it" in said
    move.send_signal(signal.SIGINT)
    assert "it was asked to abort" in next(line for line in move.stderr if "Ctrl-C once more" in line)
    move.send_signal(signal.SIGINT)
    out, said = move.communicate(timeout=10)
    assert move.returncode == 4 and f"no longer followed; run {run} goes on" in said
    done = conductors.lab.cli("run", "resume", run, check=False)  # the order to abort stays with it
    assert done.returncode == 4 and run_of(conductors, run)["state"] == "aborted"
