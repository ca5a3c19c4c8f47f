# SPDX-License-Identifier: Apache-2.0
"""A conductor's looks go over connections that are kept: one a server, that is made anew when it broke."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.request

import pymysql
import pytest

from conftest import HOLDFAST, wait_until

TOKEN = "monitor-monitor-monitor"
NO_SUCH_THREAD = 1094


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def conductor(lab):
    port = free_port()
    token = pathlib.Path(lab.dir, "viewer.token")
    token.write_text(TOKEN + "\n", encoding="utf-8")
    token.chmod(0o600)
    fleet = pathlib.Path(lab.dir, "watched.yaml")
    fleet.write_text(pathlib.Path(lab.fleet).read_text(encoding="utf-8") + f"""
conductors:
  - {{ name: c, region: west, listen: "127.0.0.1:{port}" }}
api: {{ tokens: [ {{ name: v, role: viewer, file: viewer.token }} ] }}
""", encoding="utf-8")
    process = subprocess.Popen([HOLDFAST, "conductor", "--fleet", str(fleet), "--name", "c"],
                               stderr=subprocess.DEVNULL, env=os.environ)

    def status():
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/status",
                                         headers={"Authorization": f"Bearer {TOKEN}"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.loads(answer.read())
        except OSError:
            return None

    yield status
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def roles(status):
    return {server["server"]: server["role"] for server in status["shards"][0]["servers"]}


def connections(lab, name):
    """Of Holdfast's account, by their ids."""
    rows = lab.sql(name, "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'holdfast'")
    return {row[0] if isinstance(row, (tuple, list)) else next(iter(row.values())) for row in rows}


def end_connections(lab, name):
    for connection in connections(lab, name):
        try:
            lab.sql(name, f"KILL {connection}")
        except pymysql.err.OperationalError as error:
            if error.args[0] != NO_SUCH_THREAD:  # it has ended by itself
                raise


def settled(conductor):
    def is_whole():
        status = conductor()
        return status and sorted(roles(status).values()) == \
            ["primary", "relay", "replica", "replica", "replica", "replica"] and status
    return wait_until(is_whole, 20, "the conductor has seen all servers")


def test_looks_go_over_the_same_connections(lab, conductor):
    settled(conductor)
    before = connections(lab, "s0-west-2")
    seen = conductor()["shards"][0]
    wait_until(lambda: conductor()["age_ms"] < 300, 20, "a fresh look")
    wait_until(lambda: conductor()["age_ms"] > 300, 20, "it grows older")
    wait_until(lambda: conductor()["age_ms"] < 300, 20, "the next look")
    assert before & connections(lab, "s0-west-2"), "the connection is kept"
    assert seen["lag_ms"] is not None and 0 <= seen["lag_ms"] < 500


def test_a_server_that_was_away_is_seen_again(lab, conductor):
    settled(conductor)
    relay = next(name for name, role in roles(conductor()).items() if role == "relay")
    name = next(n for n, s in lab.servers().items() if f"{s['host']}:{s['port']}" == relay)
    lab.cli("lab", "kill", name)
    wait_until(lambda: roles(conductor())[relay] == "unknown", 20, "its silence was seen")
    lab.cli("lab", "restart", name)
    settled(conductor)


def next_look(conductor):
    """One that begins later than this."""
    asked = time.monotonic()

    def found():
        seen = conductor()
        return seen if seen and seen["age_ms"] < 1000 * (time.monotonic() - asked) else None
    return wait_until(found, 20, "another look")


def test_a_server_that_hangs_holds_nobody_else_up(lab, conductor):
    settled(conductor)
    lab.cli("lab", "freeze", "s0-east-3")
    silent = next(f"{s['host']}:{s['port']}" for n, s in lab.servers().items() if n == "s0-east-3")
    wait_until(lambda: roles(conductor())[silent] == "unknown", 20, "its silence was seen")
    for _ in range(5):  # at first its connection is still there, then none can be made
        assert sum(role != "unknown" for role in roles(next_look(conductor)).values()) == 5
    assert conductor()["age_ms"] < 5000
    lab.cli("lab", "thaw", "s0-east-3")
    settled(conductor)


def test_one_that_hangs_takes_no_time_from_one_to_which_there_is_no_connection(lab, conductor):
    """In the look in which it begins to hang, its connection is there, and is waited for."""
    settled(conductor)
    lab.sql("s0-west-3", "SET STATEMENT sql_log_bin=0 FOR ALTER USER holdfast@'%' ACCOUNT LOCK")
    end_connections(lab, "s0-west-3")
    locked = next(f"{s['host']}:{s['port']}" for n, s in lab.servers().items() if n == "s0-west-3")
    wait_until(lambda: roles(conductor())[locked] == "unknown", 20, "it lets nobody in")
    lab.cli("lab", "freeze", "s0-east-3")
    for _ in range(5):
        problems = json.dumps(next_look(conductor)["shards"][0]["problems"])
        assert f"{locked}: no answer" not in problems and locked in problems


def test_a_server_that_dies_after_its_answer_ends_no_conductor(lab, conductor):
    """While another one is still waited for: the connection is closed before the answer is read."""
    settled(conductor)
    pids = {name: lab.pid(name) for name in lab.servers()}
    lab.cli("lab", "freeze", "s0-east-3")
    for name in sorted(pids)[:2] + sorted(pids)[3:]:
        os.kill(pids[name], signal.SIGKILL)
        time.sleep(0.25)  # the look that waits for the frozen one begins within a second
    wait_until(lambda: conductor() and set(roles(conductor()).values()) == {"unknown"}, 20,
               "it sees that they are gone")
