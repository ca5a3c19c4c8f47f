# SPDX-License-Identifier: Apache-2.0
"""The lab itself: that it is a real fleet, that its disasters are real, that nothing is left."""
import json
import os
import pathlib
import re
import signal
import stat
import subprocess

import pymysql
import pytest

from conftest import HOLDFAST, lab_processes, wait_until

ROLES = {
    "s0-west-1": "primary", "s0-west-2": "replica", "s0-west-3": "replica",
    "s0-east-1": "relay", "s0-east-2": "replica", "s0-east-3": "replica",
}


def assert_nothing_left(lab):
    assert not lab_processes(lab.dir)
    assert not os.path.exists(lab.dir)


def process_state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_a_new_lab_is_a_serving_fleet(lab):
    status = lab.status()
    assert status["state"] == "up" and status["network"] == "loopback"
    assert status["fleet"] == lab.fleet and os.path.exists(lab.fleet)
    assert lab.roles() == ROLES
    for server in status["servers"]:
        assert server["shard"] == "s0" and server["region"] in ("west", "east")
        assert re.fullmatch(r"127\.(16|17)\.0\.[123]", server["host"])
        assert os.getsid(server["pid"]) == server["pid"], "survives the terminal"
    app = status["app"]
    lab.sql("s0-west-1", f"CREATE TABLE {app['database']}.t (a INT PRIMARY KEY)", user="app")
    lab.sql("s0-west-1", f"INSERT INTO {app['database']}.t VALUES (7)", user="app")
    lab.wait_for_replication()
    for name in ROLES:
        assert lab.value(name, f"SELECT a FROM {app['database']}.t") == 7


def test_writes_wait_for_an_ack_and_only_in_the_home_region(lab):
    status = {row["Variable_name"]: row["Value"]
              for row in lab.sql("s0-west-1", "SHOW STATUS LIKE 'Rpl_semi_sync%%'")}
    assert status["Rpl_semi_sync_master_status"] == "ON"
    assert status["Rpl_semi_sync_master_clients"] == "2"
    lab.cli("lab", "freeze", "s0-west-2", "s0-west-3")
    with pytest.raises(pymysql.err.OperationalError):  # the relay does not acknowledge
        lab.sql("s0-west-1", "INSERT INTO holdfast.probe VALUES (1, 1, 1)", user="probe", timeout=1)
    lab.cli("lab", "thaw", "s0-west-2")
    wait_until(lambda: lab.value("s0-east-3", "SELECT n FROM holdfast.probe") == 1, 5,
               "the write is everywhere once one acker is back")


def test_accounts_have_no_more_rights_than_they_need(lab):
    with pytest.raises(pymysql.err.OperationalError, match="denied"):
        lab.sql("s0-west-1", "CREATE TABLE app.t (a INT)", user="probe")
    with pytest.raises(pymysql.err.OperationalError, match="denied"):
        lab.sql("s0-west-1", "INSERT INTO holdfast.probe VALUES (1, 1, 1)", user="app")
    for user in ("probe", "app"):
        with pytest.raises(pymysql.err.OperationalError, match="read-only"):
            table = {"probe": "holdfast", "app": "app"}[user]
            lab.sql("s0-west-2", f"DELETE FROM {table}.heartbeat", user=user)
    with pytest.raises(pymysql.err.OperationalError, match="denied"):
        pymysql.connect(host=lab.servers()["s0-west-1"]["host"], user="root",
                        port=lab.servers()["s0-west-1"]["port"])
    lab.sql("s0-east-1", "STOP SLAVE", user="holdfast")
    lab.sql("s0-east-1", "START SLAVE", user="holdfast")


