# SPDX-License-Identifier: Apache-2.0
"""Shards that are not three and three, servers that the fleet file says to ignore, names and IPv6
instead of addresses, deployments that are not at the same side."""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import tempfile

import pytest

from conftest import wait_until
from foreign import Foreign
from moves import DONE, Writers, assert_sound, make_table, source_of, wrong_rows

REFUSED = 3


@contextlib.contextmanager
def foreign(north, south, **options):
    """Fleets of so many servers a region, or of these hosts."""
    shape = {region: hosts if isinstance(hosts, list) else
             [f"127.{net}.0.{i}" for i in range(1, hosts + 1)]
             for region, hosts, net in (("north", north, 77), ("south", south, 78))}
    with tempfile.TemporaryDirectory(prefix="holdfast-foreign-") as folder, \
            Foreign(folder, shape, **options) as made:
        make_table(made.fleet())
        yield made


def findings(fleet, severity):
    """{(check, server)}; 'privileged-accounts' is about accounts that the tests need."""
    found = json.loads(fleet.cli("readiness", "--json", expect=(DONE, REFUSED)).stdout)["findings"]
    return {(at["check"], at["server"]) for at in found
            if at["severity"] == severity and at["check"] != "privileged-accounts"}


def move_there_and_back(fleet, is_probed=False):
    fleet.sql(fleet.primary(), "TRUNCATE shop.ledger")  # writers begin with number 1
    with Writers(fleet) as writers:
        for _ in range(2):
            done = fleet.move(fleet.relay().region, expect=DONE)
            assert done["shard"]["result"] == "moved" and done["shard"]["lost_transactions"] == 0
            assert not is_probed or done["shard"]["write_outage_ms"] is not None, done
            assert_sound(fleet, writers.acked)
            writers.wait_for_more(4)
        writers.stop()
        assert_sound(fleet, writers.acked)


def test_a_shard_of_another_shape_moves_as_long_as_somebody_acknowledges():
    with foreign(4, 2) as made:
        north, south = (made.head(region).address for region in made.regions)
        gone = []
        for lost in ((), ("north-4", "north-3")):
            made.kill(*lost)
            gone += lost
            fleet = made.fleet(gone=gone)
            assert findings(fleet, "no-go") == set()
            assert findings(fleet, "warning") == {("shape", None)}
            move_there_and_back(fleet)
        route = fleet.route()
        for lost, missing in (("south-2", {("no-acker-new-side", south)}),
                              ("north-2", {("no-acker-new-side", south), ("no-acker", north)})):
            made.kill(lost)
            gone.append(lost)
            fleet = made.fleet(gone=gone)
            wait_until(lambda f=fleet, m=missing: findings(f, "no-go") == m, 5, missing)
            done = fleet.cli("switchover", "--to", "south", "--yes", expect=REFUSED)
            assert "a primary in south needs a second server there" in done.stdout + done.stderr
            assert fleet.route() == route


def test_a_region_of_one_server_serves_when_the_other_region_acknowledges():
    with foreign(3, 1) as made:
        by_name = {server.name: server for server in made.servers}
        north, acker, south = (by_name[name] for name in ("north-1", "north-3", "south-1"))
        fleet = made.fleet()
        assert findings(fleet, "no-go") == {("no-acker-new-side", south.address)}
        made.point(acker, south, True)
        wait_until(lambda: made.ackers(south) == 1, 5, "an acker across regions")
        with Writers(fleet) as writers:
            for new in (south, north):
                wait_until(lambda: findings(fleet, "no-go") == set(), 5, "no no-go")
                assert findings(fleet, "warning") == {("shape", None), ("far-acker", south.address)}
                done = fleet.move(new.region, expect=DONE)
                assert done["shard"]["result"] == "moved"
                assert fleet.primary() is new
                writers.wait_for_more(4)
                done = fleet.cli("fleet", "converge", expect=DONE)
                assert "every server that answers is in its role" in done.stdout, done
                made.root(acker, "STOP SLAVE", "SET GLOBAL rpl_semi_sync_slave_enabled=0")  # restarted
                done = fleet.cli("fleet", "converge", "--yes", expect=DONE)
                assert f"{acker.address}: acknowledge" in done.stdout, done
                writers.wait_for_more(4)
            writers.stop()
            assert wrong_rows(fleet, fleet.primary(), writers.acked) == []


def restart_receiver(made, server, acknowledges):
    made.root(server, f"SET GLOBAL rpl_semi_sync_slave_enabled={int(acknowledges)}",
              "STOP SLAVE IO_THREAD", "START SLAVE IO_THREAD")


