# SPDX-License-Identifier: Apache-2.0
"""`status` and `readiness` ask conductors, say so, and look by themselves when none answers."""
import json
import os
import pathlib
import signal
import time

import pytest

from conftest import wait_until
from test_conductor import TOKENS, Conductors

LOOKED = "looked from here"


@pytest.fixture
def conductors(lab):
    found = Conductors(lab)
    yield found
    found.stop()


@pytest.fixture
def asked(conductors):
    conductors.start("west-a")
    wait_until(lambda: conductors.ask("west-a", "/v1/readiness")[0] == 200, 10, "a judgement")
    return conductors


@pytest.mark.lab(shards=2)
def test_answers_say_by_whom_and_how_old(asked):
    lab = asked.lab
    done = lab.cli("status")
    assert done.stderr == "" and len(done.stdout.splitlines()) == 5
    assert done.stdout.splitlines()[-1].startswith("as conductor west-a saw it ")
    told = lab.json("status")
    assert told["conductor"] == "west-a" and 0 <= told["age_ms"] < 5000
    assert [shard["name"] for shard in told["shards"]] == ["s0", "s1"]
    assert [shard["name"] for shard in lab.json("status", "--shard", "s1")["shards"]] == ["s1"]
    done = lab.cli("readiness")
    assert done.stderr == "" and "as conductor west-a found it " in done.stdout
    assert done.stdout.splitlines()[-1] == "go"
    told = lab.json("readiness", "--shard", "s1")
    assert told["conductor"] == "west-a" and told["shards"] == 1
    assert {finding["shard"] for finding in told["findings"]} <= {"s1", None}
    direct = lab.json("readiness", "--shard", "s1", "--direct")
    assert "conductor" not in direct and direct["findings"] == told["findings"]
    assert "conductor" not in lab.json("readiness", "--to", "east")


def test_an_answer_takes_milliseconds_although_servers_hang(asked):
    lab = asked.lab
    lab.cli("lab", "freeze", "s0-west-3", "s0-east-3")
    wait_until(lambda: len(lab.json("status")["shards"][0]["problems"]) == 2, 10, "both are seen")
    began = time.monotonic()
    lab.cli("status")
    assert time.monotonic() - began < 0.5
    lab.cli("lab", "thaw", "s0-west-3", "s0-east-3")


def test_exit_codes_are_the_same(asked):
    lab = asked.lab
    lab.sql("s0-west-1", "SET GLOBAL read_only=1")
    wait_until(lambda: lab.cli("status", check=False).returncode == 3, 10, "no primary")
    done = lab.cli("status", check=False)
    assert "no server accepts writes" in done.stdout and "as conductor west-a" in done.stdout


def test_without_conductors_it_looks_from_here(conductors):
    lab = conductors.lab
    for command in ("status", "readiness"):
        done = lab.cli(command)
        assert done.stderr.count("\n") == 1 and LOOKED in done.stderr
        assert "west-a: " in done.stderr and "east-a: " in done.stderr
        assert "as conductor" not in done.stdout
        assert lab.cli(command, "--direct").stderr == ""
    assert "conductor" not in lab.json("status")


def test_the_next_one_is_asked_when_one_hangs(asked):
    lab = asked.lab
    asked.start("east-a")
    asked.send("west-a", signal.SIGSTOP)
    told = lab.json("status")
    assert told["conductor"] == "east-a"
    asked.send("west-a", signal.SIGCONT)


def test_an_old_look_is_not_believed(asked):
    """Frozen, and asked in the moment it goes on."""
    lab = asked.lab
    asked.send("west-a", signal.SIGSTOP)
    time.sleep(11)  # what is to become old
    command = lab.popen("status", "--json")
    asked.send("west-a", signal.SIGCONT)
    text, problems = command.communicate(timeout=10)
    told = json.loads(text)
    assert told.get("age_ms", 0) < 10000, problems


def test_the_token_must_be_readable_and_known(asked):
    lab = asked.lab
    for role in ("viewer", "operator"):
        os.unlink(f"{lab.dir}/{role}.token")
    done = lab.cli("status")
    assert "no token of api.tokens can be read here" in done.stderr and LOOKED in done.stderr
    own = pathlib.Path(lab.dir, "own.token")
    own.write_text(TOKENS["operator"], encoding="utf-8")
    assert lab.cli("status", env={"HOLDFAST_TOKEN_FILE": str(own)}).stderr == ""
    own.write_text("wrong-0123456789abcdef", encoding="utf-8")
    done = lab.cli("status", env={"HOLDFAST_TOKEN_FILE": str(own)})
    assert "west-a: 401: the token is none that is known here" in done.stderr


