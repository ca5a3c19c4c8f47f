# SPDX-License-Identifier: Apache-2.0
"""Plain clients behind the real HAProxy, whose checks ask the conductors as docs/haproxy.md says."""
import itertools
import pathlib
import re
import shutil
import signal
import subprocess
import time
from typing import NamedTuple

import pymysql
import pytest

from conftest import wait_until
from namespaces import inside, needs_namespaces
from test_conductor import Conductors, free_ports

pytestmark = pytest.mark.skipif(not shutil.which("haproxy") and not shutil.which("/usr/sbin/haproxy"),
                                reason="haproxy is not installed")
DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "haproxy.md"
HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"


def documented_config(addresses):
    """The configuration of the documentation, with other addresses."""
    text = re.search(r"```\n(global\n.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S).group(1)
    for documented, real in addresses.items():
        assert documented in text, documented
        text = text.replace(documented, real)
    return text


@pytest.fixture
def proxy(lab, tmp_path):
    conductors = Conductors(lab)
    conductors.start("west-a")
    conductors.start("east-a")
    ports = free_ports(3)
    path = tmp_path / "haproxy.cfg"
    path.write_text(documented_config({
        "127.16.201.1:23306": f"127.0.0.1:{conductors.ports['west-a']}",
        "127.17.201.1:23306": f"127.0.0.1:{conductors.ports['east-a']}",
        ":23306": f":{lab.servers()['s0-west-1']['port']}",
        ":7419": f":{ports[0]}", "port 7419": f"port {ports[0]}",
        ":13306": f":{ports[1]}", ":13307": f":{ports[2]}"}), encoding="utf-8")
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen([HAPROXY, "-db", "-f", str(path)], stdout=log, stderr=log)
    try:
        yield lab, conductors, ports[1:]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        conductors.stop()


def connect(lab, port):
    return pymysql.connect(host="127.0.0.1", port=port, user="app", password=lab.password("app"),
                           autocommit=True, connect_timeout=2, read_timeout=2, write_timeout=2)


def server_of(lab, port):
    """The name of the server that a new connection reaches, or None."""
    try:
        with connect(lab, port) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@server_id")
            found = cursor.fetchone()[0]
    except pymysql.Error:
        return None
    return next((name for name in lab.servers()
                 if lab.value(name, "SELECT @@server_id") == found), None)


def test_writers_follow_the_primary_and_old_connections_end(proxy):
    lab, _, (write, _) = proxy
    wait_until(lambda: {server_of(lab, write) for _ in lab.servers()} == {"s0-west-1"}, 10,
               "the first checks are done: until then, all servers are good")
    old = connect(lab, write)
    lab.cli("switchover", "--to", "east", "--yes")
    wait_until(lambda: server_of(lab, write) == "s0-east-1", 10, "writes reach the new primary")

    def is_cut():
        try:
            old.ping(reconnect=False)
        except pymysql.Error:
            return True
        return False
    wait_until(is_cut, 10, "the connection to the old primary is ended")


def test_readers_leave_a_replica_that_does_not_apply(proxy):
    lab, _, (_, read) = proxy
    replicas = {"s0-west-2", "s0-west-3"}
    wait_until(lambda: {server_of(lab, read) for _ in range(4)} == replicas, 10, "both are read")
    lab.sql("s0-west-2", "STOP SLAVE SQL_THREAD")
    wait_until(lambda: {server_of(lab, read) for _ in range(4)} == {"s0-west-3"}, 10, "one is left")
    lab.sql("s0-west-2", "START SLAVE")
    wait_until(lambda: {server_of(lab, read) for _ in range(4)} == replicas, 10, "both are read")


def test_the_loss_of_a_conductor_changes_nothing(proxy):
    lab, conductors, (write, _) = proxy
    wait_until(lambda: server_of(lab, write) == "s0-west-1", 10, "writes reach the primary")
    conductors.end("west-a", signal.SIGKILL)
    lab.cli("switchover", "--to", "east", "--yes")
    wait_until(lambda: server_of(lab, write) == "s0-east-1", 10, "writes reach the new primary")


def test_without_any_look_nothing_is_routed(proxy):
    """A frozen conductor says nothing; what it said before must not stay."""
    lab, conductors, (write, _) = proxy
    wait_until(lambda: server_of(lab, write) == "s0-west-1", 10, "writes reach the primary")
    for name in conductors.ports:
        conductors.send(name, signal.SIGSTOP)
    try:
        wait_until(lambda: server_of(lab, write) is None, 40, "nothing is routed")
    finally:
        for name in conductors.ports:
            conductors.send(name, signal.SIGCONT)
    wait_until(lambda: server_of(lab, write) == "s0-west-1", 10, "writes reach the primary again")


# ---- an HAProxy in each region, and clients behind it ----

REGIONS = ("west", "east")
CLIENTS = 4
WHOLE_SECONDS = 60  # on a machine that is shared; it takes a few
CLIENT = """
import os, pymysql, sys, threading, time
def write(first):
    connection, number = None, first
    while True:
        number += int(sys.argv[3])
        try:
            if not connection:
                connection = pymysql.connect(host="127.0.0.1", port=13306, user="app", password=sys.argv[2],
                                             database="app", autocommit=True, connect_timeout=2)
                with connection.cursor() as cursor:
                    cursor.execute("SELECT @@server_id")
                    server = cursor.fetchone()[0]
            sent = time.monotonic()
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO numbers VALUES (%s)", (number,))
            os.write(1, f"{number} {server} {sent} {time.monotonic()}\\n".encode())
            time.sleep(0.01)
        except (pymysql.Error, OSError):
            if connection and connection.open:
                connection.close()
            connection = None
            time.sleep(0.02)
for i in range(int(sys.argv[3])):
    threading.Thread(target=write, args=(int(sys.argv[1]) + i,), daemon=True).start()
sys.stdin.read()
"""


class Ack(NamedTuple):
    number: int
    server: str
    sent: float
    got: float


def name_of(server_id):
    """As the lab numbers its servers."""
    return f"s{server_id // 100 - 1}-{REGIONS[server_id // 10 % 10 - 1]}-{server_id % 10}"


class Site:
    """A region with an HAProxy and clients that know nothing else: no timeout of theirs ends a wait."""

    def __init__(self, lab, region, folder, ends):
        port, other = lab.servers()["s0-west-1"]["port"], REGIONS[1 - REGIONS.index(region)]
        config, self.path = folder / f"{region}.cfg", folder / f"{region}.acks"
        addresses = {":23306": f":{port}"}
        if region == "east":
            addresses |= {"server west-1 127.16.201.1": "server THERE", "server east-1 127.17.201.1":
                          "server west-1 127.16.201.1", "server THERE": "server east-1 127.17.201.1"}
        config.write_text(documented_config(addresses), encoding="utf-8")
        code = f"import os; os.execv({HAPROXY!r}, ['haproxy', '-db', '-f', {str(config)!r}])"
        with open(folder / f"{region}.log", "w", encoding="utf-8") as log:
            self._start(ends, inside(lab, region, code, stderr=log))
        with open(self.path, "w", encoding="utf-8") as acks, open(folder / f"{region}.err", "w") as log:
            self._start(ends, inside(lab, region, CLIENT, str(REGIONS.index(region) * 10 ** 9),
                                     lab.password("app"), str(CLIENTS), stdout=acks, stderr=log))

    @staticmethod
    def _start(ends, process):
        ends.append(process)

    def acks(self):
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        words = [line.split() for line in lines if line.endswith("\n")]
        return [Ack(int(w[0]), name_of(int(w[1])), float(w[2]), float(w[3])) for w in words if len(w) == 4]

    def wait_for(self, server, since, seconds=WHOLE_SECONDS):
        """All clients have an answer of this server to what they sent after 'since'."""
        def found():
            clients = {ack.number % CLIENTS for ack in self.acks() if ack.sent > since and ack.server == server}
            return len(clients) == CLIENTS
        wait_until(found, seconds, f"{self.path.stem} writes at server {server}")

    def outage(self, since):
        """The longest that no client got an answer, the end of it after 'since'."""
        times = sorted(ack.got for ack in self.acks())
        return max(b - a for a, b in itertools.pairwise(times) if b > since)


@pytest.fixture
def sites(lab, tmp_path):
    ends = []
    lab.sql("s0-west-1", "CREATE TABLE app.numbers (n BIGINT PRIMARY KEY) ENGINE=InnoDB")
    lab.wait_for_replication()
    try:
        yield {region: Site(lab, region, tmp_path, ends) for region in REGIONS}
    finally:
        for process in ends:
            process.kill()
            process.communicate()


def follow(lab, sites, old, what, regions=REGIONS):
    """Do it to the fleet; when all clients of these regions write at another server: its name."""
    for region in regions:
        sites[region].wait_for(old, 0)
    began = time.monotonic()
    lab.cli(*what)

    def found():
        acks = [ack for region in regions for ack in sites[region].acks() if ack.sent > began]
        return next((ack.server for ack in acks if ack.server != old), None)
    new = wait_until(found, WHOLE_SECONDS, "another server acknowledges")
    for region in regions:
        sites[region].wait_for(new, began)
        print(f"{' '.join(what)}: {region}: no answer for {sites[region].outage(began):.2f} s")
    return new


def assert_nothing_lost(lab, sites, primary):
    acks = [ack.number for site in sites.values() for ack in site.acks()]
    there = {row["n"] for row in lab.sql(primary, "SELECT n FROM app.numbers", timeout=30)}
    assert not sorted(set(acks) - there)


def assert_one_at_a_time(acks, old, new):
    """What the new primary acknowledged ends what the old one may."""
    opened = min(ack.got for ack in acks if ack.server == new)
    assert not [ack for ack in acks if ack.server == old and ack.sent > opened]


@needs_namespaces
@pytest.mark.lab(daemons=True, wan=("--network", "netns", "--wan-rtt", "20", "--ttl", "3s"))
def test_clients_in_both_regions_follow_a_switchover_and_the_loss_of_a_host(lab, sites):
    east = follow(lab, sites, "s0-west-1", ("switchover", "--to", "east", "--yes"))
    assert east == "s0-east-1"
    assert_nothing_lost(lab, sites, east)
    heir = follow(lab, sites, east, ("lab", "kill", "east-1"))
    assert heir in ("s0-east-2", "s0-east-3")
    assert_nothing_lost(lab, sites, heir)
    acks = [ack for site in sites.values() for ack in site.acks()]
    assert_one_at_a_time(acks, "s0-west-1", heir)


@needs_namespaces
@pytest.mark.lab(daemons=True, wan=("--network", "netns", "--wan-rtt", "20", "--ttl", "3s",
                                    "--automatic", "region"))
def test_clients_in_the_other_region_follow_the_loss_of_a_region_and_its_own_when_it_is_back(lab, sites):
    sites["west"].wait_for("s0-west-1", 0)
    heir = follow(lab, sites, "s0-west-1", ("lab", "unplug", "west"), ["east"])
    assert heir.startswith("s0-east-")
    lab.cli("lab", "plug", "west")
    sites["west"].wait_for(heir, time.monotonic())
    acks = [ack for site in sites.values() for ack in site.acks()]
    assert_one_at_a_time(acks, "s0-west-1", heir)
