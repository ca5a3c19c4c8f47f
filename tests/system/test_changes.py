# SPDX-License-Identifier: Apache-2.0
"""What changes while an operator reads, between two runs, or under a run that was left: the go is
given for what was shown, and the route says what is."""
import pathlib
import subprocess

import pytest

from conftest import wait_until
from moves import DONE, KILLED, Writers, assert_sound, of_lab

FAILED, ABORTED = 1, 4


def at_the_prompt(lab):
    """A switchover that asks for the go."""
    process = lab.popen("switchover", "--to", "east", stdin=subprocess.PIPE)
    seen = ""
    while "Type the name" not in seen:
        byte = process.stderr.read(1)
        assert byte, seen
        seen += byte
    return process


def route(lab, shard="s0"):
    run = lab.json("run", "list")[-1]["run"]
    routes = {one["shard"]: one for one in lab.json("run", "show", run)["routes"]}
    return routes[shard]


def test_a_plan_that_is_not_true_any_more_is_not_carried_out(lab):
    process = at_the_prompt(lab)
    lab.cli("switchover", "--to", "east", "--yes")
    _, err = process.communicate("east\n", timeout=30)
    assert process.returncode == FAILED and "not what the plan said" in err, err
    assert route(lab)["home"] == "east" and lab.primary() == "s0-east-1"
    assert len(lab.json("run", "list")) == 1


def test_what_became_a_no_go_at_the_prompt_is_refused(lab):
    process = at_the_prompt(lab)
    lab.sql(lab.primary(), "SET GLOBAL rpl_semi_sync_master_enabled=0")
    _, err = process.communicate("east\n", timeout=30)
    assert process.returncode == 3 and "semi-sync" in err, err
    assert lab.primary() == "s0-west-1"


def test_interrupted_at_the_prompt(lab):
    process = at_the_prompt(lab)
    process.send_signal(2)
    _, err = process.communicate(timeout=30)
    assert process.returncode == ABORTED and "nothing was changed" in err, err
    assert lab.json("run", "list") == []


def test_a_shard_that_was_moved_by_hand_is_taken_over_where_it_is(lab):
    """Also when it is where it is wanted, and nothing has to move."""
    lab.cli("switchover", "--to", "east", "--yes")
    lab.cli("switchover", "--to", "west", "--yes")
    before = route(lab)
    lab.cli("switchover", "--to", "east", "--yes")
    assert route(lab)["epoch"] == before["epoch"] + 1
    # the regions change their names: what the route says of the home is wrong now
    text = pathlib.Path(lab.fleet).read_text()
    swapped = text.replace("west", "WEST").replace("east", "west").replace("WEST", "east")
    pathlib.Path(lab.fleet).write_text(swapped)
    report = lab.json("switchover", "--to", "west", "--yes")
    assert report["shards"][0]["result"] == "already there"
    assert "taken over" in report["shards"][0]["notes"]
    assert route(lab)["home"] == "west"


def test_an_old_primary_that_is_lost_for_good_does_not_keep_the_run(lab):
    """Its host is gone, and the fleet file says so: the run ends, and others may begin."""
    fleet = of_lab(lab)
    old, new = fleet.primary(), fleet.relay()
    with Writers(fleet) as writers:
        fleet.move(new.region, fault="old.follow:before=kill", expect=KILLED)
        lab.cli("lab", "kill", old.name)
        path = pathlib.Path(fleet.file)
        whole = path.read_text()
        path.write_text(whole.replace(f"{old.address}, ", ""))
        assert old.address not in path.read_text()
        done = fleet.resume(expect=DONE)
        assert "not in the fleet file any more" in done["shard"]["notes"], done
        assert fleet.unfinished() is None
        assert fleet.route()["primary"] == new.address
        writers.wait_for_more(3)
        path.write_text(whole)
        lab.cli("lab", "restart", old.name)


@pytest.mark.lab(shards=2)
def test_a_shard_in_the_middle_is_not_left_behind_with_the_wrong_fleet_file(lab):
    """No command could bring it to one side once its run has ended."""
    lab.cli("switchover", "--to", "east", "--yes", "--shard", "s0", check=False,
            env={"HOLDFAST_FAULT": "cas.redirecting:after=kill"})
    path = pathlib.Path(lab.fleet)
    whole = path.read_text()
    first, second = whole.index("      - name: s0"), whole.index("      - name: s1")
    path.write_text(whole[:first] + whole[second:])
    refused = lab.cli("run", "resume", check=False)
    assert refused.returncode == 2 and "in the middle of its move" in refused.stderr, refused
    run = lab.json("run", "list")[-1]["run"]
    lab.cli("run", "abort", check=False)
    path.write_text(whole)
    said = lab.cli("readiness", "--to", "east", check=False).stdout
    assert f"holdfast run abort {run} brings it to one side" in said, said
    report = lab.json("run", "abort", run)
    assert {shard["name"]: shard["result"] for shard in report["shards"]} == {"s0": "moved"}
    again = lab.cli("run", "abort", run, check=False)
    assert f"run {run} has ended" in again.stderr, again
    assert "unfinished-run" not in lab.cli("readiness", "--to", "west", check=False).stdout


def test_a_privileged_probe_writes_nothing_at_the_relay(lab):
    fleet = of_lab(lab, probe=True)
    relay, primary = fleet.relay(), fleet.primary()
    fleet.sql(primary, "GRANT READ_ONLY ADMIN ON *.* TO probe@'%'")
    wait_until(lambda: "READ_ONLY ADMIN" in str(fleet.sql(relay, "SHOW GRANTS FOR probe@'%'")), 30, "the grant")
    path = pathlib.Path(fleet.file)
    path.write_text(path.read_text().replace(
        "deployments:", "policy: { accept: [ probe-privileged ] }\ndeployments:", 1))
    with Writers(fleet) as writers:
        done = fleet.move(relay.region, expect=DONE)
        assert done["shard"]["write_outage_ms"] is None
        assert "probe account may write" in done["shard"]["notes"], done
        writers.stop()
        assert_sound(fleet, writers.acked)


def test_an_outage_that_another_process_began_is_not_told(lab):
    fleet = of_lab(lab, probe=True)
    fleet.move(fleet.relay().region, fault="old.freeze:after=kill", expect=KILLED)
    done = fleet.resume(expect=DONE)
    assert done["shard"]["result"] == "moved" and done["shard"]["write_outage_ms"] is None
    assert "the outage is not known" in done["shard"]["notes"], done
    assert done["report"]["write_outage_ms"] is None
