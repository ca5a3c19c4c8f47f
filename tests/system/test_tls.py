# SPDX-License-Identifier: Apache-2.0
"""TLS everywhere: moves, what readiness finds of certificates, passwords that change during a run,
and secrets that are nowhere to be seen."""
import json
import os
import pathlib
import re
import subprocess

import pymysql
import pytest

from conftest import wait_until

pytestmark = pytest.mark.lab(tls=True)
NO_GO_EXIT, STUCK_EXIT = 3, 5
ACCOUNTS = ("admin", "holdfast", "repl", "probe", "app")


def tls(lab, name):
    return pathlib.Path(lab.dir, "tls", name)


def findings(lab):
    """{(check, server): finding}, and whether it is a go."""
    found = json.loads(lab.cli("readiness", "--json", check=False).stdout)
    return {(f["check"], f["server"]): f for f in found["findings"]}, found["go"]


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def issue(lab, target, address, days=365, authority=None):
    """Another certificate and key for TARGET.pem, signed by the lab's authority or another one."""
    authority = authority or tls(lab, "ca")
    request, names = tls(lab, "request"), tls(lab, "names")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            "/CN=test", "-keyout", tls(lab, f"{target}.key"), "-out", request)
    names.write_text(f"subjectAltName=IP:{address}\n")
    openssl("x509", "-req", "-in", request, "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
            "-CAcreateserial", "-days", days, "-extfile", names, "-out", tls(lab, f"{target}.pem"))


def make_authority(lab, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", f"/CN={name}", "-days", 30, "-keyout", tls(lab, f"{name}.key"), "-out",
            tls(lab, f"{name}.pem"))
    return tls(lab, name)


def source_of(lab, name):
    return lab.sql(name, "SHOW ALL SLAVES STATUS")[0]


def assert_link_is_tls(lab, name):
    link = source_of(lab, name)
    assert link["Slave_IO_Running"] == "Yes", link["Last_IO_Error"]
    assert link["Master_SSL_Allowed"] == "Yes"
    assert link["Master_SSL_Verify_Server_Cert"] == "Yes"
    assert link["Master_SSL_CA_File"] == str(tls(lab, "ca.pem"))
    assert link["Master_SSL_Key"] == str(tls(lab, "repl.key"))
    return link


def move(lab, region, **options):
    return lab.json("switchover", "--to", region, "--yes", **options)


def test_a_region_moves_and_replication_stays_under_tls(lab):
    with pytest.raises(pymysql.err.OperationalError, match="1045|3159"):
        lab.connect("s0-west-1", ssl=None)
    assert findings(lab)[1]
    move(lab, "east")
    assert assert_link_is_tls(lab, "s0-west-1")["Slave_heartbeat_period"] == 2
    # A fleet file that does not say it: as the relay was connected. The old primary itself has
    # forgotten that it verified certificates (RESET SLAVE ALL, when it was promoted).
    fleet = pathlib.Path(lab.fleet)
    silent = re.sub(r", tls: {[^}]*} }\n", " }\n", fleet.read_text())
    assert silent != fleet.read_text()
    fleet.write_text(silent)
    lab.sql("s0-west-1", "STOP SLAVE")
    lab.sql("s0-west-1", "CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD=7.5, MASTER_CONNECT_RETRY=9")
    lab.sql("s0-west-1", "START SLAVE")
    wait_until(lambda: source_of(lab, "s0-west-1")["Slave_IO_Running"] == "Yes", 10, "it runs again")
    move(lab, "west")
    link = assert_link_is_tls(lab, "s0-east-1")
    assert (float(link["Slave_heartbeat_period"]), link["Connect_Retry"]) == (7.5, 9)


def test_a_wrong_certificate_on_one_of_six_servers_is_a_named_no_go(lab):
    server = lab.servers()["s0-east-3"]
    address = lab.address("s0-east-3")
    stranger = make_authority(lab, "stranger")
    link = lab.connect("s0-east-3")
    wrong = [({"authority": stranger}, "in certificate chain|local issuer"),
             ({"address": "127.17.0.99"}, "Validation of SSL server certificate")]
    for options, words in wrong:
        issue(lab, "s0-east-3", **{"address": server["host"], **options})
        link.cursor().execute("FLUSH LOCAL SSL")
        found, go = findings(lab)
        assert not go
        assert re.search(words, found["tls-failed", address]["problem"])
        assert "FLUSH LOCAL SSL" in found["tls-failed", address]["advice"]
        assert [key for key in found if key[0] == "tls-failed"] == [("tls-failed", address)]
    refused = lab.cli("switchover", "--to", "east", "--yes", check=False)
    assert refused.returncode == NO_GO_EXIT and address in refused.stdout + refused.stderr
    issue(lab, "s0-east-3", server["host"])
    link.cursor().execute("FLUSH LOCAL SSL")
    found, go = findings(lab)
    assert go, found