def test_a_conductor_of_another_fleet_file_is_not_believed(asked):
    lab = asked.lab
    path = pathlib.Path(lab.fleet)
    path.write_text(path.read_text(encoding="utf-8").replace("name: s0", "name: renamed"),
                    encoding="utf-8")
    done = lab.cli("status")
    assert "shard 'renamed' is not known there" in done.stderr and LOOKED in done.stderr
    assert "renamed" in done.stdout


def test_watching_asks_each_time(asked):
    lab = asked.lab
    watch = lab.popen("status", "--watch", "--interval", "1", "--json")
    first = json.loads(watch.stdout.readline())
    assert first["conductor"] == "west-a"
    asked.end("west-a")
    last = json.loads(watch.stdout.readline())
    while "conductor" in last:
        last = json.loads(watch.stdout.readline())
    assert last["shards"][0]["name"] == "s0"
    watch.send_signal(signal.SIGINT)
    watch.wait(10)


def reset_tls(lab, conductors, folder):
    """Certificates for 127.0.0.1 into the folder, by openssl."""
    import subprocess
    subprocess.run(
        f"cd {folder} && openssl req -x509 -newkey rsa:2048 -nodes -days 3 -subj /CN=ca "
        f"-keyout ca.key -out ca.pem 2>/dev/null && openssl req -newkey rsa:2048 -nodes "
        f"-subj /CN=conductor -keyout new.key -out new.csr 2>/dev/null && "
        f"echo subjectAltName=IP:127.0.0.1 >ext && openssl x509 -req -in new.csr -CA ca.pem "
        f"-CAkey ca.key -CAcreateserial -days 3 -extfile ext -out new.pem 2>/dev/null",
        shell=True, check=True)


def test_tls_is_spoken_and_its_files_are_read_again(conductors):
    import ssl
    import socket
    lab = conductors.lab
    reset_tls(lab, conductors, lab.dir)
    os.replace(f"{lab.dir}/new.key", f"{lab.dir}/api.key")
    os.replace(f"{lab.dir}/new.pem", f"{lab.dir}/api.pem")
    with open(lab.fleet, "a", encoding="utf-8") as fleet:
        fleet.write("  tls: { ca: ca.pem, cert: api.pem, key: api.key }\n")
    port = conductors.ports["west-a"]

    def serial(wait=True):
        context = ssl.create_default_context(cafile=f"{lab.dir}/ca.pem")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as plain, \
                    context.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
                return tls.getpeercert()["serialNumber"]
        except (OSError, ssl.SSLError):
            return None
    log = open(f"{lab.dir}/west-a.log", "a", encoding="utf-8")
    with log:
        conductors.running["west-a"] = lab.popen("conductor", "--name", "west-a", stdout=log,
                                                 stderr=log)
    wait_until(serial, 10, "it speaks TLS")
    wait_until(lambda: lab.json("status").get("conductor") == "west-a", 10, "the CLI believes it")
    first = serial()
    # another certificate of another authority: for the CLI it is a stranger until 'ca' changes too
    reset_tls(lab, conductors, lab.dir)
    os.replace(f"{lab.dir}/new.key", f"{lab.dir}/api.key")
    os.replace(f"{lab.dir}/new.pem", f"{lab.dir}/api.pem")
    wait_until(lambda: serial() not in (None, first), 10, "the new certificate is served")
    assert lab.json("status")["conductor"] == "west-a"
    os.replace(f"{lab.dir}/ca.pem", f"{lab.dir}/ca.away")
    reset_tls(lab, conductors, lab.dir)
    done = lab.cli("status")
    assert LOOKED in done.stderr and "west-a: " in done.stderr
    os.replace(f"{lab.dir}/ca.away", f"{lab.dir}/ca.pem")
    pathlib.Path(lab.dir, "api.pem").write_text("no certificate", encoding="utf-8")
    wait_until(lambda: "api.pem" in conductors.log("west-a"), 5, "it says what is wrong")
    assert lab.json("status")["conductor"] == "west-a"  # with the one before
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        plain.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in plain.recv(1000)
