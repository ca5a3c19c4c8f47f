# SPDX-License-Identifier: Apache-2.0
"""Roles come back: servers that were restarted, pointed wrongly or left alone get the settings of their
role again; what could lose a write is left alone and said."""
import json
import signal
import time

from conftest import wait_until
from moves import DONE, KILLED, SOAK, Writers, assert_sound, of_lab, other_region, points, wrong_rows

NO_GO, ABORTED = 3, 4


def converge(fleet, expect=DONE, **options):
    done = fleet.cli("fleet", "converge", "--yes", "--json", expect=expect, **options)
    return json.loads(done.stdout)["shards"][0]


def restart(fleet, *servers):
    """As after a crash of their hosts: what SET GLOBAL had set is gone."""
    names = [server.name for server in servers]
    fleet.cli("lab", "kill", *names, expect=DONE)
    for name in names:  # not the lab's own restart, which gives roles back
        fleet.cli("lab", "restart", name, "--bare", expect=DONE)


def known(lab, **options):
    """A fleet that the store knows: it was moved once."""
    fleet = of_lab(lab, **options)
    fleet.move(other_region(fleet, fleet.primary().region), expect=DONE)
    assert_sound(fleet)
    return fleet


def test_nothing_to_do_is_said_and_nothing_is_done(lab):
    fleet = of_lab(lab)
    done = fleet.cli("fleet", "converge", expect=DONE)
    assert "every server that answers is in its role" in done.stdout, done
    assert converge(fleet) == {"name": "s0", "steps": [], "left": []}


def test_a_shard_that_was_never_moved_converges(lab):
    fleet = of_lab(lab)
    fleet.sql(fleet.replicas(fleet.primary())[0], "STOP SLAVE")
    came = converge(fleet)
    assert came["left"] == [] and "start replication" in came["steps"][0], came


def test_every_server_is_restarted_and_the_shard_comes_back(lab):
    fleet = known(lab)
    primary = fleet.primary()
    with Writers(fleet) as writers:
        restart(fleet, *fleet.servers)
        plan = fleet.cli("fleet", "converge", "--dry-run", expect=NO_GO).stdout
        assert f"{primary.address}: accept writes" in plan and plan.count("start replication") == 5
        assert fleet.value(primary, "SELECT @@GLOBAL.read_only") == 1
        came = converge(fleet)
        assert came["left"] == [] and len(came["steps"]) >= 6, came
        writers.wait_for_more(5)
        assert_sound(fleet, writers.acked)
        assert fleet.primary() is primary
        assert converge(fleet)["steps"] == []
        fleet.move(other_region(fleet, primary.region), expect=DONE)
        assert_sound(fleet, writers.acked)


def test_servers_that_follow_nobody_or_the_wrong_one_are_pointed(lab):
    fleet = known(lab)
    primary, relay = fleet.primary(), fleet.relay()
    lost, stray = fleet.replicas(primary)[0], fleet.replicas(relay)[0]
    for statement in ("STOP SLAVE", "RESET SLAVE ALL"):
        fleet.sql(lost, statement)
    for statement in ("STOP SLAVE", f"CHANGE MASTER TO MASTER_HOST='{primary.host}'", "START SLAVE",
                      "SET GLOBAL rpl_semi_sync_slave_enabled=0"):
        fleet.sql(stray, statement)
    fleet.sql(relay, "SET GLOBAL rpl_semi_sync_slave_enabled=1")
    fleet.sql(fleet.replicas(relay)[1], "SET GLOBAL rpl_semi_sync_master_enabled=1")
    with Writers(fleet) as writers:
        came = converge(fleet)
        assert came["left"] == [], came
        assert_sound(fleet, writers.acked)
    ready = fleet.cli("readiness")
    assert ready.returncode == DONE, ready.stdout


