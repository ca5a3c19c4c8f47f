# SPDX-License-Identifier: Apache-2.0
"""`holdfast status` and `fleet check` on real servers."""
import time

import pytest

from conftest import wait_until


@pytest.mark.lab(shards=2)
def test_one_line_a_shard_in_columns(lab):
    lines = lab.cli("status").stdout.splitlines()
    assert lines[0].split() == ["SHARD", "HOME", "PRIMARY", "LAG", "SEMI-SYNC", "STATE"]
    assert len(lines) == 3
    for shard, line in zip(("s0", "s1"), lines[1:]):
        words = line.split()
        assert words[:3] == [shard, "west", lab.address(f"{shard}-west-1")]
        assert words[4:] == ["ms", "2", "ackers", "serving"]
        assert 0 <= float(words[3]) < 1000
    assert len({line.index("serving") for line in lines[1:]}) == 1


def test_json_has_every_server_with_its_role(lab):
    shard = lab.json("status")["shards"][0]
    assert (shard["home"], shard["state"], shard["semi_sync"], shard["ackers"]) == \
        ("west", "serving", "on", 2)
    roles = {server["server"]: server["role"] for server in shard["servers"]}
    assert roles == {lab.address(name): server["role"] for name, server in lab.servers().items()}
    assert shard["problems"] == []


def test_a_hanging_server_costs_its_deadline_once_and_is_named(lab):
    lab.cli("lab", "freeze", "s0-west-3", "s0-east-3")
    began = time.monotonic()
    text = lab.cli("status").stdout
    assert time.monotonic() - began < 3
    for name in ("s0-west-3", "s0-east-3"):
        assert lab.address(name) in text
    assert text.splitlines()[1].startswith("! s0")
    lab.cli("lab", "thaw", "s0-west-3", "s0-east-3")


def test_a_shard_without_primary_says_so(lab):
    lab.sql("s0-west-1", "SET GLOBAL read_only=1")
    assert lab.cli("status", check=False).returncode == 3
    shard = lab.json("status", check=False)["shards"][0]
    assert (shard["home"], shard["primary"], shard["state"]) == (None, None, "no primary")
    assert "no server accepts writes" in shard["problems"]


def test_a_primary_without_ackers_returns_no_write(lab):
    """Nothing is acknowledged, so nothing is acknowledged on one server only."""
    for name in ("s0-west-2", "s0-west-3"):
        lab.sql(name, "STOP SLAVE IO_THREAD")
    wait_until(lambda: lab.json("status")["shards"][0]["semi_sync"] == "no acker", 10, "no acker")
    problems = lab.json("status")["shards"][0]["problems"]
    assert any("no write at" in problem for problem in problems), problems
    assert not any("one server only" in problem for problem in problems), problems
    for name in ("s0-west-2", "s0-west-3"):
        lab.sql(name, "START SLAVE")
    wait_until(lambda: lab.json("status")["shards"][0]["semi_sync"] == "on", 10, "ackers")


def test_two_primaries_are_both_named(lab):
    lab.sql("s0-west-2", "SET GLOBAL read_only=0")
    assert lab.cli("status", check=False).returncode == 3
    shard = lab.json("status", check=False)["shards"][0]
    assert shard["state"] == "several primaries"
    for name in ("s0-west-1", "s0-west-2"):
        assert any(lab.address(name) in problem for problem in shard["problems"])


def test_lag_is_measured(lab):
    lab.sql("s0-east-1", "STOP SLAVE")
    lab.sql("s0-west-1", "CREATE DATABASE more")
    problems = lab.json("status")["shards"][0]["problems"]
    assert any(lab.address("s0-east-1") in problem for problem in problems)
    lab.sql("s0-east-1", "START SLAVE")
    wait_until(lambda: lab.json("status")["shards"][0]["problems"] == [], 10, "all well again")


def test_fleet_check_names_the_server_that_does_not_answer(lab):
    assert "6 servers: all answer" in lab.cli("fleet", "check").stdout
    lab.cli("lab", "kill", "s0-east-2")
    done = lab.cli("fleet", "check", check=False)
    assert done.returncode == 1
    assert lab.address("s0-east-2") in done.stdout
    assert "1 of 6 servers" in done.stderr
