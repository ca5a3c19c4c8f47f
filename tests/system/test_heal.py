# SPDX-License-Identifier: Apache-2.0
"""Nobody is at the keyboard: conductors on an etcd of three, an agent on each host. A host is lost, or a part
of it, and its shard has a primary again; what was acknowledged is there.
"""
import base64
import contextlib
import json
import os
import pathlib
import re
import signal
import threading
import urllib.request

import pymysql
import pytest

from conftest import wait_until
from moves import Writers, of_lab
from test_failover import rewind

pytestmark = pytest.mark.lab(shards=1, daemons=True)

HEALED_SECONDS = 30  # TTL 2 s; a machine that is shared


def is_first_opened(lab, name="s0-west-1"):
    """On a slow machine an agent may have closed the primary before it was permitted anything, and
    before the store knew who that is: then it is for an operator to open it, once."""
    if lab.value(name, "SELECT @@GLOBAL.read_only") == 0:
        return True
    lab.sql(name, "SET GLOBAL read_only=0")
    return False


def open_fleet(lab):
    """None: its agent closes the primary once more."""
    if is_first_opened(lab):
        with contextlib.suppress(pymysql.err.OperationalError, AssertionError):
            return of_lab(lab)
    return None


@pytest.fixture
def fleet(lab):
    fleet = wait_until(lambda: open_fleet(lab), 30, "the primary is open")
    wait_until(lambda: routes(fleet), 20, "the leader knows the shard")
    yield fleet
    fleet.close()
    for log in sorted(pathlib.Path(lab.dir, "log").glob("conductor-*.log")):  # shown when it failed
        print(f"== {log.name}\n" + "\n".join(log.read_text(encoding="utf-8").splitlines()[-15:]))


def routes(fleet):
    """What the store says, by shard; {} until it says something."""
    done = fleet.cli("status", "--json")
    shards = json.loads(done.stdout or "{}").get("shards", [])
    return {shard["name"]: shard for shard in shards if shard.get("epoch")}


def primary_is_another(fleet, lost):
    """Among those that answer, when there is one."""
    for server in fleet.servers:
        if server is lost:
            continue
        if not fleet.value(server, "SELECT @@GLOBAL.read_only"):
            return server
    return None


def host_of(server):
    return re.sub(r"^s\d+-", "", server.name)


def kept(fleet, server, acked):
    rows = {row["n"] for row in fleet.sql(server, f"SELECT n FROM {fleet.database}.ledger")}
    lost = set(acked) - rows
    assert not lost, f"{server.name} lost {sorted(lost)[:5]}"


def ends(fleet):
    primary = fleet.primary()
    return [primary, *fleet.replicas(primary)]


def test_a_killed_host_is_replaced_by_itself(fleet):
    lost = fleet.primary()
    with Writers(fleet, ends=ends(fleet)) as writers:
        fleet.cli("lab", "kill", host_of(lost), expect=0)
        heir = wait_until(lambda: primary_is_another(fleet, lost), HEALED_SECONDS, "another primary")
        writers.wait_for_more(5, seconds=HEALED_SECONDS)
    assert heir.region == lost.region
    kept(fleet, heir, writers.acked)
    runs = json.loads(fleet.cli("run", "list", "--json", expect=0).stdout)
    assert "the primary is lost" in runs[-1].get("reason", ""), runs


def is_closed_or_ended(fleet, server):
    """Commits that wait for an acknowledgement keep it from being closed: then its agent ends it."""
    try:
        return fleet.value(server, "SELECT @@GLOBAL.read_only")
    except (pymysql.err.Error, OSError):
        return True


def test_a_frozen_host_acknowledges_nothing_beside_its_heir(fleet):
    lost = fleet.primary()
    with Writers(fleet, ends=ends(fleet)) as writers:
        fleet.cli("lab", "freeze", host_of(lost), expect=0)
        heir = wait_until(lambda: primary_is_another(fleet, lost), HEALED_SECONDS, "another primary")
        fleet.cli("lab", "thaw", host_of(lost), expect=0)
        wait_until(lambda: is_closed_or_ended(fleet, lost), HEALED_SECONDS, "its agent closed it")
        writers.wait_for_more(5, seconds=HEALED_SECONDS)
    kept(fleet, heir, writers.acked)


