# SPDX-License-Identifier: Apache-2.0
"""A fleet whose store is an etcd of three members, one of which is killed or frozen at a time."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request

import pytest

from conftest import wait_until

pytestmark = pytest.mark.skipif(not shutil.which("etcd"), reason="etcd-server is not installed")
START_SECONDS = 20


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Etcd:
    """Three members, with their data in memory."""

    def __init__(self, folder, election_ms=500):
        self.folder, self.election_ms, ports = folder, election_ms, free_ports(6)
        self.clients = [f"127.0.0.1:{port}" for port in ports[:3]]
        self.peers = [f"http://127.0.0.1:{port}" for port in ports[3:]]
        self.url = "etcd://" + ",".join(self.clients)
        self.members = [None] * 3
        for index in range(3):
            self.start(index)
        for index in range(3):
            self.wait_for(index)

    def wait_for(self, index):
        """Until this member knows a leader, and a majority answers it."""
        def is_healthy():
            try:
                url = f"http://{self.clients[index]}/health"
                with urllib.request.urlopen(url, timeout=2) as answer:
                    return json.load(answer)["health"] == "true"
            except OSError:
                return False
        wait_until(is_healthy, START_SECONDS, f"etcd's member {index} serves")

    def start(self, index):
        with open(f"{self.folder}/log{index}", "a", encoding="utf-8") as log:
            self.members[index] = subprocess.Popen([
                "etcd", "--name", f"m{index}", "--data-dir", f"{self.folder}/m{index}",
                "--listen-client-urls", f"http://{self.clients[index]}",
                "--advertise-client-urls", f"http://{self.clients[index]}",
                "--listen-peer-urls", self.peers[index],
                "--heartbeat-interval", str(self.election_ms // 10),
                "--election-timeout", str(self.election_ms),
                "--initial-advertise-peer-urls", self.peers[index], "--initial-cluster",
                ",".join(f"m{n}={peer}" for n, peer in enumerate(self.peers))],
                stdout=log, stderr=log)

    def leader(self):
        """The index of the member that leads."""
        for index, client in enumerate(self.clients):
            request = urllib.request.Request(f"http://{client}/v3/maintenance/status", b"{}")
            with urllib.request.urlopen(request, timeout=2) as answer:
                status = json.load(answer)
            if status["leader"] == status["header"]["member_id"]:
                return index
        return pytest.fail("no member leads")

    def kill(self, index):
        self.members[index].kill()
        self.members[index].wait()

    def signal(self, index, which):
        self.members[index].send_signal(which)

    def stop(self):
        for index in range(3):
            self.kill(index)


@pytest.fixture
def etcd(request):
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="holdfast-etcd-", dir=memory) as folder:
        members = Etcd(folder, **getattr(request, "param", {}))
        try:
            yield members
        finally:
            members.stop()


@pytest.fixture
def fleet(lab, etcd):
    """The lab, told to use etcd."""
    path = pathlib.Path(lab.fleet)
    path.write_text(re.sub(r"^store: .*$", f"store: {etcd.url}", path.read_text(), flags=re.M))
    done = lab.cli("run", "list", check=False)
    assert done.returncode == 0, done.stderr
    return lab


def region_of_primary(lab):
    return next(s["region"] for s in lab.status()["servers"] if s["name"] == lab.primary())


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
