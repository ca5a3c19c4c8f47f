# SPDX-License-Identifier: Apache-2.0
"""Three real etcd members for a test; on demand under TLS, and with users."""
import base64
import contextlib
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import tempfile
import urllib.request

import pytest

from conftest import wait_until

START_SECONDS = 20
ROOT, HOLDFAST = "rootpw", "hold fast"


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class Certificates:
    """An authority in a folder, and what it signs there: NAME.pem, NAME.key."""

    def __init__(self, folder, name="ca"):
        self.folder, self.name = pathlib.Path(folder), name
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={name}", "-days", 30, "-keyout", self.path(f"{name}.key"), "-out",
                self.path(f"{name}.pem"))

    def path(self, name):
        return self.folder / name

    def issue(self, name, subject, days=30, address="127.0.0.1"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                subject, "-keyout", self.path(f"{name}.key"), "-out", self.path("request"))
        self.path("names").write_text(f"subjectAltName=IP:{address}\n")
        openssl("x509", "-req", "-in", self.path("request"), "-CA", self.path(f"{self.name}.pem"),
                "-CAkey", self.path(f"{self.name}.key"), "-CAcreateserial", "-days", days,
                "-extfile", self.path("names"), "-out", self.path(f"{name}.pem"))


class Etcd:
    """Three members, with their data in memory."""

    def __init__(self, folder, election_ms=500, is_secure=False):
        self.folder, self.election_ms, ports = pathlib.Path(folder), election_ms, free_ports(6)
        self.clients = [f"127.0.0.1:{port}" for port in ports[:3]]
        self.peers = [f"http://127.0.0.1:{port}" for port in ports[3:]]
        self.url = "etcd://" + ",".join(self.clients)
        self.scheme, self.tls, self.token, self.more = "http", None, None, []
        self.members = [None] * 3
        self.is_secure = is_secure

    def start_all(self):
        if self.is_secure:
            self.make_certificates()
        for index in range(3):
            self.start(index)
        for index in range(3):
            self.wait_for(index)
        if self.is_secure:
            self.make_users()

    def make_certificates(self):
        self.certificates = Certificates(self.folder)
        self.certificates.issue("member", "/CN=member")
        self.certificates.issue("client", "/O=holdfast")
        at = self.certificates.path
        self.scheme = "https"
        self.tls = ssl.create_default_context(cafile=at("ca.pem"))
        self.tls.load_cert_chain(at("client.pem"), at("client.key"))
        self.more = ["--cert-file", at("member.pem"), "--key-file", at("member.key"),
                     "--trusted-ca-file", at("ca.pem"), "--client-cert-auth", "--bcrypt-cost", "4"]

    def ask(self, path, body, index=2):
        headers = {"Authorization": self.token} if self.token else {}
        request = urllib.request.Request(f"{self.scheme}://{self.clients[index]}/v3/{path}",
                                         json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=5, context=self.tls) as answer:
            return json.load(answer)

    def make_users(self):
        for user, password in (("root", ROOT), ("holdfast", HOLDFAST)):
            self.ask("auth/user/add", {"name": user, "password": password})
            self.ask("auth/role/add", {"name": user})
            self.ask("auth/user/grant", {"user": user, "role": user})
        self.allow("holdfast/")
        self.allow("holdfast!guard/")
        self.ask("auth/enable", {})
        self.become_root()

    def become_root(self):
        self.token = None
        self.token = self.ask("auth/authenticate", {"name": "root", "password": ROOT})["token"]

    @staticmethod
    def span(prefix):
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        return {"key": base64.b64encode(prefix.encode()).decode(),
                "range_end": base64.b64encode(end.encode()).decode()}

    def allow(self, prefix, kind="READWRITE"):
        self.ask("auth/role/grant", {"name": "holdfast",
                                     "perm": {"permType": kind, **self.span(prefix)}})

    def wait_for(self, index):
        """Until this member knows a leader, and a majority answers it."""
        def is_healthy():
            try:
                url = f"{self.scheme}://{self.clients[index]}/health"
                with urllib.request.urlopen(url, timeout=2, context=self.tls) as answer:
                    return json.load(answer)["health"] == "true"
            except OSError:
                return False
        wait_until(is_healthy, START_SECONDS, f"etcd's member {index} serves")

    def start(self, index):
        with open(f"{self.folder}/log{index}", "a", encoding="utf-8") as log:
            client = f"{self.scheme}://{self.clients[index]}"
            self.members[index] = subprocess.Popen([
                "etcd", "--name", f"m{index}", "--data-dir", f"{self.folder}/m{index}",
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", self.peers[index],
                "--heartbeat-interval", str(self.election_ms // 10),
                "--election-timeout", str(self.election_ms), *map(str, self.more),
                "--initial-advertise-peer-urls", self.peers[index], "--initial-cluster",
                ",".join(f"m{n}={peer}" for n, peer in enumerate(self.peers))],
                stdout=log, stderr=log)

    def leader(self):
        """The index of the member that leads."""
        for index in range(3):
            status = self.ask("maintenance/status", {}, index)
            if status["leader"] == status["header"]["member_id"]:
                return index
        return pytest.fail("no member leads")

    def kill(self, index):
        self.members[index].kill()
        self.members[index].wait()

    def signal(self, index, which):
        self.members[index].send_signal(which)

    def stop(self):
        for index in range(3):
            if self.members[index]:
                self.kill(index)


@contextlib.contextmanager
def running_etcd(**options):
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="holdfast-etcd-", dir=memory) as folder:
        members = Etcd(folder, **options)
        try:
            members.start_all()
            yield members
        finally:
            members.stop()


def use_store(lab, store):
    """The fleet file of a lab with this store, and with the journals beside it."""
    path = pathlib.Path(lab.fleet)
    path.write_text(re.sub(r"^(journal:.*\n)?store:.*\n(  .*\n)*",
                           f"journal: journals\nstore: {store}\n", path.read_text(), flags=re.M))
