# SPDX-License-Identifier: Apache-2.0
"""A fleet whose store is an etcd under TLS that demands client certificates and log-ins: what
`fleet check` and readiness say when any of it is wrong, and moves that go on meanwhile."""
import contextlib
import json
import shutil
import subprocess

import pytest

from etcd_members import HOLDFAST, Certificates, running_etcd, use_store

pytestmark = pytest.mark.skipif(not shutil.which("etcd"), reason="etcd-server is not installed")
NO_GO_EXIT = 3


@pytest.fixture
def etcd():
    with running_etcd(is_secure=True) as members:
        members.certificates.path("password").write_text(HOLDFAST + "\n")
        members.certificates.path("password").chmod(0o600)
        yield members


def store_of(etcd, url=None, ca="ca.pem", client="client", password="password", verify="true"):
    at = etcd.certificates.path
    return (f"\n  url: {url or etcd.url}\n"
            f"  tls: {{ ca: {at(ca)}, cert: {at(client + '.pem')}, key: {at(client + '.key')}, "
            f"verify: {verify} }}\n"
            f"  credentials: {{ user: holdfast, password_file: {at(password)} }}")


@pytest.fixture
def fleet(lab, etcd):
    use_store(lab, store_of(etcd))
    assert "all answer" in lab.cli("fleet", "check").stdout
    return lab


def check(lab, expected_exit=1):
    """All that `fleet check` says; it fails."""
    done = lab.cli("fleet", "check", check=False)
    assert done.returncode == expected_exit, done.stdout + done.stderr
    assert HOLDFAST not in done.stdout + done.stderr
    return done.stdout + done.stderr


def findings(lab):
    found = json.loads(lab.cli("readiness", "--json", check=False).stdout)
    return {f["check"]: f for f in found["findings"]}, found["go"]


def region_of_primary(lab):
    return next(s["region"] for s in lab.status()["servers"] if s["name"] == lab.primary())


def test_a_region_moves_while_log_ins_end(fleet, etcd):
    """Setting a password ends all tokens of its user; a run has one from its begin on."""
    assert findings(fleet)[1]
    for to, victim in (("east", 0), ("west", 1)):
        etcd.kill(victim)
        etcd.start(victim)
        run = fleet.popen("switchover", "--to", to, "--yes")
        while run.poll() is None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # they may be electing
                etcd.become_root()
                etcd.ask("auth/user/changepw", {"name": "holdfast", "password": HOLDFAST})
                run.wait(timeout=0.05)
        out, errors = run.communicate()
        assert run.returncode == 0, out + errors
        assert region_of_primary(fleet) == to
        etcd.wait_for(victim)
    for path in etcd.folder.glob("log*"):
        assert HOLDFAST not in path.read_text(errors="replace")


def test_check_says_which_certificate_is_wrong(fleet, etcd):
    certificates = etcd.certificates
    Certificates(etcd.folder, "stranger").issue("odd", "/O=holdfast")
    certificates.issue("expired", "/O=holdfast", days=-1)
    certificates.issue("named", "/CN=holdfast")
    named = etcd.url.replace("127.0.0.1", "localhost")
    cases = [({"ca": "stranger.pem"}, "nobody in our 'ca' has signed its certificate"),
             ({"client": "odd"}, "does not accept our certificate"),
             ({"client": "expired"}, "our own certificate has expired: renew"),
             ({"client": "named"}, "without a common name"),
             ({"url": named}, "its certificate is for another name")]
    for options, words in cases:
        use_store(fleet, store_of(etcd, **options))
        assert words in check(fleet)
    use_store(fleet, store_of(etcd, url=named, verify="false"))
    fleet.cli("fleet", "check")
    mixed = etcd.url.replace("127.0.0.1", "localhost", 1)  # the first of three
    use_store(fleet, store_of(etcd, url=mixed))
    said = check(fleet)
    assert f"localhost:{etcd.clients[0].split(':')[1]}" in said
    assert "1 member of the store's etcd does not serve as it should" in said
    found, go = findings(fleet)
    assert go and "for another name" in found["store-member"]["problem"]
    etcd.kill(2)
    use_store(fleet, store_of(etcd))
    assert f"etcd at {etcd.clients[2]}: " in check(fleet)
    use_store(fleet, store_of(etcd, ca="nothing.pem"))
    assert "holdfast.yaml:" in check(fleet) and "store.tls" in check(fleet)


def test_certificates_of_etcd_that_end_are_findings(fleet, etcd):
    assert "certificate-ends" not in findings(fleet)[0]
    etcd.certificates.issue("client", "/O=holdfast", days=13)
    found, go = findings(fleet)
    assert go and "our own certificate for etcd" in found["certificate-ends"]["problem"]
    etcd.certificates.issue("client", "/O=holdfast")
    etcd.certificates.issue("member", "/CN=member", days=13)  # loaded for each new connection
    found, go = findings(fleet)
    assert go and f"the certificate of etcd at {etcd.clients[2]}" in \
        found["certificate-ends"]["problem"]


def test_check_says_what_is_wrong_with_the_log_in(fleet, etcd):
    password = etcd.certificates.path("password")
    password.write_text("wrong\n")
    said = check(fleet)
    assert "log in as 'holdfast'" in said and "authentication failed" in said
    assert not findings(fleet)[1]
    password.write_text(HOLDFAST + "\n")
    etcd.become_root()
    etcd.ask("auth/role/revoke", {"role": "holdfast", **etcd.span("holdfast!guard/")})
    said = check(fleet)
    assert "the role of 'holdfast' in etcd does not let it read all below 'holdfast!guard/'" in said
    assert "etcdctl role grant-permission ROLE readwrite 'holdfast!guard/' --prefix" in said
    etcd.allow("holdfast!guard/", "READ")
    assert "does not let it write all below 'holdfast!guard/'" in check(fleet)
    found, go = findings(fleet)
    assert not go and "grant-permission" in found["store-unavailable"]["advice"]
    moved = fleet.cli("switchover", "--to", "east", "--yes", check=False)
    assert moved.returncode == NO_GO_EXIT and "write all below" in moved.stdout + moved.stderr
    etcd.allow("holdfast!guard/")
    fleet.cli("fleet", "check")
    etcd.ask("auth/disable", {})
    etcd.token = None
    assert "etcd lets everybody in" in fleet.cli("fleet", "check").stdout
    found, go = findings(fleet)
    assert go and "store-open" in found
