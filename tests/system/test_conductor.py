# SPDX-License-Identifier: Apache-2.0
"""`holdfast conductor`: what it answers, who leads, and how it ends."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from conftest import wait_until
from moves import put_in_store, remove_from_store

START_SECONDS = 10
TOKENS = {"viewer": "viewer-0123456789abcdef", "operator": "operator-0123456789abcdef",
          "agent": "agent-0123456789abcdef"}


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Conductors:
    """Two conductors beside a lab, one a region."""

    def __init__(self, lab):
        self.lab, self.running = lab, {}
        west, east = free_ports(2)
        self.ports = {"west-a": west, "east-a": east}
        for role, token in TOKENS.items():
            path = pathlib.Path(lab.dir, f"{role}.token")
            path.write_text(token + "\n", encoding="utf-8")
            path.chmod(0o600)
        with open(lab.fleet, "a", encoding="utf-8") as fleet:
            fleet.write("conductors:\n" + "".join(
                f"  - {{ name: {name}, region: {name[:4]}, listen: \"127.0.0.1:{port}\" }}\n"
                for name, port in self.ports.items()) + "api:\n  tokens:\n" + "".join(
                f"    - {{ name: {role}-1, role: {role}, file: {role}.token }}\n"
                for role in TOKENS))

    def start(self, name):
        log = open(f"{self.lab.dir}/{name}.log", "a", encoding="utf-8")
        with log:
            self.running[name] = self.lab.popen("conductor", "--name", name, stdout=log, stderr=log)
        wait_until(lambda: self.health(name)[0] == 200, START_SECONDS, f"{name} is well")

    def log(self, name):
        return pathlib.Path(self.lab.dir, f"{name}.log").read_text(encoding="utf-8")

    def send(self, name, which):
        self.running[name].send_signal(which)

    def end(self, name, which=signal.SIGTERM, seconds=5):
        process = self.running.pop(name)
        process.send_signal(which)
        return process.wait(seconds)

    def url(self, name, path):
        return f"http://127.0.0.1:{self.ports[name]}{path}"

    def ask(self, name, path, role="viewer", timeout=5, headers=None, body=None):
        """(code, document); a POST when there is a body"""
        headers = dict(headers or {})
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if role:
            headers["Authorization"] = f"Bearer {TOKENS[role]}"
        request = urllib.request.Request(self.url(name, path), headers=headers, data=body)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                code, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            code, text = error.code, error.read().decode()
        return code, json.loads(text) if text.startswith("{") else text

    def health(self, name):
        try:
            return self.ask(name, "/v1/health", role=None, timeout=2)
        except OSError:
            return 0, {}

    @contextlib.contextmanager
    def events(self, name, path, seconds=20):
        """An iterator over the (event, document) of a stream."""
        request = urllib.request.Request(self.url(name, path), headers={
            "Authorization": f"Bearer {TOKENS['viewer']}", "Accept": "text/event-stream"})
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            yield self.read_events(answer)

    @staticmethod
    def read_events(answer):
        kind = None
        for line in answer:
            line = line.decode().rstrip("\n")
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                yield kind, json.loads(line[6:])

    def stop(self):
        for process in self.running.values():
            process.kill()
            process.wait()


@pytest.fixture
def conductors(lab):
    found = Conductors(lab)
    found.start("west-a")
    found.start("east-a")
    yield found
    found.stop()


def without(document, *keys):
    return {key: value for key, value in document.items() if key not in keys}


def without_times(document):
    """The same for two looks at a fleet in which nothing happens; only a conductor knows what a loss would cost."""
    text = re.sub(r'"lag_ms": [0-9.e-]+', '"lag_ms": 0', json.dumps(document))
    return json.loads(re.sub(r'"loss": (\{[^}]*\}|null)', '"loss": null', text))


def test_status_and_readiness_have_the_shape_of_the_cli(conductors):
    code, told = conductors.ask("west-a", "/v1/status")
    assert code == 200 and told["conductor"] == "west-a" and 0 <= told["age_ms"] < 3000
    seen = conductors.lab.json("status", "--direct")
    assert without_times(without(told, "conductor", "age_ms")) == without_times(seen)
    wait_until(lambda: conductors.ask("west-a", "/v1/readiness")[0] == 200, 10, "a judgement")
    told = conductors.ask("west-a", "/v1/readiness")[1]
    seen = conductors.lab.json("readiness", "--direct", check=False)
    assert told["store_error"] is None  # by which a client finds a conductor that is not blind
    assert without(told, "conductor", "age_ms", "store_error") == seen


def test_each_conductor_answers_and_one_of_them_leads(conductors):
    health = {name: conductors.health(name)[1] for name in conductors.ports}
    wait_until(lambda: sum(conductors.health(name)[1]["leads"] for name in health) == 1, 5,
               "one leads")
    health = {name: conductors.health(name)[1] for name in conductors.ports}
    leader = next(name for name in health if health[name]["leads"])
    other = next(name for name in health if name != leader)
    wait_until(lambda: conductors.health(other)[1]["leader"] == leader, 5, "both say who")
    token = health[leader]["token"]
    conductors.end(leader, signal.SIGKILL)
    wait_until(lambda: conductors.health(other)[1]["leads"], 5, "the other one leads")
    assert conductors.health(other)[1]["token"] > token
    conductors.start(leader)
    assert not conductors.health(leader)[1]["leads"]
    began = time.monotonic()
    conductors.end(other)
    wait_until(lambda: conductors.health(leader)[1]["leads"], 5, "the lead was given back")
    assert time.monotonic() - began < 2.5  # no lease had to end


def test_a_frozen_leader_knows_that_it_no_longer_leads(conductors):
    wait_until(lambda: any(conductors.health(name)[1]["leads"] for name in conductors.ports), 5,
               "one leads")
    leader = next(n for n in conductors.ports if conductors.health(n)[1]["leads"])
    other = next(n for n in conductors.ports if n != leader)
    conductors.send(leader, signal.SIGSTOP)
    wait_until(lambda: conductors.health(other)[1]["leads"], 8, "the other one leads")
    conductors.send(leader, signal.SIGCONT)
    assert not conductors.health(leader)[1]["leads"]


def test_routes_and_a_run_are_told_as_they_change(conductors):
    code, routes = conductors.ask("west-a", "/v1/routes")
    assert code == 200 and routes["routes"] == []
    with conductors.events("west-a", "/v1/routes?watch") as events:
        assert next(events) == ("routes", routes)
        move = conductors.lab.popen("switchover", "--to", "east", "--yes")
        states = []
        while "serving" not in states:
            kind, route = next(events)
            assert kind == "route" and route["shard"] == "s0"
            states.append(route["state"])
        assert states == ["preparing", "frozen", "promoting", "redirecting", "serving"]
        assert (route["home"], route["epoch"]) == ("east", 2)
    assert move.wait(20) == 0
    code, later = conductors.ask("east-a", f"/v1/routes?watch&after={routes['revision']}")
    assert code == 200 and later["routes"][0]["primary"] == conductors.lab.address("s0-east-1")
    run = conductors.ask("east-a", "/v1/runs")[1]["runs"][0]
    assert run == conductors.lab.json("run", "list")[0] and run["state"] == "done"
    code, told = conductors.ask("east-a", f"/v1/runs/{run['run']}")
    shown = conductors.lab.json("run", "show", run["run"])
    assert code == 200 and told["routes"][0].items() >= shown["routes"][0].items()
    assert without(told, "routes") == without(shown, "routes", "report")
    with conductors.events("east-a", f"/v1/runs/{run['run']}?watch") as events:
        assert list(events) == [("end", told)]
    code, report = conductors.ask("east-a", f"/v1/runs/{run['run']}/report")
    assert code == 200 and report == conductors.lab.json("report", run["run"])


@pytest.mark.lab(shards=2)
def test_a_run_under_way_can_be_followed(conductors):
    move = conductors.lab.popen("switchover", "--to", "east", "--yes", "--wave", "canary=1,100%",
                                "--settle", "2")
    runs = []
    wait_until(lambda: runs.extend(conductors.ask("west-a", "/v1/runs")[1]["runs"]) or runs, 20,
               "the run is told")
    with conductors.events("west-a", f"/v1/runs/{runs[0]['run']}?watch") as events:
        told = list(events)
    assert move.wait(30) == 0
    kinds = [kind for kind, _ in told]
    assert kinds[0] == "run" and kinds[-1] == "end" and set(kinds[1:-1]) == {"route", "shard"}
    assert told[0][1]["state"] == "running" and told[-1][1]["state"] == "done"
    ends = {each["shard"]: each["outcome"]["result"] for kind, each in told if kind == "shard"}
    assert ends["s1"] == "moved"


@pytest.mark.lab(shards=2)
def test_an_operator_can_stop_a_run(conductors):
    move = conductors.lab.popen("switchover", "--to", "east", "--yes", "--wave", "canary=1,100%",
                                "--settle", "30")
    runs = []
    wait_until(lambda: runs.extend(conductors.ask("west-a", "/v1/runs")[1]["runs"]) or runs, 20,
               "the run is told")
    path = f"/v1/runs/{runs[0]['run']}/abort"

    def order(body, role="operator", at=path, **headers):
        return conductors.ask("east-a", at, role=role, body=body, headers=headers)
    assert order(b"{}", role="viewer")[0] == 403 and order(b"{}", role="agent")[0] == 403
    for bad in (b"{", b"[]", b'{"reason": 1}', b'{"reason": "a", "reason": "b"}', b'{"why": "x"}',
                b'{"reason": "' + 501 * b"x" + b'"}', b"\xff"):
        code, told = order(bad)
        assert code == 400 and told["error"] and told["hint"], bad
    assert order(b"reason", **{"Content-Type": "text/plain"})[0] == 415
    assert order(300000 * b" ")[0] == 413
    assert order(b"{}", at="/v1/runs/20200101-000000-00000/abort")[0] == 409
    assert move.poll() is None
    code, told = order(b'{"reason": "the canary looks ill"}')
    assert (code, told) == (202, {"asked": runs[0]["run"]})
    assert move.wait(20) == 4
    audit = conductors.ask("west-a", f"/v1/runs/{runs[0]['run']}")[1]["audit"]
    assert "operator-1 (by the API of conductor east-a) asked the run to abort: the canary" in audit
    assert order(b"{}")[0] == 409


def test_waiting_for_routes_ends_in_time(conductors):
    revision = conductors.ask("west-a", "/v1/routes")[1]["revision"]
    began = time.monotonic()
    code, told = conductors.ask("west-a", f"/v1/routes?watch&after={revision}&wait=500ms")
    assert code == 200 and told["revision"] == revision
    assert 0.4 < time.monotonic() - began < 2


def test_servers_tell_load_balancers_what_they_are(conductors):
    lab = conductors.lab
    primary, replica, relay = (lab.address(f"s0-{name}") for name in ("west-1", "west-2", "east-1"))

    def code(name, path, of="west-a"):
        return conductors.ask(of, f"/servers/{name}/{path}", role=None)[0]
    assert code(primary, "primary") == 200 and code(primary, "replica") == 503
    assert code(replica, "primary") == 503 and code(replica, "replica?lag=500ms") == 200
    assert code(relay, "replica", of="east-a") == 200
    assert code("10.9.9.9:3306", "primary") == 404
    assert code(replica, "replica?lag=soon") == 400
    lab.sql("s0-west-2", "STOP SLAVE SQL_THREAD")
    wait_until(lambda: code(replica, "replica") == 503, 5, "it does not apply")
    lab.sql("s0-west-2", "START SLAVE")
    wait_until(lambda: code(replica, "replica") == 200, 5, "it applies again")
    lab.cli("switchover", "--to", "east", "--yes")
    wait_until(lambda: code(relay, "primary") == 200 and code(primary, "primary") == 503, 5,
               "the other one is primary")
    lab.cli("lab", "kill", "s0-east-1")
    wait_until(lambda: code(relay, "primary") == 503, 5, "it is dead")


def test_two_writable_servers_are_no_primary(conductors):
    lab = conductors.lab
    lab.sql("s0-west-2", "SET GLOBAL read_only=0")
    for name in ("s0-west-1", "s0-west-2"):
        path = f"/servers/{lab.address(name)}/primary"
        wait_until(lambda: conductors.ask("west-a", path, role=None)[0] == 503, 5, name)


def test_a_primary_without_permission_to_serve_gets_no_traffic(lab):
    """It may not be closed yet, or its agent may not be able to."""
    found = Conductors(lab)
    name = lab.address("s0-west-1")
    with open(lab.fleet, "a", encoding="utf-8") as fleet:
        fleet.write(f"hosts:\n  - {{ name: db-w1, region: west, servers: [ \"{name}\" ] }}\n")
    with contextlib.ExitStack() as stack:
        stack.callback(found.stop)
        found.start("west-a")

        def answer():
            return found.ask("west-a", f"/servers/{name}/primary", role=None)
        wait_until(lambda: answer()[0] == 200, 5, "it is primary")
        put_in_store(lab, f"revoked/{name}", "{}")
        wait_until(lambda: answer()[0] == 503, 5, "it is revoked")
        assert f"the permission of {name} to serve is withdrawn" in answer()[1]["error"]
        remove_from_store(lab, f"revoked/{name}")
        wait_until(lambda: answer()[0] == 200, 5, "it is given back")
        put_in_store(lab, "fenced/west", "{}")
        wait_until(lambda: answer()[0] == 503, 5, "the region is fenced")
        assert "no permission to give in west" in answer()[1]["error"]


def test_a_primary_that_the_store_does_not_know_gets_no_traffic(conductors):
    """Somebody opened another server while the one that the route names was closed."""
    lab = conductors.lab
    lab.cli("switchover", "--to", "east", "--yes")
    old, new = lab.address("s0-east-1"), lab.address("s0-east-2")

    def code(name):
        return conductors.ask("west-a", f"/servers/{name}/primary", role=None)[0]
    wait_until(lambda: code(old) == 200, 5, "it is primary")
    lab.sql("s0-east-1", "SET GLOBAL read_only=1")
    lab.sql("s0-east-2", "SET GLOBAL read_only=0")
    wait_until(lambda: conductors.ask("west-a", "/v1/status")[1]["shards"][0]["primary"] == new, 5,
               "the other one is seen")
    assert code(old) == 503 and code(new) == 503


def test_tokens_decide_who_may_ask(conductors):
    for path in ("/v1/status", "/v1/readiness", "/v1/routes", "/v1/runs", "/metrics"):
        code, told = conductors.ask("west-a", path, role=None)
        assert code == 401 and told["error"] and told["hint"], path
    for role in TOKENS:
        assert conductors.ask("west-a", "/v1/status", role=role)[0] == 200


def test_metrics_are_what_prometheus_reads(conductors):
    code, text = conductors.ask("west-a", "/metrics")
    assert code == 200
    names, typed = set(), set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
        elif not line.startswith("#"):
            match = re.fullmatch(r'([a-z_]+)(\{([a-z_]+="[^"\\\n]*",?)+\})? [-+0-9.e]+', line)
            assert match, line
            names.add(match.group(1))
    assert names == typed
    assert 'holdfast_shard_home{shard="s0",deployment="lab",region="west"} 1' in text
    documented = set(re.findall(r"`(holdfast_[a-z_]+)`", pathlib.Path(
        __file__).parents[2].joinpath("docs/conductor.md").read_text(encoding="utf-8")))
    source = pathlib.Path(__file__).parents[2].joinpath("src/daemon/metrics.h")
    table = set(re.findall(r'X\(\w+, +"(\w+)"', source.read_text(encoding="utf-8")))
    assert names <= table and documented == table


def test_it_goes_on_without_the_store_and_says_so(conductors):
    store = pathlib.Path(conductors.lab.dir, "store")
    conductors.end("east-a")
    conductors.end("west-a")
    store.rename(f"{store}.away")
    store.write_text("no folder", encoding="utf-8")
    log = open(f"{conductors.lab.dir}/west-a.log", "a", encoding="utf-8")
    with log:
        conductors.running["west-a"] = conductors.lab.popen("conductor", "--name", "west-a",
                                                            stdout=log, stderr=log)
    wait_until(lambda: conductors.health("west-a")[1].get("observation_age_ms") is not None,
               START_SECONDS, "it looks at the fleet")
    code, health = conductors.health("west-a")
    assert code == 503 and health["store_error"]
    told = conductors.ask("west-a", "/v1/status")[1]
    assert told["store_error"] and told["shards"][0]["primary"]
    store.unlink()
    pathlib.Path(f"{store}.away").rename(store)
    wait_until(lambda: conductors.health("west-a")[0] == 200, 10, "it found the store")


def test_it_ends_cleanly_while_it_is_asked(conductors):
    with conductors.events("west-a", "/v1/routes?watch") as events:
        next(events)
        waiting = subprocess.Popen(["curl", "-s", "-H", f"Authorization: Bearer {TOKENS['viewer']}",
                                    conductors.url("west-a", "/v1/routes?watch&after=999999999")],
                                   stdout=subprocess.PIPE, text=True)
        with socket.create_connection(("127.0.0.1", conductors.ports["west-a"])) as half_open:
            half_open.sendall(b"GET /v1/health HT")
            time.sleep(0.3)
            began = time.monotonic()
            assert conductors.end("west-a") == 0
            assert time.monotonic() - began < 3.5
        assert list(events) == []
        assert "it is stopping" in waiting.communicate(timeout=5)[0]
    assert "conductor stops=" in conductors.log("west-a")


def test_what_is_wrong_with_its_start_is_said(lab):
    done = lab.cli("conductor", "--name", "west-a", check=False)
    assert done.returncode == 2 and "there is no conductor 'west-a'" in done.stderr
    assert "conductors: [" in done.stderr
    conductors = Conductors(lab)
    done = lab.cli("conductor", check=False)
    assert done.returncode == 2 and "--name" in done.stderr and "west-a" in done.stderr
    with socket.create_server(("127.0.0.1", conductors.ports["west-a"])):
        done = lab.cli("conductor", "--name", "west-a", check=False)
    assert done.returncode == 1 and "in use" in done.stderr
    pathlib.Path(lab.dir, "viewer.token").write_text("short", encoding="utf-8")
    done = lab.cli("conductor", "--name", "west-a", check=False)
    assert done.returncode == 2 and "viewer.token" in done.stderr and "openssl rand" in done.stderr
    os.unlink(f"{lab.dir}/viewer.token")
    done = lab.cli("conductor", "--name", "west-a", check=False)
    assert done.returncode == 1 and "viewer.token" in done.stderr