def test_ignored_servers_are_shown_and_left_alone():
    with foreign(3, 3, ignored=("north-3", "south-3")) as made:
        by_name = {server.name: server for server in made.servers}
        north, south = by_name["north-1"], by_name["south-1"]
        delayed, analytics = by_name["north-3"], by_name["south-3"]
        made.point(delayed, north, False, ", MASTER_DELAY=3600")
        made.root(analytics, "STOP SLAVE", "SET GLOBAL replicate_ignore_db='odd-name'",
                  "START SLAVE", "SET GLOBAL read_only=0", "CREATE DATABASE own")
        fleet = made.fleet()
        restart_receiver(made, analytics, True)
        wait_until(lambda: made.ackers(south) == 2, 5, "the ignored server acknowledges")
        assert findings(fleet, "no-go") == set()
        assert findings(fleet, "warning") == {
            ("shape", None), ("ignored-acknowledges", analytics.address)}

        shard = json.loads(fleet.cli("status", "--json", expect=0).stdout)["shards"][0]
        assert shard["problems"] == []
        shown = {at["server"]: (at["role"], at["source"]) for at in shard["servers"]}
        assert shown[delayed.address] == ("ignored", north.address)
        assert shown[analytics.address] == ("ignored", south.address)
        assert "(2 ignored)" in fleet.cli("status", expect=0).stdout
        assert "4 servers, 2 ignored: all answer" in fleet.cli("fleet", "check", expect=0).stdout
        file = fleet.cli("fleet", "discover", north.address, "--regions", "north,south", "--user",
                         "mover", "--password-file", f"{made.dir}/mover.password", expect=0).stdout
        assert f"{delayed.address}: it is kept 3600 s behind" in file
        assert f"ignore: [ {delayed.address} ]" in file
        assert f"{analytics.address}: it has a filter: Replicate_Ignore_DB" in file
        assert f"ignore: [ {analytics.address} ]" in file

        restart_receiver(made, by_name["south-2"], False)
        wait_until(lambda: made.ackers(south) == 1, 5, "only the ignored server acknowledges")
        assert findings(fleet, "no-go") == {("no-acker-new-side", south.address)}
        restart_receiver(made, by_name["south-2"], True)
        wait_until(lambda: made.ackers(south) == 2, 5, "both acknowledge")

        move_there_and_back(fleet)
        for server, source in ((delayed, north), (analytics, south)):
            status = made.ask(server, "SHOW ALL SLAVES STATUS")
            assert source_of(status) == source.address and status["Slave_IO_Running"] == "Yes"
        assert made.ask(analytics, "SELECT @@GLOBAL.read_only AS it")["it"] == 0

        made.kill(delayed.name, analytics.name)
        assert findings(fleet, "no-go") == set()
        assert "(ignored)" in fleet.cli("fleet", "check", expect=0).stdout
        move_there_and_back(fleet)


def hosts_file(folder, names):
    """What makes a command see these names, without touching the machine's: its own mounts."""
    path = os.path.join(folder, "hosts")
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(f"{address} {name}\n" for address, name in names.items())
    flags = "-m" if os.geteuid() == 0 else "-rm"
    wrap = ["unshare", flags, "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', path]
    if subprocess.run([*wrap, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a mount namespace, which is not permitted here")
    return wrap


def test_servers_known_by_name_and_by_ipv6(tmp_path):
    names = {"127.77.0.1": "db-1.north.test", "127.77.0.2": "db-2.north.test"}
    wrap = hosts_file(tmp_path, names)
    with foreign(list(names), ["::1", "::1"], names=names, wrap=wrap) as made:
        fleet = made.fleet(probe=True)
        assert findings(fleet, "no-go") == set()
        assert findings(fleet, "warning") == {("shape", None)}
        move_there_and_back(fleet, is_probed=True)
        assert fleet.route()["primary"] == f"db-1.north.test:{made.servers[0].port}"
        file = fleet.cli("fleet", "discover", made.servers[0].address, "--user", "mover",
                         "--password-file", f"{made.dir}/mover.password", expect=0).stdout
        for server in made.servers:
            assert server.address in file


@pytest.mark.lab(shards=2)
def test_deployments_at_different_sides(lab):
    path = pathlib.Path(lab.fleet)
    text, count = re.subn(r"^      - name: s1$", "  - name: other\n    shards:\n      - name: s1",
                          path.read_text(), flags=re.M)
    assert count == 1
    path.write_text(text)
    moved = lab.json("switchover", "--to", "east", "--deployment", "other", "--yes")
    assert [(s["name"], s["result"]) for s in moved["shards"]] == [("s1", "moved")]
    assert lab.primary("s0") == "s0-west-1" and lab.primary("s1") == "s1-east-1"
    homes = {s["name"]: s["home"] for s in lab.json("status")["shards"]}
    assert homes == {"s0": "west", "s1": "east"}
    assert [s["name"] for s in lab.json("status", "--deployment", "other")["shards"]] == ["s1"]
    moved = lab.json("switchover", "--to", "east", "--yes")
    assert {s["name"]: s["result"] for s in moved["shards"]} == {
        "s0": "moved", "s1": "already there"}
    wrong = lab.cli("status", "--deployment", "nobody", check=False)
    assert wrong.returncode != 0 and "there is no deployment 'nobody'" in wrong.stderr
