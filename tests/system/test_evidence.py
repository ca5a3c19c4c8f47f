# SPDX-License-Identifier: Apache-2.0
"""`holdfast agent evidence`: logs of real servers, kept before they start again."""
import json
import os
import pathlib

from conftest import wait_until


def data_folder(lab, server):
    return lab.value(server, "SELECT @@datadir")


def evidence(lab, server, data, into, *more, check=True):
    return lab.cli("agent", "evidence", lab.address(server), "--data", data, "--into", str(into),
                   *more, check=check)


def copies(lab, server, into):
    return sorted(pathlib.Path(into, lab.address(server)).glob("[0-9]*"))


def row_of(number):
    """How a row of one INT is written in a log."""
    return number.to_bytes(4, "little")


def test_what_a_replica_received_and_did_not_apply_is_kept(lab, tmp_path):
    data = data_folder(lab, "s0-west-2")
    lab.sql("s0-west-1", "CREATE TABLE app.t (id INT PRIMARY KEY)")
    lab.wait_for_replication()
    lab.sql("s0-west-2", "STOP SLAVE SQL_THREAD")
    lab.sql("s0-west-1", "INSERT INTO app.t VALUES (47114711)")
    position = lab.value("s0-west-1", "SELECT @@gtid_binlog_pos")
    wait_until(lambda: lab.sql("s0-west-2", "SHOW ALL SLAVES STATUS")[0]["Gtid_IO_Pos"] == position,
               5, "it has received it")
    lab.cli("lab", "kill", "s0-west-2")
    said = evidence(lab, "s0-west-2", data, tmp_path).stdout
    assert "kept in" in said
    copy, = copies(lab, "s0-west-2", tmp_path)
    files = json.loads((copy / "files.json").read_text(encoding="utf-8"))["files"]
    relays = [copy / each["name"] for each in files if each["kind"] == "relay"]
    assert relays and any(row_of(47114711) in each.read_bytes() for each in relays)
    assert [each["kind"] for each in files].count("binlog") >= 1
    assert os.stat(copy).st_mode & 0o777 == 0o700
    lab.cli("lab", "restart", "s0-west-2")
    assert (copy / relays[-1].name).exists()


def test_the_end_of_a_killed_primarys_log_is_kept_as_it_was(lab, tmp_path):
    data = data_folder(lab, "s0-west-1")
    lab.sql("s0-west-1", "CREATE TABLE app.t (id INT PRIMARY KEY)")
    lab.sql("s0-west-1", "INSERT INTO app.t VALUES (1)")
    lab.cli("lab", "kill", "s0-west-1")
    before = {path.name: path.read_bytes() for path in pathlib.Path(data).glob("binlog.0*")}
    evidence(lab, "s0-west-1", data, tmp_path)
    copy, = copies(lab, "s0-west-1", tmp_path)
    assert {path.name: path.read_bytes() for path in copy.glob("binlog.0*")} == before
    assert "already in" in evidence(lab, "s0-west-1", data, tmp_path).stdout
    assert len(copies(lab, "s0-west-1", tmp_path)) == 1
    lab.cli("lab", "restart", "s0-west-1")
    refused = evidence(lab, "s0-west-1", data, tmp_path, check=False)
    assert refused.returncode == 1 and "a server runs on" in refused.stderr
    lab.cli("lab", "kill", "s0-west-1")
    evidence(lab, "s0-west-1", data, tmp_path)
    assert len(copies(lab, "s0-west-1", tmp_path)) == 2


def test_what_does_not_fit_is_refused(lab, tmp_path):
    data = data_folder(lab, "s0-west-1")
    lab.sql("s0-west-1", "CREATE TABLE app.t (b LONGBLOB)")
    lab.sql("s0-west-1", "INSERT INTO app.t VALUES (REPEAT('x', 2000000))")
    lab.cli("lab", "kill", "s0-west-1")
    refused = evidence(lab, "s0-west-1", data, tmp_path, "--max-mb", "1", check=False)
    assert refused.returncode == 1 and "are allowed" in refused.stderr
    assert "--max-mb" in refused.stderr and not copies(lab, "s0-west-1", tmp_path)
