# SPDX-License-Identifier: Apache-2.0
"""What Holdfast says when something is not as it should be: true, named once, with what to do."""
import os
import pathlib
import re
import socket
import subprocess

import pytest

from conftest import HOLDFAST, ROOT


def problems(lab):
    return lab.json("status", check=False)["shards"][0]["problems"]


def with_store(lab, url):
    """The lab's fleet with another store."""
    path = pathlib.Path(lab.fleet)
    path.write_text(re.sub(r"(?m)^store: .*$", f"store: {url}", path.read_text()))


# --- what status says of what it cannot see ---


def test_silence_of_the_primary_is_not_taken_for_its_absence(lab):
    lab.cli("switchover", "--to", "east", "--yes")
    lab.cli("lab", "freeze", "s0-east-1")
    found = problems(lab)
    assert "no server that answers accepts writes" in found
    assert (f"the store says that {lab.address('s0-east-1')} is its primary, which does not answer: "
            "do not open another one") in found
    lab.cli("lab", "thaw", "s0-east-1")
    assert problems(lab) == []


def test_a_run_that_cannot_be_resumed_is_told_from_one_that_never_was(lab):
    run = lab.json("switchover", "--to", "east", "--yes")["run"]
    for given, said in ((run, f"run {run} has ended: done"), ("nope", "there is no run 'nope'")):
        done = lab.cli("run", "resume", given, check=False)
        assert done.returncode == 1 and said in done.stderr, done.stderr


def test_a_wrong_password_is_not_taken_for_a_shard_without_a_primary(lab):
    pathlib.Path(lab.dir, "holdfast.password").write_text("wrong\n")
    assert "no server that answers accepts writes" in problems(lab)


@pytest.mark.parametrize("damage", ["file", "corrupt", "folder"])
def test_a_store_that_cannot_be_read_is_not_taken_for_none(lab, tmp_path, damage):
    place = tmp_path / "store"
    if damage == "file":
        place.write_text("not a folder")
    else:
        place.mkdir()
    if damage == "corrupt":
        (place / "store.db").write_bytes(b"SQLite format 3\0" + b"garbage " * 1000)
    if damage == "folder":
        (place / "store.db").mkdir()
    with_store(lab, f"file://{place}")
    done = lab.cli("status")
    assert "the store cannot be read" in done.stderr and str(place) in done.stderr
    assert done.stdout.splitlines()[1].split()[-1] == "unknown"
    status = lab.json("status")
    assert status["shards"][0]["state"] == "unknown" and str(place) in status["store_error"]
    ready = lab.json("readiness", check=False)
    assert not ready["go"] and "store-unavailable" in {f["check"] for f in ready["findings"]}
    done = lab.cli("fleet", "check", check=False)
    assert done.returncode != 0 and "\n  next: " in done.stderr


def test_no_store_yet_is_nothing_to_speak_of(lab, tmp_path):
    with_store(lab, f"file://{tmp_path}/none/yet")
    done = lab.cli("status")
    assert done.stderr == "" and done.stdout.splitlines()[1].endswith("serving")
    assert "store-unavailable" not in {f["check"] for f in lab.json("readiness")["findings"]}
    assert not os.path.exists(f"{tmp_path}/none")


# --- output that cannot be written ---


def run(*args, **options):
    options = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, **options}
    return subprocess.run([HOLDFAST, *args], text=True, check=False, timeout=60, **options)


