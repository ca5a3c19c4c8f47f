# SPDX-License-Identifier: Apache-2.0
"""The lab with a network namespace for each region: regions that are apart, unplugged, plugged."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import pytest

from conftest import HOLDFAST, Lab, lab_processes, wait_until
from namespaces import inside, needs_namespaces

RTT_MS = 40
NETNS = ("--network", "netns", "--wan-rtt", str(RTT_MS))
NOBODY = 65534


def answers(url):
    """Whatever it says."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True


CONNECT = """
import socket, sys, time
def once():
    start = time.monotonic()
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 10).close()
    return time.monotonic() - start
print(min(once() for _ in range(5)) * 1000)
"""


def connect_ms(lab, region, name):
    server = lab.servers()[name]
    with inside(lab, region, CONNECT, server["host"], str(server["port"])) as child:
        return float(child.communicate(timeout=60)[0])


LISTEN = """
import socket, sys
each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
each.bind((sys.argv[1], 9))
each.settimeout(30)
print("listens", flush=True)
while True:
    print(each.recv(100).decode(), flush=True)
"""
SEND = """
import socket, sys
each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for word in sys.argv[2:]:
    each.sendto(word.encode(), (sys.argv[1], 9))
"""


def send(lab, region, address, *words):
    with inside(lab, region, SEND, address, *words) as child:
        child.communicate(timeout=30)
    assert child.returncode == 0


@contextlib.contextmanager
def listener(lab, region, address):
    with inside(lab, region, LISTEN, address) as child:
        assert child.stdout.readline() == "listens\n"
        yield child
        child.kill()


def follows(lab, name):
    return next(s["replicates"] for s in lab.status()["servers"] if s["name"] == name)


def write(lab, server, word):
    lab.sql(server, "CREATE TABLE IF NOT EXISTS app.words (word VARCHAR(20) PRIMARY KEY)")
    lab.sql(server, "INSERT INTO app.words VALUES (%s)", word)


def has(lab, server, word):
    try:
        return lab.value(server, "SELECT 1 FROM app.words WHERE word=%s", word) == 1
    except Exception as error:  # the table comes with the word
        if "doesn't exist" in str(error):
            return False
        raise


def namespaces(lab):
    return {os.stat(f"{lab.dir}/net/{site}").st_ino for site in ("west", "east", "witness")}


def is_held(inode):
    """Some process is in this namespace, has it open, or it is mounted."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        for path in (entry / "ns/net", *entry.glob("fd/*")):
            with contextlib.suppress(OSError):
                if path.stat().st_ino == inode and "net:[" in os.readlink(path):
                    return True
    return f"net:[{inode}]" in pathlib.Path("/proc/self/mountinfo").read_text()


@needs_namespaces
@pytest.mark.lab(wan=NETNS)
def test_an_unplugged_region_is_cut_off_and_its_addresses_still_answer(lab):
    status = lab.status()
    assert (status["network"], status["wan"]) == (
        "netns", {"rtt_ms": RTT_MS, "jitter_ms": 0, "loss_ppm": 0, "mbit_s": 0, "cuts": []})
    write(lab, "s0-west-1", "before")
    lab.wait_for_replication()
    assert connect_ms(lab, "west", "s0-west-2") < RTT_MS / 2
    assert RTT_MS * 0.9 <= connect_ms(lab, "west", "s0-east-1") < 5 * RTT_MS
    lab.cli("lab", "unplug", "west")
    assert "west is unplugged" in lab.cli("lab", "status").stdout
    write(lab, "s0-west-1", "apart")
    wait_until(lambda: not follows(lab, "s0-east-1"), 60, "the relay has lost its source")
    assert has(lab, "s0-east-1", "before") and not has(lab, "s0-east-1", "apart")
    lab.cli("lab", "plug", "west")
    wait_until(lambda: has(lab, "s0-east-1", "apart"), 120, "the relay has what it missed")
    lab.wait_for_replication()


TAKE = """
import socket, sys
with socket.create_server((sys.argv[1], 9)) as listener:
    print("listens", flush=True)
    stream, count = listener.accept()[0], 0
    while part := stream.recv(1 << 16):
        count += len(part)
    print(count, flush=True)