def test_passwords_are_only_for_the_owner(lab):
    assert stat.S_IMODE(os.stat(lab.dir).st_mode) == 0o700
    for path in pathlib.Path(lab.dir).glob("*.password"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(os.stat(f"{lab.dir}/lab.json").st_mode) == 0o600


def test_kill_is_a_sigkill_and_restart_comes_back_role_neutral(lab):
    pid = lab.pid("s0-west-1")
    lab.cli("lab", "kill", "s0-west-1")
    assert not os.path.exists(f"/proc/{pid}") or process_state(pid) == "Z"
    status = lab.status()
    assert status["state"] == "partly"
    assert lab.roles()["s0-west-1"] == "down" and lab.pid("s0-west-1") == 0

    said = lab.cli("lab", "restart", "s0-west-1").stdout
    assert "read-only" in said
    assert lab.roles()["s0-west-1"] == "fenced"
    assert lab.value("s0-west-1", "SELECT @@GLOBAL.rpl_semi_sync_master_enabled") == 0
    assert lab.pid("s0-west-1") not in (0, pid)


def test_restarted_replicas_and_relays_follow_again(lab):
    lab.cli("lab", "kill", "s0-west-2")
    assert "replica of s0-west-1" in lab.cli("lab", "restart", "s0-west-2").stdout
    lab.cli("lab", "kill", "s0-east-1")
    assert "relay of s0-west-1" in lab.cli("lab", "restart", "s0-east-1").stdout
    assert lab.roles() == ROLES
    assert lab.value("s0-west-2", "SELECT @@GLOBAL.rpl_semi_sync_slave_enabled") == 1
    assert lab.value("s0-east-1", "SELECT @@GLOBAL.rpl_semi_sync_slave_enabled") == 0
    wait_until(lambda: lab.sql("s0-west-1", "SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'")[0]
               ["Value"] == "2", 5, "two ackers again")
    lab.sql("s0-west-1", "INSERT INTO holdfast.probe VALUES (1, 1, 1)", user="probe")
    lab.wait_for_replication()


def test_a_server_that_runs_is_not_restarted(lab):
    lab.cli("lab", "kill", "s0-west-2")
    before = {server["name"]: server["pid"] for server in lab.status()["servers"]}
    for word in ("s0-west-1", "west"):
        done = lab.cli("lab", "restart", "s0-west-2", word, check=False)
        assert done.returncode == 1
        assert f"s0-west-1 runs (pid {before['s0-west-1']})" in done.stderr
        assert "  next: holdfast lab kill s0-west-1 first" in done.stderr
    assert {server["name"]: server["pid"] for server in lab.status()["servers"]} == before


def test_a_frozen_server_keeps_its_connections_and_its_process(lab):
    with lab.connect("s0-east-2") as connection:
        lab.cli("lab", "freeze", "s0-east-2")
        assert process_state(lab.pid("s0-east-2")) == "T"
        assert lab.roles()["s0-east-2"] == "frozen"
        lab.cli("lab", "thaw", "s0-east-2")
        with connection.cursor() as cursor:
            assert cursor.execute("SELECT 1") == 1
    assert lab.roles()["s0-east-2"] == "replica"


@pytest.mark.lab(shards=2)
def test_a_region_or_a_host_means_its_servers_of_every_shard(lab):
    lab.cli("lab", "freeze", "east-2")
    lab.cli("lab", "kill", "west")
    roles = lab.roles()
    assert {name for name, role in roles.items() if role == "down"} == {
        f"s{shard}-west-{n}" for shard in (0, 1) for n in (1, 2, 3)}
    assert {name for name, role in roles.items() if role == "frozen"} == {"s0-east-2", "s1-east-2"}
    lab.cli("lab", "restart", "west", "east-2")  # a frozen one, too
    roles = lab.roles()
    assert roles["s1-west-1"] == "fenced" and roles["s1-west-2"] == "replica"
    assert roles["s0-east-2"] == "replica" and lab.status()["state"] == "up"


def test_names_with_typing_mistakes_are_refused_with_those_that_exist(lab):
    for word in ("s0-west-4", "wset", "west1", "s1-west-1", "agent-west-1"):
        done = lab.cli("lab", "kill", word, "s0-east-3", check=False)
        assert done.returncode == 2
        assert f"'{word}'" in done.stderr and "s0-west-1 to s0-east-3" in done.stderr
    assert lab.roles() == ROLES, "nothing was done"
    done = lab.cli("lab", "kil", "west", check=False)
    assert done.returncode == 2 and "did you mean 'lab kill'?" in done.stderr
    done = lab.cli("lab", "up", "--shards", "33", check=False)
    assert done.returncode == 2 and "from 1 to 32" in done.stderr


def test_a_process_that_is_not_the_one_started_is_left_alone(lab):
    """A process number can come to belong to somebody else."""
    path = pathlib.Path(lab.dir, "lab.json")
    state = json.loads(path.read_text())
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        pid, start, boot = state["servers"][0]["process"].split(":")
        state["servers"][0]["process"] = f"{stranger.pid}:{start}:{boot}"
        state["servers"][1]["process"] = ":".join(
            [state["servers"][1]["process"].split(":")[0], start, "0" * 8 + boot[8:]])
        path.write_text(json.dumps(state))
        for command in ("kill", "freeze", "thaw"):
            for name in ("s0-west-1", "s0-west-2"):
                done = lab.cli("lab", command, name, check=False)
                assert done.returncode != 0 and "does not run" in done.stderr
        assert stranger.poll() is None and process_state(stranger.pid) == "S"
        lab.cli("lab", "down")  # finds the real ones by their command lines
        assert stranger.poll() is None
        assert_nothing_left(lab)
    finally:
        stranger.kill()
        stranger.wait()


def test_two_labs_come_up_at_the_same_moment_and_do_not_touch_each_other(make_lab):
    labs = [make_lab(shards=0), make_lab(shards=0)]
    ups = [lab.popen("lab", "up") for lab in labs]
    for up in ups:
        out, err = up.communicate(timeout=60)
        assert up.returncode == 0, out + err
    one, two = labs
    assert one.servers()["s0-west-1"]["port"] != two.servers()["s0-west-1"]["port"]
    assert one.password("admin") != two.password("admin")
    one.cli("lab", "down")
    assert_nothing_left(one)
    assert two.roles() == ROLES


def test_a_second_up_says_what_runs(lab):
    done = lab.cli("lab", "up")
    assert "runs already: 6 servers" in done.stdout and lab.fleet in done.stdout
    done = lab.cli("lab", "up", "--shards", "2", check=False)
    assert done.returncode == 1 and "a lab of 1 shard" in done.stderr
    done = lab.cli("lab", "up", "--daemons", check=False)
    assert done.returncode == 1 and "a lab of 1 shard in" in done.stderr
    assert "daemons" not in lab.status()
    lab.cli("lab", "kill", "west")
    done = lab.cli("lab", "up", check=False)
    assert done.returncode == 1 and "3 of its 6 servers run" in done.stderr
    assert "  next: holdfast lab restart s0-west-1 s0-west-2 s0-west-3, or" in done.stderr
    lab.cli("lab", "down")
    assert_nothing_left(lab)


def test_without_a_lab_down_is_done_and_the_rest_says_so(make_lab):
    lab = make_lab(shards=0)
    assert "There is no lab in" in lab.cli("lab", "down").stdout
    for command in (["status"], ["kill", "west"], ["restart", "west"]):
        done = lab.cli("lab", *command, check=False)
        assert done.returncode == 1 and "there is no lab in" in done.stderr


def test_a_folder_that_is_not_a_lab_is_not_touched(make_lab):
    lab = make_lab(shards=0)
    os.mkdir(lab.dir)
    precious = pathlib.Path(lab.dir, "precious")
    precious.write_text("data")
    done = lab.cli("lab", "up", check=False)
    assert done.returncode == 2 and "is not empty, and not a lab" in done.stderr
    for command in ("up", "status", "down"):
        done = lab.cli("lab", command, "--dir", str(precious), check=False)
        assert done.returncode == 1 and f"'{precious}': Not a directory" in done.stderr
    lab.cli("lab", "down")
    assert precious.read_text() == "data"


def test_without_mariadb_the_package_to_install_is_named(make_lab):
    lab = make_lab(shards=0)
    done = lab.cli("lab", "up", check=False, env={"HOLDFAST_MARIADBD": "/nonexistent/mariadbd"})
    assert done.returncode == 1 and "/nonexistent/mariadbd" in done.stderr
    done = lab.cli("lab", "up", check=False, env={"HOLDFAST_MARIADBD": "/bin/true"})
    assert "/bin/true is no MariaDB server" in done.stderr
    assert "  next: let $HOLDFAST_MARIADBD name a mariadbd" in done.stderr
    assert_nothing_left(lab)


def fake_server(folder, body):
    path = pathlib.Path(folder, "mariadbd")
    path.write_text(f"#!/bin/sh\n{body}\nexec {real_server()} \"$@\"\n")
    path.chmod(0o755)
    return str(path)


def real_server():
    return next(path for path in ("/usr/sbin/mariadbd", "/usr/bin/mariadbd", "/usr/libexec/mariadbd")
                if os.path.exists(path))


def test_a_server_that_dies_while_it_starts_is_named_and_nothing_is_left(make_lab, tmp_path):
    lab = make_lab(shards=0)
    fake = fake_server(tmp_path, 'case "$1" in *s0-east-3*) '
                                 'echo "0 [ERROR] the disk is made of cheese"; exit 1 ;; esac')
    done = lab.cli("lab", "up", check=False, env={"HOLDFAST_MARIADBD": fake})
    assert done.returncode == 1
    assert "s0-east-3 ended while it started" in done.stderr
    assert "made of cheese" in done.stderr and "nothing is left" in done.stderr
    assert_nothing_left(lab)


@pytest.mark.parametrize("signal_number, line", [
    (signal.SIGINT, "template"), (signal.SIGTERM, "template"), (signal.SIGHUP, "template"),
    (signal.SIGINT, "servers")])
def test_an_interrupted_up_leaves_nothing(make_lab, tmp_path, signal_number, line):
    lab = make_lab(shards=0)
    # The last server never comes up, so that there is something to interrupt.
    body = 'case "$1" in *s0-east-3*) exec sleep 60 ;; esac' if line == "template" else ""
    up = lab.popen("lab", "up", env={"HOLDFAST_MARIADBD": fake_server(tmp_path, body)})
    while True:
        said = up.stdout.readline()
        assert said, up.stderr.read()
        if said.startswith(line):
            break
    up.send_signal(signal_number)
    out, err = up.communicate(timeout=20)
    if up.returncode == 0:  # too late: it was up already
        assert line == "servers" and lab.roles() == ROLES
        return
    assert up.returncode == 4 and "interrupted" in err, out + err
    assert_nothing_left(lab)


def test_down_cleans_up_after_an_up_that_was_killed(make_lab, tmp_path):
    lab = make_lab(shards=0)
    body = 'case "$1" in *s0-east-3*) exec sleep 60 ;; esac'
    up = lab.popen("lab", "up", env={"HOLDFAST_MARIADBD": fake_server(tmp_path, body)})
    assert up.stdout.readline().startswith("template")
    wait_until(lambda: len(lab_processes(lab.dir)) >= 5, 20, "servers start")
    assert "another command" in lab.cli("lab", "down", check=False).stderr
    up.kill()
    up.communicate()
    # The pretender in s0-east-3 is a plain sleep: not a server of the lab any more, and our child.
    lab.cli("lab", "down")
    assert_nothing_left(lab)


def test_a_full_disk_is_said_before_anything_is_done(make_lab):
    lab = make_lab(shards=0)
    os.mkdir(lab.dir)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", lab.dir],
                             capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("cannot mount a small file system here")
    try:
        done = lab.cli("lab", "up", check=False)
        assert done.returncode == 1 and "MiB are free" in done.stderr
        assert not os.listdir(lab.dir) and not lab_processes(lab.dir)
    finally:
        subprocess.run(["umount", lab.dir], check=True)


def test_a_disk_that_gets_full_on_the_way_leaves_nothing(make_lab, tmp_path):
    """There is room when 'up' looks; then somebody else takes it."""
    lab = make_lab(shards=0)
    os.mkdir(lab.dir)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "none", lab.dir],
                             capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("cannot mount a small file system here")
    # The first thing that 'up' asks of the server is its version: that is after it looked.
    fake = fake_server(tmp_path, f'[ "$2" = --version ] && '
                                 f'dd if=/dev/zero of={lab.dir}/hog bs=1M count=230 2>/dev/null')
    try:
        done = lab.cli("lab", "up", check=False, env={"HOLDFAST_MARIADBD": fake})
        assert done.returncode == 1 and "No space left" in done.stderr, done.stderr
        assert not os.listdir(lab.dir) and not lab_processes(lab.dir)
    finally:
        subprocess.run(["umount", lab.dir], check=True)


def test_the_command_line_is_the_same_everywhere_it_is_described(tmp_path):
    """Overview, man page and completion come from one table."""
    def run(*args):
        return subprocess.run([HOLDFAST, *args], capture_output=True, text=True, check=True).stdout
    overview, manual, completion = run("help"), run("dev", "man"), run("dev", "completion")
    commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?)", overview, re.M)
    assert "lab up" in commands and "dev man" not in commands
    for command in commands:
        assert f'.SS "{command}"' in manual
        assert f"\n{command}|" in completion or f"'{command}|" in completion
    script = tmp_path / "completion"
    script.write_text(completion)
    tried = subprocess.run(["bash", "-c", f". {script}; COMP_WORDS=(holdfast lab re); COMP_CWORD=2; "
                            "_holdfast; echo ${COMPREPLY[@]}"],
                           capture_output=True, text=True, check=True)
    assert tried.stdout.split() == ["restart"]
