# SPDX-License-Identifier: Apache-2.0
"""Plain clients behind the real HAProxy, whose checks ask the conductors as docs/conductor.md says."""
import pathlib
import re
import shutil
import signal
import subprocess

import pymysql
import pytest

from conftest import wait_until
from test_conductor import Conductors, free_ports

pytestmark = pytest.mark.skipif(not shutil.which("haproxy") and not shutil.which("/usr/sbin/haproxy"),
                                reason="haproxy is not installed")
DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "conductor.md"


def documented_config(lab, conductors, ports):
    """The configuration of the documentation, with the addresses of this fleet."""
    text = re.search(r"```\n(listen conductors.*?)```", DOCUMENT.read_text(encoding="utf-8"),
                     re.S).group(1)
    addresses = {
        "10.0.1.11:3306": lab.address("s0-west-1"), "10.0.1.12:3306": lab.address("s0-west-2"),
        "10.0.1.13:3306": lab.address("s0-west-3"), "10.0.2.11:3306": lab.address("s0-east-1"),
        "10.0.1.5:7420": f"127.0.0.1:{conductors.ports['west-a']}",
        "10.0.2.5:7420": f"127.0.0.1:{conductors.ports['east-a']}",
        "127.0.0.1:7419": f"127.0.0.1:{ports[0]}", "port 7419": f"port {ports[0]}",
        "bind :3306": f"bind 127.0.0.1:{ports[1]}", "bind :3307": f"bind 127.0.0.1:{ports[2]}"}
    for documented, real in addresses.items():
        assert documented in text, documented
        text = text.replace(documented, real)
    return "defaults\n    timeout connect 1s\n    timeout client 60s\n    timeout server 60s\n" + text


@pytest.fixture
def proxy(lab, tmp_path):
    conductors = Conductors(lab)
    conductors.start("west-a")
    conductors.start("east-a")
    ports = free_ports(3)
    path = tmp_path / "haproxy.cfg"
    path.write_text(documented_config(lab, conductors, ports), encoding="utf-8")
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen([shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f",
                                    str(path)], stdout=log, stderr=log)
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
    wait_until(lambda: server_of(lab, write) == "s0-west-1", 10, "writes reach the primary")
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