"""
GIVE = """
import socket, sys
with socket.create_connection((sys.argv[1], 9), 30) as stream:
    stream.sendall(bytes(int(sys.argv[2])))
"""


@needs_namespaces
@pytest.mark.lab(wan=(*NETNS, "--wan-jitter", "3", "--wan-loss", "0.1", "--wan-mbit", "20"))
def test_a_network_can_be_narrow_and_lossy(lab):
    assert "3 ms more each way, 0.1 % of packets are lost, 20 Mbit/s" in lab.cli("lab", "status").stdout
    with inside(lab, "east", TAKE, "127.17.9.9") as taker:
        assert taker.stdout.readline() == "listens\n"
        start = time.monotonic()
        with inside(lab, "west", GIVE, "127.17.9.9", str(4 << 20)) as giver:
            giver.communicate(timeout=120)
        bits = 8 * int(taker.stdout.readline())
        seconds = time.monotonic() - start
    assert bits == 8 * (4 << 20) and 20 / 5 < bits / 1e6 / seconds < 20
    again = lab.cli("lab", "up", *NETNS, "--wan-loss", "0.2", check=False)
    assert again.returncode != 0 and "there is a lab" in again.stderr
    assert "runs already" in lab.cli("lab", "up", *NETNS, "--wan-loss", "0.1").stdout


@needs_namespaces
@pytest.mark.lab(wan=NETNS)
def test_one_direction_can_be_cut(lab):
    with listener(lab, "west", "127.16.9.9") as west, listener(lab, "east", "127.17.9.9") as east:
        lab.cli("lab", "unplug", "west", "--to", "east")
        assert lab.status()["wan"]["cuts"] == [{"from": "west", "to": "east"}]
        send(lab, "west", "127.17.9.9", "lost")
        send(lab, "east", "127.16.9.9", "answered")
        assert west.stdout.readline() == "answered\n"
        lab.cli("lab", "plug", "west", "--to", "east")
        send(lab, "west", "127.17.9.9", "plugged")
        assert east.stdout.readline() == "plugged\n"


@needs_namespaces
@pytest.mark.lab(wan=NETNS)
def test_a_network_that_died_shows_and_can_be_started_again(lab):
    held = namespaces(lab)
    lab.cli("lab", "unplug", "east")
    lab.cli("lab", "kill", "wan")
    status = lab.status()
    assert status["state"] == "partly"
    assert [(d["name"], d["state"]) for d in status["daemons"]] == [("wan", "down")]
    assert "lab restart wan" in lab.cli("lab", "status").stdout
    lab.cli("lab", "restart", "wan")
    assert lab.status()["state"] == "up" and namespaces(lab) >= {
        os.stat(f"/proc/{lab.pid(name)}/ns/net").st_ino for name in ("s0-west-1", "s0-east-1")}
    lab.cli("lab", "plug", "east")  # a cut stays over a restart
    write(lab, "s0-west-1", "again")
    wait_until(lambda: has(lab, "s0-east-1", "again"), 120, "replication goes on")
    lab.cli("lab", "kill", "wan")
    lab.cli("lab", "down")
    assert not lab_processes(lab.dir) and not os.path.exists(lab.dir)
    assert not any(is_held(inode) for inode in held)


@needs_namespaces
def test_two_labs_side_by_side_are_cut_apart(make_lab):
    one, two = make_lab(wan=NETNS), make_lab(wan=NETNS)
    one.cli("lab", "unplug", "west")
    write(two, "s0-west-1", "here")
    two.wait_for_replication()
    assert two.status()["wan"]["cuts"] == [] and one.status()["wan"]["cuts"] != []
    assert one.value("s0-west-1", "SELECT @@server_id") == 111


@needs_namespaces
@pytest.mark.lab(daemons=True, tls=True, wan=("--network", "netns", "--wan-rtt", "10"))
def test_a_region_of_daemons_that_is_unplugged_closes_itself(lab):
    write(lab, "s0-west-1", "before")
    lab.wait_for_replication()
    lab.cli("lab", "unplug", "west")
    wait_until(lambda: lab.value("s0-west-1", "SELECT @@read_only") == 1, 30, "west is closed")
    assert all(daemon["state"] == "up" for daemon in lab.daemons().values())
    lab.cli("lab", "plug", "west")
    wait_until(lambda: [*lab.roles().values()].count("primary") == 1, 120, "there is a primary")
    held = namespaces(lab)
    lab.cli("lab", "down")
    assert not lab_processes(lab.dir) and not any(is_held(inode) for inode in held)


@needs_namespaces
@pytest.mark.lab(daemons=True, wan=("--network", "netns", "--wan-rtt", "10"))
def test_all_addresses_work_from_the_host_into_a_region_that_is_unplugged(lab):
    """As for an operator who stands in it."""
    lab.cli("lab", "unplug", "west")
    wait_until(lambda: lab.value("s0-west-1", "SELECT @@read_only") == 1, 30, "west is closed")
    for name in lab.servers():
        assert lab.value(name, "SELECT @@report_host") == lab.servers()[name]["host"]
    paths = {"etcd": "/version", "conductor": "/v1/health"}
    for name, daemon in lab.daemons().items():
        assert daemon["state"] == "up"
        if daemon["kind"] in paths:
            assert answers(f"http://{daemon['host']}:{daemon['port']}{paths[daemon['kind']]}"), name
    seen = lab.json("status", "--direct", check=False)["shards"][0]
    assert not [problem for problem in seen["problems"] if "no answer" in problem]
    assert {server["server"] for server in seen["servers"] if server["role"] != "unknown"} == \
        {lab.address(name) for name in lab.servers()}
    assert "as conductor " in lab.cli("status", check=False).stdout


def raft_term(lab, name):
    member = lab.daemons()[name]
    request = urllib.request.Request(f"http://{member['host']}:{member['port']}/v3/maintenance/status", data=b"{}")
    with urllib.request.urlopen(request, timeout=5) as answer:
        status = json.load(answer)
    return status["raftTerm"] if status.get("leader", "0") != "0" else None


@needs_namespaces
@pytest.mark.lab(daemons=True, wan=("--network", "netns"))
def test_a_member_of_etcd_that_comes_back_leaves_the_leader_where_it_is(lab):
    """Cut off, it has nobody to elect it, and its term is not to grow with each try."""
    before = wait_until(lambda: raft_term(lab, "etcd-witness"), 20, "there is a leader")
    lab.cli("lab", "unplug", "west")
    wait_until(lambda: raft_term(lab, "etcd-west") is None, 30, "the member that is cut off knows no leader")
    time.sleep(2)  # several elections in vain
    lab.cli("lab", "plug", "west")
    wait_until(lambda: raft_term(lab, "etcd-west"), 30, "it knows the leader again")
    assert raft_term(lab, "etcd-west") == before == raft_term(lab, "etcd-witness")


@needs_namespaces
def test_what_kills_an_up_leaves_no_namespace(make_lab):
    lab = make_lab(shards=0)
    up = lab.popen("lab", "up", *NETNS)
    wait_until(lambda: os.path.lexists(f"{lab.dir}/net/witness"), 60, "the network")
    held = namespaces(lab)
    up.send_signal(signal.SIGINT)
    up.communicate(timeout=60)
    assert up.returncode != 0
    assert not os.path.exists(lab.dir) and not lab_processes(lab.dir)
    assert not any(is_held(inode) for inode in held)


def as_nobody(folder):
    """Words that run a command as a user without privileges, who may open TUN devices."""
    tun = f"{folder}/tun"
    os.mknod(tun, 0o020666, os.makedev(10, 200))
    os.chmod(tun, 0o666)
    enter = f'mount --bind {tun} /dev/net/tun && exec setpriv --reuid {NOBODY} --regid {NOBODY} ' \
            '--clear-groups "$@"'
    return ["unshare", "--mount", "sh", "-c", enter, "sh"]


@needs_namespaces
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_user_without_privileges_has_namespaces_too():
    with tempfile.TemporaryDirectory(prefix="holdfast-test-") as folder:
        words = as_nobody(folder)
        os.chown(folder, NOBODY, NOBODY)
        tried = subprocess.run([*words, "unshare", "--user", "--net", "true"], check=False,
                               capture_output=True, text=True)
        if tried.returncode:
            pytest.skip(f"no user namespaces: {tried.stderr.strip()}")
        lab = Lab(f"{folder}/lab")
        env = {**lab.env, "HOME": folder, "XDG_CACHE_HOME": f"{folder}/cache"}
        try:
            subprocess.run([*words, HOLDFAST, "lab", "up", *NETNS], env=env, check=True,
                           timeout=120, stdout=subprocess.DEVNULL)
            write(lab, "s0-west-1", "here")
            lab.wait_for_replication()
            owners = {os.stat(f"/proc/{pid}").st_uid for pid in lab_processes(lab.dir)}
            assert owners == {NOBODY}
        finally:
            lab.destroy()
        assert not os.path.exists(lab.dir)


WITHOUT = {  # words that run a command where there is no...
    "TUN device": ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"],
    "user namespace": ["unshare", "--user", "--map-root-user", "sh", "-c",
                       "echo 0 >/proc/sys/user/max_user_namespaces && "
                       'exec setpriv --bounding-set=-all --inh-caps=-all "$@"', "sh"],
}
WHY_NOT = {"TUN device": "/dev/net/tun", "user namespace": "a user namespace"}


def up_without(what, lab, *options):
    return subprocess.run([*WITHOUT[what], HOLDFAST, "lab", "up", *options], env=lab.env, text=True,
                          capture_output=True, timeout=60, check=False)


@needs_namespaces
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a device")
@pytest.mark.parametrize("options", [NETNS, ("--wan-rtt", "5")], ids=["netns", "apart"])
def test_where_there_is_no_network_an_up_says_why_and_leaves_nothing(make_lab, options):
    lab = make_lab(shards=0)
    up = up_without("TUN device", lab, *options)
    assert up.returncode != 0 and "/dev/net/tun" in up.stderr and "--network loopback" in up.stderr
    assert not lab_processes(lab.dir) and not os.path.exists(lab.dir)


@needs_namespaces
def test_a_lab_has_a_network_where_nothing_else_is_said(make_lab):
    lab = make_lab(shards=0)
    assert "network   netns" in lab.cli("lab", "up").stdout
    assert lab.status()["network"] == "netns"
    assert "runs already" in lab.cli("lab", "up").stdout


@needs_namespaces
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a device")
@pytest.mark.parametrize("what", WITHOUT)
def test_a_lab_is_on_the_loopback_where_there_is_no_other_network(make_lab, what):
    lab = make_lab(shards=0)
    up = up_without(what, lab)
    assert up.returncode == 0, up.stderr
    lines = [line for line in up.stdout.splitlines() if line.startswith("network ")]
    assert len(lines) == 1 and "loopback" in lines[0] and WHY_NOT[what] in lines[0]
    assert lab.status()["network"] == "loopback" and lab.primary() == "s0-west-1"


def test_the_loopback_cannot_be_cut(make_lab):
    none = make_lab(shards=0)
    refused = none.cli("lab", "up", "--network", "loopback", "--wan-rtt", "5", check=False)
    assert refused.returncode != 0 and "--network netns" in refused.stderr
    refused = none.cli("lab", "up", "--network", "netns", "--wan-loss", "1x", check=False)
    assert refused.returncode != 0 and "percentage" in refused.stderr
    refused = none.cli("lab", "up", "--network", "moon", check=False)
    assert refused.returncode != 0 and "loopback, or netns" in refused.stderr
    assert not os.path.exists(none.dir)
    lab = make_lab()
    refused = lab.cli("lab", "unplug", "west", check=False)
    assert refused.returncode != 0 and "--network netns" in refused.stderr
    assert (lab.status()["network"], lab.status().get("wan")) == ("loopback", None)
