# SPDX-License-Identifier: Apache-2.0
"""A fleet whose store is an etcd of three members, one of which is killed or frozen at a time."""
import base64
import json
import pathlib
import select
import shutil
import signal

import pytest

from conftest import wait_until
from etcd_members import running_etcd, use_store

pytestmark = pytest.mark.skipif(not shutil.which("etcd"), reason="etcd-server is not installed")


@pytest.fixture
def etcd(request):
    with running_etcd(**getattr(request, "param", {})) as members:
        yield members


@pytest.fixture
def fleet(lab, etcd):
    """The lab, told to use etcd."""
    use_store(lab, etcd.url)
    done = lab.cli("run", "list", check=False)
    assert done.returncode == 0, done.stderr
    return lab


def region_of_primary(lab):
    return next(s["region"] for s in lab.status()["servers"] if s["name"] == lab.primary())


def region_moved(lab):
    """The shards whose primary is in the east."""
    return {name.split("-")[0] for name, role in lab.roles().items()
            if role == "primary" and "-east-" in name}


def test_a_region_moves_there_and_back_whichever_member_is_lost(fleet, etcd):
    for victim in range(3):
        to = "west" if region_of_primary(fleet) == "east" else "east"
        etcd.kill(victim)
        fleet.cli("switchover", "--to", to, "--yes")
        assert region_of_primary(fleet) == to
        etcd.start(victim)
        etcd.wait_for(victim)
    etcd.signal(0, signal.SIGSTOP)
    fleet.cli("switchover", "--to", "west", "--yes")
    etcd.signal(0, signal.SIGCONT)
    assert region_of_primary(fleet) == "west"
    assert len(fleet.json("run", "list")) == 4


def test_journals_are_kept_beside_the_fleet_file_or_said_to_be_missing(fleet):
    run = fleet.json("switchover", "--to", "east", "--yes")["run"]
    journal = pathlib.Path(fleet.dir, "journals", f"{run}.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert lines[0]["event"] == "begin"
    assert f"journal: {journal}" in fleet.cli("run", "show", run).stdout
    journal.unlink()
    journal.parent.rmdir()
    journal.parent.write_text("in the way")
    done = fleet.cli("switchover", "--to", "west", "--yes")
    assert "journal.failed" in done.stderr and str(journal.parent) in done.stderr
    assert "'journal' in the fleet file" in done.stderr


@pytest.mark.lab(shards=2)
def test_follower_lives_through_a_compaction_that_took_what_it_missed(fleet, etcd):
    """All streams are broken by restarts, after the history since the last change is gone."""
    run = fleet.popen("switchover", "--to", "east", "--yes", "--wave", "1,100%", "--settle", "10")
    wait_until(lambda: "s0" in region_moved(fleet), 20, "the first wave has moved")
    follower = fleet.popen("run", "show", "--follow")
    wait_until(lambda: select.select([follower.stderr], [], [], 0)[0], 20, "it follows")
    junk = {"key": base64.b64encode(b"junk").decode()}
    revision = [etcd.ask("kv/put", junk)["header"]["revision"] for _ in range(9)][-1]
    etcd.ask("kv/compaction", {"revision": revision, "physical": True})
    for member in range(3):
        etcd.kill(member)
        etcd.start(member)
        etcd.wait_for(member)
    out, errors = follower.communicate(timeout=60)
    assert follower.returncode == 0, out + errors
    assert run.wait(timeout=60) == 0
    assert region_moved(fleet) == {"s0", "s1"}


@pytest.mark.parametrize("etcd", [{"election_ms": 1000}], indirect=True, ids=["default-timing"])
def test_lost_leader_costs_an_election_and_no_command(fleet, etcd):
    """With etcd's own default of an election timeout: until it has a leader again, who asks waits."""
    for to in ("east", "west"):
        leader = etcd.leader()
        etcd.kill(leader)
        fleet.cli("run", "list")
        assert region_of_primary(fleet) != to
        etcd.start(leader)
        etcd.wait_for(leader)
        leader = etcd.leader()
        switchover = fleet.popen("switchover", "--to", to, "--yes")
        etcd.kill(leader)
        out, errors = switchover.communicate(timeout=60)
        assert switchover.returncode == 0, out + errors
        assert region_of_primary(fleet) == to
        etcd.start(leader)
        etcd.wait_for(leader)


def test_without_a_majority_nothing_moves(fleet, etcd):
    etcd.kill(0)
    etcd.kill(1)
    before = region_of_primary(fleet)
    done = fleet.cli("switchover", "--to", "east", "--yes", check=False)
    assert done.returncode == 1
    assert "waited 15.0 s for etcd to read: etcd at " in done.stderr
    assert "a majority of the members" in done.stderr
    assert region_of_primary(fleet) == before