def test_writes_that_wait_go_on_when_the_acker_is_pointed_again(lab):
    """A write that a replica gets before it acknowledges is never acknowledged by it, and no commit
    comes past one that waits."""
    fleet = known(lab)
    primary = fleet.primary()
    acker, gone = fleet.replicas(primary)
    with Writers(fleet) as writers:
        fleet.cli("lab", "kill", gone.name, expect=DONE)
        fleet.sql(acker, "STOP SLAVE")
        wait_until(lambda: fleet.value(primary, "SELECT COUNT(*) FROM information_schema.PROCESSLIST"
                                       " WHERE STATE LIKE 'Waiting for semi-sync ACK%%'"), 10, "a write waits")
        fleet.sql(acker, "RESET SLAVE ALL")
        fleet.cli("fleet", "converge", "--yes", fault="role.set:after=kill", expect=KILLED)
        wait_until(lambda: fleet.value(acker, "SELECT @@gtid_slave_pos") ==
                   fleet.value(primary, "SELECT @@gtid_binlog_pos"), 10, "it got the write")
        came = converge(fleet, expect=NO_GO)
        assert len(came["left"]) == 2 and gone.address in came["left"][0], came
        writers.wait_for_more(4)
        fleet.cli("lab", "restart", gone.name, "--bare", expect=DONE)
        assert converge(fleet)["left"] == []
        assert_sound(fleet, writers.acked)


def test_writes_that_wait_go_on_when_they_were_received_before_the_ackers_acknowledge(lab):
    """As when an operator typed START SLAVE after a restart. Of a fleet that was never moved."""
    fleet = of_lab(lab)
    primary, ackers = fleet.primary(), fleet.replicas(fleet.primary())
    with Writers(fleet) as writers:
        for server in ackers:
            for statement in ("STOP SLAVE", "SET GLOBAL rpl_semi_sync_slave_enabled=0"):
                fleet.sql(server, statement)
        held_up = "SELECT MAX(TIME_MS) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for semi-sync ACK%%'"
        wait_until(lambda: (fleet.value(primary, held_up) or 0) > 1000, 10, "a write waits")
        for server in ackers:
            fleet.sql(server, "START SLAVE")
        wait_until(lambda: all(fleet.value(server, "SELECT @@gtid_slave_pos") ==
                               fleet.value(primary, "SELECT @@gtid_binlog_pos") for server in ackers),
                   10, "they got the write")
        shown = fleet.cli("status")
        assert "writes wait for an acknowledgement" in shown.stdout, shown
        found = json.loads(fleet.cli("readiness", "--json", expect=NO_GO).stdout)["findings"]
        checks = {at["check"] for at in found}
        assert "writes-held-up" in checks and "freeze-lock" not in checks, found
        came = converge(fleet)
        assert came["left"] == [] and "acknowledge what it has" in came["steps"][-1], came
        writers.wait_for_more(4)
    assert wrong_rows(fleet, primary, writers.acked) == []
    assert "Slave_Pos" in [row["Using_Gtid"] for row in fleet.sql(ackers[0], "SHOW ALL SLAVES STATUS")]


def test_a_server_with_writes_of_its_own_is_left_alone(lab):
    fleet = known(lab)
    server = fleet.replicas(fleet.primary())[0]
    for statement in ("STOP SLAVE", "RESET SLAVE ALL", "CREATE TABLE app.errant (a INT)"):
        fleet.sql(server, statement)
    came = converge(fleet, expect=NO_GO)
    assert came["steps"] == [] and server.address in came["left"][0], came
    assert "lacks what it has" in came["left"][0], came
    assert not fleet.sql(server, "SHOW ALL SLAVES STATUS")


def test_a_primary_is_not_opened_beside_a_server_that_may_be_one(lab):
    fleet = known(lab)
    primary = fleet.primary()
    silent = fleet.replicas(primary)[0]
    fleet.cli("lab", "kill", silent.name, expect=DONE)
    restart(fleet, primary)
    came = converge(fleet, expect=NO_GO)
    assert silent.address in came["left"][0] and "does not answer" in came["left"][0], came
    assert fleet.value(primary, "SELECT @@GLOBAL.read_only") == 1
    fleet.cli("lab", "restart", silent.name, "--bare", expect=DONE)
    assert converge(fleet)["left"] == []
    assert_sound(fleet)