def test_a_certificate_that_ends_is_a_warning_14_days_before(lab):
    server = lab.servers()["s0-west-2"]
    address = lab.address("s0-west-2")
    link = lab.connect("s0-west-2")
    for days, is_found in ((15, False), (13, True)):
        issue(lab, "s0-west-2", server["host"], days=days)
        link.cursor().execute("FLUSH LOCAL SSL")
        found, go = findings(lab)
        assert go, found
        assert (("certificate-ends", address) in found) == is_found
    assert re.search(r"expires on \d{4}-\d\d-\d\d", found["certificate-ends", address]["problem"])
    issue(lab, "s0-west-2", server["host"], days=-1)
    link.cursor().execute("FLUSH LOCAL SSL")
    found, go = findings(lab)
    assert not go and ("certificate-expired", address) in found
    issue(lab, "s0-west-2", server["host"])
    link.cursor().execute("FLUSH LOCAL SSL")
    issue(lab, "holdfast", "127.0.0.1", days=10)  # our own
    found, go = findings(lab)
    assert go and "holdfast.pem" in found["certificate-ends", None]["problem"]
    issue(lab, "holdfast", "127.0.0.1", days=-1)
    found, go = findings(lab)
    assert not go and "holdfast.pem" in found["certificate-expired", None]["problem"]
    assert "'cert' of 'tls' in the fleet file" in found["tls-failed", address]["advice"]


def test_passwords_change_while_a_run_is_under_way(lab):
    """The rotation happens before the freeze; what connects later needs the new passwords."""
    primary = lab.servers()["s0-west-1"]
    script = pathlib.Path(lab.dir, "rotate.sh")
    option_file = pathlib.Path(lab.dir, "admin.cnf")
    option_file.write_text(f"[client]\nuser=admin\npassword={lab.password('admin')}\n"
                           f"host={primary['host']}\nport={primary['port']}\n"
                           f"ssl-ca={tls(lab, 'ca.pem')}\nssl-verify-server-cert\n")
    lines = ["set -e"]
    for user in ("holdfast", "repl", "probe"):
        lines.append(f"mariadb --defaults-file={option_file} -e"
                     f" \"ALTER USER '{user}'@'%' IDENTIFIED BY 'changed-{user}'\"")
        lines.append(f"echo changed-{user} > {lab.dir}/{user}.password")
    script.write_text("\n".join(lines) + "\n")
    report = move(lab, "east", env={"HOLDFAST_FAULT": f"old.try-freeze:before=run:sh {script}"})
    assert lab.password("repl") == "changed-repl", "the rotation did not happen"
    assert [shard["result"] for shard in report["shards"]] == ["moved"], report
    lab.wait_for_replication()
    assert_link_is_tls(lab, "s0-west-1")


def read_all(folder):
    """Every file below: {path: bytes}."""
    found = {}
    for parent, _folders, names in os.walk(folder):
        for name in names:
            path = pathlib.Path(parent, name)
            found[str(path)] = path.read_bytes()
    return found


def test_no_secret_is_in_any_output_file_or_command_line(lab):
    secrets = [lab.password(user) for user in ACCOUNTS]
    for key in tls(lab, "").glob("*.key"):
        secrets += key.read_text().splitlines()[1:-1]
    seen = {}
    commands = (["readiness"], ["readiness", "--json"], ["status"], ["status", "--json"],
                ["fleet", "check"], ["switchover", "--to", "east", "--yes"], ["run", "list"],
                ["fleet", "grants"])
    for words in commands:
        process = lab.popen(*words)
        seen[f"command line of {words}"] = pathlib.Path(
            "/proc", str(process.pid), "cmdline").read_bytes()
        seen[f"environment of {words}"] = pathlib.Path(
            "/proc", str(process.pid), "environ").read_bytes()
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, (words, errors)
        seen[f"output of {words}"] = (output + errors).encode()
    run = json.loads(lab.cli("run", "list", "--json").stdout)[0]["run"]
    seen["run show"] = lab.cli("run", "show", run, "--json").stdout.encode()
    seen.update(read_all(f"{lab.dir}/store"))
    for name in lab.servers():
        log = pathlib.Path(lab.dir, "servers", name, "error.log")
        seen[str(log)] = log.read_bytes()
    found = [where for where, text in seen.items()
             if any(secret.encode() in text for secret in secrets)]
    assert not found


def test_a_wrong_file_of_the_replication_link_is_mended_by_the_fleet_file(lab):
    """The run waits, its old primary does not connect; the next process goes by what is written then."""
    path = pathlib.Path(lab.fleet)
    right = path.read_text()
    path.write_text(right.replace("tls/repl.pem, key", "tls/missing.pem, key") +
                    "policy: { move_timeout: 3s }\n")
    assert path.read_text().count("missing.pem") == 1
    stuck = lab.cli("switchover", "--to", "east", "--yes", check=False)
    assert stuck.returncode == STUCK_EXIT, stuck
    path.write_text(right)
    assert lab.json("run", "resume")["shards"][0]["result"] == "moved"
    assert_link_is_tls(lab, "s0-west-1")