def journal_of(lab, run):
    """The words of each kind of event."""
    found = {}
    for path in pathlib.Path(lab.dir).rglob(f"{run}.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            found.setdefault(entry["event"], []).append(entry["text"])
    return found


def ask_etcd(lab, what, **question):
    address = re.search(r"etcd://([^,\s]+)", pathlib.Path(lab.fleet).read_text(encoding="utf-8")).group(1)
    words = {name: base64.b64encode(text.encode()).decode() for name, text in question.items()}
    body = json.dumps({**words, "keys_only": True} if what == "range" else words).encode()
    with urllib.request.urlopen(f"http://{address}/v3/kv/{what}", body, timeout=5) as answer:
        return json.load(answer)


def granters(lab):
    """Who may have granted something, as the store has it."""
    entries = ask_etcd(lab, "range", key="\0", range_end="\0")["kvs"]
    keys = [base64.b64decode(each["key"]).decode() for each in entries]
    return [key for key in keys if "granters/" in key]


def revoke(lab, server):
    """As a failover left it that replaced this server a moment ago."""
    ask_etcd(lab, "put", key=f"holdfast/revoked/{server.address}", value="{}")
    ask_etcd(lab, "put", key="holdfast/revoked", value="{}")


def make_permissions_long(lab, ttl):
    path = pathlib.Path(lab.fleet)
    text = path.read_text(encoding="utf-8")
    assert text.count("ttl: 2s") == 1
    path.write_text("journal: journals\n" + text.replace("ttl: 2s", f"ttl: {ttl}s"), encoding="utf-8")
    for name in [each for each in lab.daemons() if each.startswith("conductor-")]:
        lab.cli("lab", "kill", name)
        lab.cli("lab", "restart", name)


def test_a_lost_primary_is_waited_for_from_its_last_grant(lab, fleet):
    """Not from when its loss was noticed, two fifths of a TTL later: here that is long enough to tell."""
    make_permissions_long(lab, 10)
    lost = fleet.primary()
    wait_until(lambda: len(granters(lab)) == 4, 60, "only the conductors that run may grant")
    with Writers(fleet, ends=ends(fleet)) as writers:
        fleet.cli("lab", "freeze", host_of(lost), expect=0)
        wait_until(lambda: primary_is_another(fleet, lost), 2 * HEALED_SECONDS, "another primary")
        writers.wait_for_more(5, seconds=HEALED_SECONDS)
        fleet.cli("lab", "thaw", host_of(lost), expect=0)
    run = json.loads(fleet.cli("run", "list", "--json", expect=0).stdout)[-1]["run"]
    assert journal_of(lab, run)["permission"] == [f"{lost.address}: all that it was granted is over"]


def test_an_agent_that_dies_is_back_before_anybody_notices(fleet):
    primary = fleet.primary()
    with Writers(fleet, ends=ends(fleet)) as writers:
        fleet.cli("lab", "kill", f"agent-{host_of(primary)}", expect=0)
        writers.wait_for_more(100)
    assert fleet.primary() is primary


def test_a_killed_server_is_replaced_and_returns_to_its_role(fleet):
    lost = fleet.primary()
    with Writers(fleet, ends=ends(fleet)) as writers:
        fleet.cli("lab", "kill", lost.name, expect=0)
        heir = wait_until(lambda: primary_is_another(fleet, lost), HEALED_SECONDS, "another primary")
        writers.wait_for_more(5, seconds=HEALED_SECONDS)
    fleet.cli("lab", "restart", "--bare", lost.name, expect=0)
    if fleet.value(lost, "SELECT @@GLOBAL.gtid_binlog_pos") and is_ahead(fleet, lost, heir):
        rewind(fleet, lost, writers.acked)
    wait_until(lambda: replicates(fleet, lost), HEALED_SECONDS, "it follows the new primary")
    kept(fleet, heir, writers.acked)


def is_ahead(fleet, server, primary):
    """Does it have a transaction of its own that the primary never got?"""
    own = fleet.value(server, "SELECT @@server_id")

    def last(at):
        state = fleet.value(at, "SELECT @@GLOBAL.gtid_binlog_state") or ""
        return max((int(e.split("-")[2]) for e in state.split(",") if e.split("-")[1:2] == [str(own)]),
                   default=0)

    return last(server) > last(primary)


def replicates(fleet, server):
    status = fleet.sql(server, "SHOW ALL SLAVES STATUS")
    return status and status[0]["Slave_IO_Running"] == status[0]["Slave_SQL_Running"] == "Yes"


def test_a_replica_that_restarts_is_brought_back(fleet):
    replica = ends(fleet)[1]
    fleet.cli("lab", "kill", replica.name, expect=0)
    fleet.cli("lab", "restart", "--bare", replica.name, expect=0)
    wait_until(lambda: replicates(fleet, replica), HEALED_SECONDS, "it follows again")
    wait_until(lambda: fleet.value(replica, "SELECT @@GLOBAL.rpl_semi_sync_slave_enabled"),
               HEALED_SECONDS, "it acknowledges again")


def test_a_paused_fleet_is_left_alone(fleet):
    fleet.cli("pause", "--reason", "we look at it ourselves", expect=0)
    lost = fleet.primary()
    replicas = fleet.replicas(lost)
    fleet.cli("lab", "kill", host_of(lost), expect=0)
    wait_until(lambda: json.loads(fleet.cli("status", "--json").stdout)["shards"][0]["primary"] is None,
               HEALED_SECONDS, "its silence was seen")
    assert all(fleet.value(server, "SELECT @@GLOBAL.read_only") for server in replicas)
    fleet.cli("unpause", expect=0)
    wait_until(lambda: primary_is_another(fleet, lost), HEALED_SECONDS, "another primary")


@pytest.mark.parametrize("count", [1, 2])
def test_a_replica_without_permission_takes_over_when_nobody_else_can(lab, fleet, count):
    fleet.cli("pause", "--reason", "its permission is not to be given back before", expect=0)
    lost = fleet.primary()
    replicas = fleet.replicas(lost)
    for server in replicas[:count]:
        revoke(lab, server)
    fleet.cli("lab", "kill", host_of(lost), expect=0)
    done = fleet.cli("failover", "--yes")
    assert done.returncode == 0, done
    assert (primary_is_another(fleet, lost) is replicas[1]) == (count == 1)
    assert ("got its permission to serve back" in done.stdout) == (count == 2), done.stdout


def is_revoked(lab, server):
    key = f"holdfast/revoked/{server.address}"
    return "kvs" in ask_etcd(lab, "range", key=key)


def take_lock(fleet, server):
    """As another conductor would, whose session this server does not give up."""
    holder = fleet.connect(server)
    with holder.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('holdfast', 10) AS has")
        assert cursor.fetchone()["has"] == 1
    return holder


def is_dead(connection):
    with contextlib.suppress(pymysql.err.Error, OSError):
        connection.ping(reconnect=False)
        return False
    return True


def test_one_server_that_cannot_be_looked_at_keeps_no_other_from_its_permission(lab, fleet):
    first, second = sorted(fleet.replicas(fleet.primary()), key=lambda server: server.address)
    fleet.cli("pause", "--reason", "until one of them is in another hand", expect=0)
    holder = take_lock(fleet, first)
    for server in (first, second):
        revoke(lab, server)
    wait_until(lambda: is_dead(holder), HEALED_SECONDS, "its agent closed it, and ended all sessions")
    holder = take_lock(fleet, first)
    fleet.cli("unpause", expect=0)
    wait_until(lambda: not is_revoked(lab, second), HEALED_SECONDS, "the other one may serve again")
    assert is_revoked(lab, first)
    holder.close()
    wait_until(lambda: not is_revoked(lab, first), HEALED_SECONDS, "so may this one")


def test_a_primary_that_was_closed_for_good_is_replaced(lab, fleet):
    """Its agent is gone, and systemd closed the server, as it does then: it answers, and nobody would open it."""
    lost = fleet.primary()
    daemons = lab.daemons()
    for name in (f"keeper-{host_of(lost)}", f"agent-{host_of(lost)}"):
        os.kill(daemons[name]["pid"], signal.SIGKILL)
    with Writers(fleet, ends=ends(fleet)) as writers:
        def heir_of_closed():  # conductors may have taken it for permitted a moment ago, and opened it again
            fleet.sql(lost, "SET GLOBAL read_only=1")
            return primary_is_another(fleet, lost)
        heir = wait_until(heir_of_closed, HEALED_SECONDS, "another primary")
        writers.wait_for_more(5, seconds=HEALED_SECONDS)
    assert fleet.value(lost, "SELECT @@GLOBAL.read_only") and heir.region == lost.region
    kept(fleet, heir, writers.acked)


def leave_a_tail(fleet, server):
    """A transaction that only this primary has: its client waits for somebody to acknowledge it. Its
    connection and its number."""
    for other in fleet.servers:
        if other is not server:
            fleet.sql(other, "STOP SLAVE IO_THREAD")
    client = fleet.connect(server, "app", database=fleet.database)
    before = fleet.value(server, "SELECT @@GLOBAL.gtid_binlog_pos")
    threading.Thread(target=ask_in_vain, args=(client,), daemon=True).start()
    wait_until(lambda: fleet.value(server, "SELECT @@GLOBAL.gtid_binlog_pos") != before, 5, "it is in the log")
    return fleet.value(server, "SELECT @@GLOBAL.gtid_binlog_pos")


def ask_in_vain(client):
    with contextlib.suppress(pymysql.err.Error, OSError), client.cursor() as cursor:
        cursor.execute("INSERT INTO ledger (n) VALUES (-1)")


def is_open(fleet, server):
    return not fleet.value(server, "SELECT @@GLOBAL.read_only")


def test_a_replaced_primary_keeps_its_heir_from_nothing(fleet):
    """Neither while it is dead, nor when it is back with what nobody acknowledged: that is told."""
    lost = fleet.primary()
    fleet.cli("pause", "--reason", "to plant something", expect=0)
    tail = leave_a_tail(fleet, lost)
    fleet.cli("lab", "kill", lost.name, expect=0)
    fleet.cli("unpause", expect=0)
    heir = wait_until(lambda: primary_is_another(fleet, lost), HEALED_SECONDS, "another primary")
    wait_until(lambda: not fleet.unfinished(), HEALED_SECONDS, "the failover is over")
    fleet.sql(heir, "SET GLOBAL read_only=1")
    wait_until(lambda: is_open(fleet, heir), HEALED_SECONDS, "it is open again beside the dead one")
    fleet.cli("lab", "restart", "--bare", lost.name, expect=0)
    fleet.sql(heir, "SET GLOBAL read_only=1")
    wait_until(lambda: is_open(fleet, heir), HEALED_SECONDS, "it is open again beside what is ahead")
    told = fleet.cli("fleet", "converge", "--dry-run").stdout
    assert f"{lost.address}: it was the primary, and has what the failover found nowhere else: {tail}" in told
    assert not fleet.sql(lost, "SHOW ALL SLAVES STATUS"), "it is left as it is"


CONDUCTORS = ["conductor-west-1", "conductor-west-2"]


def close_by_silence(fleet, server):
    """Nobody permits it anything, until the conductors of its region run again."""
    fleet.cli("lab", "kill", *CONDUCTORS, expect=0)
    wait_until(lambda: not is_open(fleet, server), HEALED_SECONDS, "its agent closed it")


def test_roles_are_brought_back_while_the_primary_may_not_serve(fleet):
    primary, replica, *_ = ends(fleet)
    close_by_silence(fleet, primary)
    fleet.sql(replica, "STOP SLAVE")
    wait_until(lambda: replicates(fleet, replica), HEALED_SECONDS, "it follows again")
    assert not is_open(fleet, primary)
    fleet.cli("lab", "restart", *CONDUCTORS, expect=0)
    wait_until(lambda: is_open(fleet, primary), HEALED_SECONDS, "it is open again")


def test_a_closed_primary_is_opened_beside_a_frozen_host(fleet):
    """A host that answers nothing takes each look its whole time, which is longer than a permission is."""
    primary, replica, *_ = ends(fleet)
    close_by_silence(fleet, primary)
    fleet.cli("lab", "freeze", host_of(replica), expect=0)
    fleet.cli("lab", "restart", *CONDUCTORS, expect=0)
    wait_until(lambda: is_open(fleet, primary), HEALED_SECONDS, "it is open again")
    fleet.cli("lab", "thaw", host_of(replica), expect=0)


def leave_without_agents(lab, shard):
    """It is on no host of the fleet file, which conductors and agents read again."""
    path = pathlib.Path(lab.fleet)
    head, hosts = path.read_text(encoding="utf-8").split("\nhosts:")
    for name in lab.servers():
        if name.startswith(f"{shard}-"):
            hosts = hosts.replace(f", {lab.address(name)}", "")
    path.write_text(f"{head}\nhosts:{hosts}", encoding="utf-8")
    for name in lab.daemons():
        if name.startswith(("conductor-", "agent-")):  # whose keeper starts it again
            lab.cli("lab", "kill", name)
        if name.startswith("conductor-"):
            lab.cli("lab", "restart", name)


@pytest.mark.lab(shards=2, daemons=True)
def test_a_primary_without_an_agent_is_opened_again(lab):
    leave_without_agents(lab, "s1")

    def is_known():
        shards = json.loads(lab.cli("status", "--json", check=False).stdout or "{}").get("shards", [])
        return is_first_opened(lab, "s1-west-1") and any(
            shard["name"] == "s1" and shard.get("epoch") for shard in shards)
    wait_until(is_known, HEALED_SECONDS, "the leader knows the shard")
    lab.sql("s1-west-1", "SET GLOBAL read_only=1")
    wait_until(lambda: not lab.value("s1-west-1", "SELECT @@GLOBAL.read_only"), HEALED_SECONDS,
               "it is open again")