def test_a_primary_is_not_opened_beside_one_that_was_opened_meanwhile(lab):
    fleet = known(lab)
    primary, other = fleet.primary(), fleet.replicas(fleet.primary())[0]
    restart(fleet, primary)
    held = fleet.start("fleet", "converge", "--yes", fault="role.ackers:before=stop")
    wait_until(lambda: "T" == open(f"/proc/{held.pid}/stat").read().rsplit(")", 1)[1].split()[0],
               10, "it waits for an acker")
    fleet.sql(other, "SET GLOBAL read_only=0")
    while held.poll() is None:  # it stops at each look
        held.send_signal(signal.SIGCONT)
        time.sleep(0.05)
    out, err = held.communicate()
    assert held.returncode == NO_GO and f"! {other.address}: it accepts writes" in out, (out, err)
    assert fleet.value(primary, "SELECT @@GLOBAL.read_only") == 1
    fleet.sql(other, "SET GLOBAL read_only=1")
    assert converge(fleet)["left"] == []
    assert_sound(fleet)


def test_a_primary_is_not_opened_over_the_writes_of_one_that_only_stopped_to_follow(lab):
    """The other one's numbers may be lower than those of what the primary had not sent yet."""
    fleet = known(lab)
    primary, other = fleet.primary(), fleet.replicas(fleet.primary())[0]
    followers = [server for server in fleet.servers if server is not primary]
    for server in followers:
        fleet.sql(server, "STOP SLAVE")
    fleet.sql(primary, "SET GLOBAL rpl_semi_sync_master_enabled=0")
    for n in range(3):
        fleet.sql(primary, f"CREATE TABLE app.unsent{n} (a INT)")
    fleet.cli("lab", "kill", primary.name, expect=DONE)
    for statement in ("SET GLOBAL read_only=0", "CREATE TABLE app.acknowledged (a INT)",
                      "SET GLOBAL read_only=1"):
        fleet.sql(other, statement)
    fleet.cli("lab", "restart", primary.name, "--bare", expect=DONE)
    came = converge(fleet, expect=NO_GO)
    assert f"{other.address}: it has what the primary" in came["left"][0], came
    assert fleet.value(primary, "SELECT @@GLOBAL.read_only") == 1
    assert fleet.sql(other, "SHOW TABLES IN app LIKE 'acknowledged'")


def test_a_shard_in_the_middle_of_a_run_is_the_runs(lab):
    fleet = of_lab(lab)
    fleet.move(fleet.relay().region, fault="old.freeze:after=kill", expect=KILLED)
    done = fleet.cli("fleet", "converge", "--dry-run", "--json", expect=NO_GO)
    assert "in the middle" in json.loads(done.stdout)["shards"][0]["left"][0]
    fleet.resume(expect=DONE)
    assert_sound(fleet)


def test_two_at_once_and_a_no_are_refused(lab):
    fleet = known(lab)
    replica = fleet.replicas(fleet.primary())[0]
    fleet.sql(replica, "STOP SLAVE")
    refused = fleet.cli("fleet", "converge", expect=ABORTED)  # stdin is empty
    assert "nothing was changed" in refused.stderr and "start replication" in refused.stdout
    held = fleet.start("fleet", "converge", "--yes", fault="role.set:before=stop")
    wait_until(lambda: "T" == open(f"/proc/{held.pid}/stat").read().rsplit(")", 1)[1].split()[0],
               10, "it stops")
    found = json.loads(fleet.cli("readiness", "--json", expect=NO_GO).stdout)["findings"]
    assert any("converge' brings roles back" in at["problem"] for at in found), found
    fleet.cli("run", "abort", "converge", expect=DONE)  # only this one is meant
    second = fleet.cli("fleet", "converge", "--yes", expect=1)
    assert "brings roles back" in second.stderr, second.stderr
    moved = fleet.cli("switchover", "--to", fleet.relay().region, "--yes")
    assert moved.returncode != DONE
    held.kill()
    held.communicate()
    assert converge(fleet)["left"] == []
    assert_sound(fleet)


def test_killed_in_the_middle_and_done_again(lab):
    """At each point that a shard passes whose servers were all restarted."""
    fleet = known(lab)
    chosen = points(fleet, of="role.") if SOAK else ["role.set:sent", "role.open:before",
                                                        "role.open:sent"]
    with Writers(fleet) as writers:
        for point in chosen:
            restart(fleet, *fleet.servers)
            done = fleet.cli("fleet", "converge", "--yes", fault=f"{point}=kill")
            # nobody holds a lock there
            assert done.returncode == (DONE if "evict" in point else KILLED), (point, done)
            assert converge(fleet)["left"] == [], point
            writers.wait_for_more(3)
            assert_sound(fleet, writers.acked)
