# SPDX-License-Identifier: Apache-2.0
"""The lab with daemons: etcd, conductors, agents under their keepers; hosts and regions lost as one.

Where nobody but the lab may close, end or move anything, agents are stand-ins, which only give signs of
life, and so conductors do not act."""
import contextlib
import json
import os
import pathlib
import signal
import stat
import time
import urllib.error
import urllib.request

import pytest

from conftest import HOLDFAST, lab_processes, wait_until
from test_heal import is_first_opened

GRACE_SECONDS = 2
HOSTS = [f"{region}-{number}" for region in ("west", "east") for number in (1, 2, 3)]
CONDUCTORS = [f"conductor-{region}-{n}" for region in ("west", "east") for n in (1, 2)]
ETCD = ["etcd-west", "etcd-east", "etcd-witness"]

STAND_IN = f"""#!/usr/bin/python3
import contextlib, os, socket, sys, time
if sys.argv[1] != "agent":
    os.execv("{HOLDFAST}", ["holdfast", *sys.argv[1:]])
open(sys.argv[sys.argv.index("--fleet") + 1]).close()
signs = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
while True:
    with contextlib.suppress(OSError):
        signs.sendto(b"READY=1\\nWATCHDOG=1", "\\0" + os.environ["NOTIFY_SOCKET"][1:])
    time.sleep(0.2)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    path = tmp_path / "stand-in"
    path.write_text(STAND_IN)
    path.chmod(0o755)
    monkeypatch.setenv("HOLDFAST_LAB_PROGRAM", str(path))


def assert_nothing_left(lab):
    assert not lab_processes(lab.dir)
    assert not os.path.exists(lab.dir)


def states(lab):
    """The state of every process: servers that run have their role."""
    status = lab.status()
    return {**{each["name"]: each["role"] for each in status["servers"]},
            **{each["name"]: each["state"] for each in status["daemons"]}}


def those(lab, state):
    return {name for name, is_now in states(lab).items() if is_now == state}


def wait_for_agent(lab, name, former=0):
    """Until another one than 'former' runs; it."""
    def found():
        agent = lab.daemons()[name]
        return agent["state"] == "up" and agent["pid"] != former and agent["pid"]
    return wait_until(found, 10, f"{name} runs")


def health(lab, name):
    daemon = lab.daemons()[name]
    url = f"http://{daemon['host']}:{daemon['port']}/"
    url += "health" if daemon["kind"] == "etcd" else "v1/health"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def serves(lab, name):
    """As a load balancer hears it. Its agent may have closed it before anybody was permitted anything."""
    is_first_opened(lab)
    conductor = lab.daemons()["conductor-west-1"]
    url = f"http://{conductor['host']}:{conductor['port']}/servers/{lab.address(name)}/primary"
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status == 200
    return False


@pytest.mark.lab(daemons=True)
def test_the_lab_is_a_fleet_with_all_of_its_daemons(lab):
    status, daemons = lab.status(), lab.daemons()
    assert status["state"] == "up"
    assert sorted(daemons) == sorted(
        ETCD + CONDUCTORS + [f"{kind}-{host}" for host in HOSTS for kind in ("agent", "keeper")])
    for name, daemon in daemons.items():
        assert daemon["state"] == "up" and name.startswith(daemon["kind"])
        assert os.getsid(daemon["pid"]) == daemon["pid"], "survives the terminal"
    for name in ETCD:
        assert health(lab, name)["health"] == "true"
    for name in CONDUCTORS:
        assert health(lab, name)
    for role in ("viewer", "operator", "agent"):
        path = pathlib.Path(lab.dir, f"{role}.token")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and len(path.read_text()) == 41
    shown = lab.cli("lab", "status").stdout
    assert "agent-west-1" in shown and "etcd-witness" in shown
    wait_until(lambda: serves(lab, "s0-west-1"), 20, "s0-west-1 is permitted to serve, and does")
    assert lab.primary() == "s0-west-1" and "as conductor west-1 saw it" in lab.cli("status").stdout
    assert "runs already: 6 servers and their daemons" in lab.cli("lab", "up", "--daemons").stdout


def leader(lab):
    return [name for name, daemon in lab.daemons().items() if daemon["leads"]]


@pytest.mark.lab(daemons=True, tls=True)
def test_etcd_is_led_from_the_witness_and_from_where_one_says(lab):
    assert leader(lab) == ["etcd-witness"]
    for site in ("west", "east", "west", "witness"):
        assert "led from" in lab.cli("lab", "leader", site).stdout
        assert leader(lab) == [f"etcd-{site}"]
    assert sum("leads" in line for line in lab.cli("lab", "status").stdout.splitlines()) == 1
    lab.cli("lab", "freeze", "etcd-witness")
    wait_until(lambda: leader(lab) not in ([], ["etcd-witness"]), 20, "another one leads")
    refused = lab.cli("lab", "leader", "witness", check=False)
    assert refused.returncode != 0 and "etcd-witness did not become the leader" in refused.stderr
    lab.cli("lab", "thaw", "etcd-witness")
    lab.cli("lab", "leader", "witness")
    assert leader(lab) == ["etcd-witness"]


def test_the_permission_and_what_heals_itself_are_as_one_says(make_lab):
    lab = make_lab(shards=0)
    for options, part in ((["--ttl", "3s"], "add --daemons"), (["--automatic", "host"], "add --daemons"),
                          (["--daemons", "--ttl", "1ms"], "from 500ms to 60s"),
                          (["--daemons", "--ttl", "x"], "from 500ms to 60s"),
                          (["--daemons", "--automatic", "all"], "region")):
        refused = lab.cli("lab", "up", *options, check=False)
        assert refused.returncode != 0 and part in refused.stderr, options
    assert not os.path.exists(lab.dir)
    options = ["--daemons", "--network", "loopback", "--ttl", "1500ms", "--automatic", "region"]
    lab.cli("lab", "up", *options)
    fleet = pathlib.Path(lab.fleet).read_text(encoding="utf-8")
    assert "ttl: 1500ms" in fleet and "automatic: region" in fleet
    assert "runs already" in lab.cli("lab", "up", *options).stdout
    assert "runs already" in lab.cli("lab", "up", "--daemons").stdout
    for other in (["--ttl", "2s"], ["--automatic", "none"]):
        refused = lab.cli("lab", "up", "--daemons", *other, check=False)
        assert refused.returncode != 0 and "there is a lab" in refused.stderr


@pytest.mark.lab(daemons=True)
def test_each_kind_can_be_killed_frozen_thawed_and_started_again(lab):
    for name in ("conductor-east-2", "etcd-witness"):
        pid = lab.daemons()[name]["pid"]
        refused = lab.cli("lab", "restart", name, check=False)
        assert refused.returncode == 1 and f"{name} runs (pid {pid})" in refused.stderr
        lab.cli("lab", "freeze", name)
        assert those(lab, "frozen") == {name} and lab.status()["state"] == "partly"
        lab.cli("lab", "thaw", name)
        assert lab.daemons()[name]["pid"] == pid and lab.status()["state"] == "up"
        lab.cli("lab", "kill", name)
        assert those(lab, "down") == {name}
        lab.cli("lab", "restart", name)
        assert lab.daemons()[name]["pid"] not in (0, pid) and lab.status()["state"] == "up"
    pid = lab.daemons()["agent-west-1"]["pid"]
    before = lab_processes(lab.dir)
    lab.cli("lab", "kill", "agent-west-1")
    wait_for_agent(lab, "agent-west-1", pid)
    assert len(before) == len(lab_processes(lab.dir)) and not those(lab, "down")
    lab.cli("lab", "kill", "keeper-west-1")
    assert those(lab, "down") == {"keeper-west-1"}
    lab.cli("lab", "restart", "agent-west-1")  # with its keeper
    assert not those(lab, "down")
    lab.cli("lab", "down")
    assert_nothing_left(lab)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.lab(daemons=True)
def test_a_host_and_a_region_are_lost_and_come_back_as_one(lab):
    host = {"s0-west-1", "agent-west-1", "keeper-west-1"}
    region = {f"{kind}west-{n}" for kind in ("s0-", "agent-", "keeper-") for n in (1, 2, 3)} | {
        "conductor-west-1", "conductor-west-2", "etcd-west"}
    before = {name: each["pid"] for name, each in lab.daemons().items()}
    lab.cli("lab", "freeze", "west-1")
    assert those(lab, "frozen") == host
    lab.cli("lab", "freeze", "west")
    assert those(lab, "frozen") == region
    time.sleep(GRACE_SECONDS + 1)  # nobody may hold this against anybody
    lab.cli("lab", "thaw", "west")
    time.sleep(GRACE_SECONDS + 1)
    assert not those(lab, "frozen") and not those(lab, "down")
    assert {name: each["pid"] for name, each in lab.daemons().items()} == before
    for word, all_of_it in (("west-1", host), ("west", region)):
        lab.cli("lab", "kill", word)
        assert those(lab, "down") == all_of_it
        said = lab.cli("lab", "restart", word).stdout
        assert "s0-west-1 runs again" in said and "keeper-west-1 runs again" in said
        assert not those(lab, "down") and lab.roles()["s0-west-1"] in ("fenced", "replica")
    kept = list(pathlib.Path(lab.dir, "evidence").glob("*/*/*"))
    assert any("binlog.0" in path.name for path in kept), "logs, before the server started again"


@pytest.mark.usefixtures("stand_in")
@pytest.mark.lab(daemons=True)
def test_servers_end_when_their_agent_stays_away_or_hangs(lab):
    fleet, aside = pathlib.Path(lab.fleet), pathlib.Path(lab.fleet + ".aside")
    fleet.rename(aside)  # no agent can start without it
    lab.cli("lab", "kill", "agent-west-2", "agent-east-3")
    away = time.monotonic()
    wait_until(lambda: those(lab, "down") >= {"s0-west-2", "s0-east-3"}, 10, "servers are ended")
    assert time.monotonic() - away > GRACE_SECONDS - 0.5
    aside.rename(fleet)
    wait_for_agent(lab, "agent-west-2")
    wait_for_agent(lab, "agent-east-3")
    assert those(lab, "down") == {"s0-west-2", "s0-east-3"}, "these, and they stay down"
    lab.cli("lab", "restart", "s0-west-2", "s0-east-3")
    assert not those(lab, "down")
    log = pathlib.Path(lab.dir, "log/keeper-west-2.log").read_text()
    assert "agent-west-2: ended s0-west-2, which has no agent" in log

    pid = lab.daemons()["agent-west-1"]["pid"]
    lab.cli("lab", "freeze", "agent-west-1")
    lab.cli("lab", "thaw", "agent-west-1")  # soon enough
    lab.cli("lab", "freeze", "agent-west-1")
    wait_for_agent(lab, "agent-west-1", pid)
    wait_until(lambda: "s0-west-1" in those(lab, "down"), 10, "its server is ended")
    assert those(lab, "down") == {"s0-west-1"}


@pytest.mark.lab(daemons=True, tls=True)
def test_with_tls_everything_is_spoken_to_under_it(lab):
    wait_until(lambda: "as conductor west-1 saw it" in (done := lab.cli("status", check=False)).stdout
               and done.returncode == 0, 20, "a conductor has seen all servers")
    assert "https" in pathlib.Path(lab.dir, "log/etcd-west.log").read_text()
    assert lab.cli("fleet", "check").returncode == 0
    lab.cli("lab", "kill", "east")
    lab.cli("lab", "restart", "east")
    assert lab.status()["state"] == "up"


def fake_etcd(folder, body):
    path = pathlib.Path(folder, "bin", "etcd")
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{body}\nexec /usr/bin/etcd \"$@\"\n")
    path.chmod(0o755)
    return {"PATH": f"{path.parent}:{os.environ['PATH']}"}


def test_an_etcd_that_does_not_start_is_named_and_nothing_is_left(make_lab, tmp_path):
    lab = make_lab(shards=0)
    env = fake_etcd(tmp_path, 'case "$1" in *witness*) echo "no room on the moon"; exit 1 ;; esac')
    done = lab.cli("lab", "up", "--daemons", check=False, env=env)
    assert done.returncode == 1
    assert "etcd-witness ended while it started: no room on the moon" in done.stderr
    assert_nothing_left(lab)


def test_an_interrupted_up_leaves_nothing(make_lab, tmp_path):
    lab = make_lab(shards=0)
    env = fake_etcd(tmp_path, 'case "$1" in *-west|*-east) exec sleep 60 ;; esac')
    up = lab.popen("lab", "up", "--daemons", env=env)  # never a majority
    assert up.stdout.readline().startswith("template")
    wait_until(lambda: len(lab_processes(lab.dir)) >= 7, 20, "servers run")
    up.send_signal(signal.SIGINT)
    out, err = up.communicate(timeout=20)
    assert up.returncode == 4 and "interrupted" in err, out + err
    assert_nothing_left(lab)


def test_an_up_that_was_killed_among_its_daemons_is_cleaned_up(make_lab):
    lab = make_lab(shards=0)
    up = lab.popen("lab", "up", "--daemons")
    for line in up.stdout:
        if line.startswith("roles"):
            break
    wait_until(lambda: any("keep" in words for words in lab_processes(lab.dir).values()), 20,
               "keepers run")
    up.kill()
    up.communicate()
    lab.cli("lab", "down")
    assert_nothing_left(lab)