@pytest.mark.parametrize("args", [("help",), ("dev", "man"), ("fleet", "grants"), ("--help",)])
def test_output_that_does_not_fit_is_an_error(args, tmp_path):
    with open("/dev/full", "w", encoding="ascii") as full:
        done = run(*args, stdout=full, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "holdfast: cannot write the output: No space left on device\n"


def test_a_run_whose_output_does_not_fit_says_what_came_of_it(lab):
    for to, words in (("east", []), ("west", ["--json"])):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = run("switchover", "--to", to, "--yes", *words, stdout=full, env=lab.env)
        name = lab.json("run", "list")[-1]["run"]
        assert f"run {name}: done; what could not be printed: holdfast report {name}\n" in done.stderr
        assert done.returncode == 1 and "cannot write the output" in done.stderr


@pytest.mark.parametrize("words, env, said", [
    (["switchover", "--to", "east", "--settle", "5"], {}, "there is no --wave"),
    (["status", "--interval", "5"], {}, "there is no --watch"),
    (["status"], {"HOLDFAST_LOG": "bogus"}, "'bogus' is none of error, warn, info, debug"),
])
def test_what_would_have_no_effect_is_refused(lab, words, env, said):
    done = lab.cli(*words, check=False, env=env)
    assert done.returncode == 2 and said in done.stderr and done.stdout == "", done
    assert lab.json("run", "list") == []


def test_a_reader_that_has_read_enough_is_none(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = run("dev", "man", stdout=writer, cwd=tmp_path)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_exit_code_of_the_command_is_kept(make_lab, tmp_path):
    with open("/dev/full", "w", encoding="ascii") as full:
        done = run("lab", "kill", "west", stdout=full, cwd=tmp_path,
                   env={**os.environ, "HOLDFAST_LAB": str(tmp_path / "none")})
        assert done.returncode == 1 and "there is no lab" in done.stderr


# --- the accounts of load ---


def test_load_says_which_grants_it_needs_and_fleet_grants_prints_them(lab):
    printed = lab.cli("fleet", "grants").stdout.splitlines()
    at = next(i for i, line in enumerate(printed) if "for 'holdfast load'" in line)
    grant = printed[at + 1].removeprefix("-- ")
    lab.sql("s0-west-1", "DROP USER probe")
    lab.sql("s0-west-1", f"CREATE USER probe IDENTIFIED BY '{lab.password('probe')}'")
    lab.sql("s0-west-1", "GRANT SELECT, INSERT, UPDATE ON holdfast.probe TO probe")
    lab.wait_for_replication()
    done = lab.cli("load", "run", "--seconds", "1", check=False)
    assert done.returncode == 1 and "denied" in done.stderr
    wanted = grant.replace("holdfast.load_row", "`holdfast`.`load_row`").removesuffix("@`%`;")
    assert "  next: run on the primary: " + wanted.replace("TO `probe`", "TO probe") in done.stderr
    lab.sql("s0-west-1", grant)
    assert lab.json("load", "run", "--seconds", "1")["lost"] == 0
    lab.cli("load", "clean")


def test_a_shard_that_is_not_there_is_bad_input_for_every_command(lab):
    for command in (["status"], ["readiness"], ["load", "run"], ["load", "clean"]):
        done = lab.cli(*command, "--shard", "nosuch", check=False)
        assert done.returncode == 2 and "no shard 'nosuch'" in done.stderr, command
        assert "  next: " in done.stderr
    done = lab.cli("load", "run", "--shard", "s0", "--shard", "s0", check=False)
    assert done.returncode == 2 and "  next: name each shard once" in done.stderr


# --- fleet discover ---


@pytest.mark.parametrize("args, said, code", [
    (["--regions", "a,a"], "duplicate region 'a'", 2),
    (["--regions", "a"], "'a' is not HOME,OTHER", 2),
    (["--regions", "a,b!"], "'b!' may only have letters", 2),
    (["--store", "etcd://x"], "nor like etcd://HOST:PORT,HOST:PORT,HOST:PORT", 2),
    (["--store", "/var/x"], "'/var/x' is not like file:///DIRECTORY (absolute)", 2),
    (["--store", ""], "option --store is given an empty value: --store URL", 2),
    (["--password-env", "NOT_SET"], "no variable NOT_SET", 2),
    (["--fleet", "no/such/found.yaml"], "write 'no/such/found.yaml': No such file or directory", 1),
])
def test_discover_refuses_what_the_fleet_file_could_not_say(tmp_path, args, said, code):
    done = run("fleet", "discover", "127.0.0.1:1", *args, cwd=tmp_path)
    assert done.returncode == code and said in done.stderr and "\n  next: " in done.stderr
    assert ".new-" not in done.stderr


def test_discover_says_what_to_check_when_the_server_does_not_let_it_in(lab, tmp_path):
    password = tmp_path / "password"
    password.write_text("wrong\n")
    password.chmod(0o600)
    options = ["--password-file", str(password)]
    done = lab.cli("fleet", "discover", lab.address("s0-west-1"), *options, check=False)
    assert done.returncode == 1 and "  next: check --user and the password" in done.stderr
    done = lab.cli("fleet", "discover", "127.0.0.1:1", *options, check=False)
    assert done.returncode == 1 and "  next: is it a MariaDB server?" in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        done = lab.cli("fleet", "discover", address, *options, check=False)
    assert done.returncode == 1 and "no answer to connect" in done.stderr
    assert "  next: is it a MariaDB server?" in done.stderr


def test_discover_says_that_without_a_probe_nothing_is_measured(lab):
    found = lab.cli("fleet", "discover", lab.address("s0-west-1"), "--password-file",
                    f"{lab.dir}/holdfast.password").stdout
    assert "#   add 'probe: {" in found and "not measured" in found


# --- names, and what to do next ---


def test_fleet_check_names_a_silent_server_once(lab):
    lab.cli("lab", "kill", "s0-east-2")
    said = lab.cli("fleet", "check", check=False).stdout
    assert said.count(lab.address("s0-east-2")) == 1
    assert "connect: " in said


def test_a_fleet_file_that_cannot_be_read_says_what_is_needed(tmp_path):
    for path in (tmp_path, tmp_path / "none.yaml"):
        done = run("status", "--fleet", str(path))
        assert done.returncode == 1 and str(path) in done.stderr
        assert "\n  next: " in done.stderr and "--fleet FILE" in done.stderr
    for option, command in (("--fleet", ["status"]), ("--dir", ["lab", "up"])):
        done = run(*command, option, "")
        assert done.returncode == 2 and f"option {option} is given an empty value" in done.stderr


def test_a_password_variable_that_is_not_set_says_what_to_do(lab):
    path = pathlib.Path(lab.fleet)
    path.write_text(path.read_text().replace("password_file: holdfast.password",
                                             "password_env: NOT_SET"))
    done = lab.cli("status", check=False)
    assert "'NOT_SET' is not set" in done.stderr
    assert "  next: put the password of 'holdfast' into it" in done.stderr


# --- the demonstration ---


@pytest.mark.parametrize("program", [["./run", "demo"], ["tools/demo"]])
def test_the_demonstration_does_not_begin_with_an_argument_it_does_not_know(program):
    def demo(*args):
        return subprocess.run([*program, *args], cwd=ROOT, capture_output=True, text=True,
                              timeout=10, check=False)
    for word in ("--help", "-h"):
        done = demo(word)
        assert done.returncode == 0 and done.stdout.startswith("usage: ./run demo\n")
    done = demo("--shards", "2")
    assert done.returncode == 2 and "'--shards'" in done.stderr and "usage:" in done.stderr
