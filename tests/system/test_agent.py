# SPDX-License-Identifier: Apache-2.0
"""`holdfast agent`: what it closes, when, and what it leaves alone."""
import contextlib
import os
import pathlib
import signal
import threading
import time

import pymysql
import pytest

from conftest import wait_until
from fake_conductor import FakeConductor

TTL = 2.0
GRANT_MS = 1400
BOUND = 0.2    # before its end closing begins, which takes as long at most
SLACK = 0.4    # of this machine


class Writers:
    """Connections that write all the time; each remembers when it was answered, and what."""

    def __init__(self, lab, server, count=4):
        self.lab, self.server = lab, server
        self.acknowledged = [[] for _ in range(count)]
        self.refused = [[] for _ in range(count)]
        self.is_ended = threading.Event()
        lab.sql(server, "CREATE TABLE IF NOT EXISTS app.t (id BIGINT AUTO_INCREMENT PRIMARY KEY,"
                        " n INT)")
        self.threads = [threading.Thread(target=self.write, args=(i,)) for i in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_until(lambda: all(self.acknowledged), 5, "each writes")
        return self

    def __exit__(self, *_):
        self.is_ended.set()
        for thread in self.threads:
            thread.join()

    def write(self, number):
        connection = None
        while not self.is_ended.is_set():
            try:
                connection = connection or self.lab.connect(self.server, user="app", timeout=30)
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO app.t (n) VALUES (%s)", (number,))
                self.acknowledged[number].append(time.monotonic())
            except pymysql.err.MySQLError as error:
                self.refused[number].append((time.monotonic(), error.args))
                if error.args[0] in (2003, 2006, 2013):
                    connection = None
                self.is_ended.wait(0.001)

    def acknowledged_after(self, moment):
        """How many each connection got."""
        return [sum(at > moment for at in each) for each in self.acknowledged]

    def last_acknowledged(self):
        return max(max(each) for each in self.acknowledged)

    def were_refused(self):
        return any(self.refused)


class Host:
    """A host of the lab's servers with its agent, and the conductors that it asks."""

    def __init__(self, lab, folder, conductors, servers, ttl=TTL):
        self.lab, self.state, self.conductors = lab, f"{folder}/state", conductors
        self.log_path, self.agent = pathlib.Path(folder, "agent.log"), None
        pathlib.Path(lab.dir, "agent.token").write_text("agent-0123456789abcdef\n",
                                                        encoding="utf-8")
        names = ", ".join(f'"{lab.address(server)}"' for server in servers)
        with open(lab.fleet, "a", encoding="utf-8") as fleet:
            fleet.write(f"permission: {{ ttl: {int(ttl * 1000)}ms }}\n"
                        f"hosts:\n  - {{ name: db-w1, region: west, servers: [ {names} ] }}\n"
                        "api:\n  tokens:\n"
                        "    - { name: db-w1, role: agent, file: agent.token }\n"
                        "conductors:\n" + "".join(
                            f"  - {{ name: west-{i}, region: west,"
                            f" listen: \"127.0.0.1:{conductor.port}\" }}\n"
                            for i, conductor in enumerate(conductors)))

    def command(self, *words):
        return ["agent", *words, "--host", "db-w1", "--state", self.state]

    def start(self):
        with open(self.log_path, "a", encoding="utf-8") as log:
            self.agent = self.lab.popen(*self.command(), stdout=log, stderr=log)
        return self.agent

    def start_and_wait(self):
        asked = sum(len(each.questions) for each in self.conductors)
        self.start()
        wait_until(lambda: sum(len(each.questions) for each in self.conductors) > asked + 1, 30,
                   "the agent asks")

    def log(self):
        return self.log_path.read_text(encoding="utf-8")

    def report(self, server):
        return self.conductors[0].report(self.lab.address(server))

    def wait_for(self, server, state, seconds=3):
        wait_until(lambda: self.report(server).get("state") == state, seconds,
                   f"{server} is {state}")

    def end(self):
        if self.agent and self.agent.poll() is None:
            self.agent.send_signal(signal.SIGCONT)
            self.agent.kill()
            self.agent.wait()


@pytest.fixture
def make_host(lab, tmp_path):
    with contextlib.ExitStack() as stack:
        def make(*servers, conductors=1, ttl=TTL):
            asked = [stack.enter_context(FakeConductor()) for _ in range(conductors)]
            for conductor in asked:
                conductor.serve_ms = GRANT_MS
            host = Host(lab, tmp_path, asked, servers or ("s0-west-1",), ttl)
            stack.callback(host.end)
            return host
        yield make


def is_read_only(lab, server):
    return lab.value(server, "SELECT @@global.read_only") == 1


def signal_server(lab, server, which):
    os.kill(lab.pid(server), which)


def thaw(*processes):
    """Together, as a machine does: none of them runs before all of them may."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))  # above the agent's own
    for process in processes:
        os.kill(process, signal.SIGCONT)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def test_asks_with_its_token_and_tells_what_it_sees(lab, make_host):
    host = make_host("s0-west-1", "s0-west-2")
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    host.wait_for("s0-west-2", "closed")
    question = host.conductors[0].questions[-1]
    assert (question["path"], question["host"], question["ttl_ms"]) == ("/v1/permit", "db-w1", 2000)
    assert question["token"] == "Bearer agent-0123456789abcdef"
    wait_until(lambda: len(host.conductors[0].questions) > 8, 5, "it goes on")
    times = [each["at"] for each in host.conductors[0].questions][-4:]
    assert 0.35 < (times[-1] - times[0]) / 3 < 0.5  # a fifth of the TTL
    assert not is_read_only(lab, "s0-west-1")


def test_a_revoked_server_is_closed_and_the_closure_confirmed_at_that_revision(lab, make_host):
    host = make_host("s0-west-1", "s0-west-2")
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    with Writers(lab, "s0-west-1") as writers:
        began = time.monotonic()
        revision = host.conductors[0].revoke(lab.address("s0-west-1"))
        wait_until(lambda: host.report("s0-west-1") ==
                   {"name": lab.address("s0-west-1"), "state": "closed", "since_rev": revision},
                   2, "confirmed")
        took = time.monotonic() - began
        closed = time.monotonic()
        assert took < TTL / 5 + SLACK
        time.sleep(0.1)
        assert sum(writers.acknowledged_after(closed)) == 0
    assert "killed" not in host.log() and lab.pid("s0-west-1")
    host.conductors[0].allow(lab.address("s0-west-1"))
    asked = len(host.conductors[0].questions)
    wait_until(lambda: len(host.conductors[0].questions) > asked + 3, 3, "it heard of that")
    assert is_read_only(lab, "s0-west-1")  # an agent never opens anything


def test_who_was_to_open_the_server_is_ended_before_the_closure_is_confirmed(lab, make_host):
    host = make_host("s0-west-1")
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    opener = lab.connect("s0-west-1", user="holdfast", timeout=10)
    with opener.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('holdfast', 0)")
    ended = []

    def open_late():
        try:
            with opener.cursor() as cursor:
                cursor.execute("BEGIN NOT ATOMIC DO SLEEP(1.2); SET GLOBAL read_only=0; END")
        except pymysql.err.MySQLError as error:
            ended.append(error.args[0])

    late = threading.Thread(target=open_late)
    late.start()
    revision = host.conductors[0].revoke(lab.address("s0-west-1"))
    wait_until(lambda: host.report("s0-west-1").get("since_rev") == revision, 2, "confirmed")
    assert is_read_only(lab, "s0-west-1")
    late.join()
    assert ended and is_read_only(lab, "s0-west-1")
    assert host.log().count("refuses writes") == 1


def test_an_older_answer_lifts_no_revocation(lab, make_host):
    host = make_host("s0-west-1")
    conductor = host.conductors[0]
    host.start_and_wait()
    conductor.revoke(lab.address("s0-west-1"))
    host.wait_for("s0-west-1", "closed")
    conductor.revision, conductor.revoked = conductor.revision - 1, set()
    asked = len(conductor.questions)
    wait_until(lambda: len(conductor.questions) > asked + 1, 3, "it heard the older answer")
    lab.sql("s0-west-1", "SET GLOBAL read_only=0")
    wait_until(lambda: is_read_only(lab, "s0-west-1"), 2, "closed again")
    conductor.revision += 2
    asked = len(conductor.questions)
    wait_until(lambda: len(conductor.questions) > asked + 1, 3, "it heard the newer answer")
    lab.sql("s0-west-1", "SET GLOBAL read_only=0")
    host.wait_for("s0-west-1", "open")


def test_when_permission_ends_writes_end_with_it(lab, make_host):
    host = make_host("s0-west-1")
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    with Writers(lab, "s0-west-1") as writers:
        host.conductors[0].mode = "hang"
        asked = len(host.conductors[0].questions)
        wait_until(lambda: is_read_only(lab, "s0-west-1"), TTL + SLACK, "closed")
        granted = list(host.conductors[0].questions)[asked - 1]["at"]
        closed = time.monotonic()
        time.sleep(0.2)
        assert GRANT_MS / 1000 - 2 * BOUND < writers.last_acknowledged() - granted < GRANT_MS / 1000
        assert sum(writers.acknowledged_after(closed)) == 0
    assert "killed" not in host.log()


def test_a_server_whose_commits_wait_for_acknowledgements_is_killed(lab, make_host):
    host = make_host("s0-west-1")
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    pid = lab.pid("s0-west-1")
    with Writers(lab, "s0-west-1") as writers:
        for acker in ("s0-west-2", "s0-west-3"):
            signal_server(lab, acker, signal.SIGSTOP)
        wait_until(lambda: time.monotonic() - writers.last_acknowledged() > 0.2, 3, "all wait")
        held = time.monotonic()
        host.conductors[0].mode = "hang"
        granted = host.conductors[0].questions[-1]["at"]
        wait_until(lambda: lab.pid("s0-west-1") != pid, TTL + SLACK, "killed")
        assert time.monotonic() - granted < GRANT_MS / 1000 + SLACK
        host.conductors[0].mode = "ok"
        host.wait_for("s0-west-1", "dead")
        assert sum(writers.acknowledged_after(held)) == 0  # nobody got an OK that is nowhere else
        for acker in ("s0-west-2", "s0-west-3"):
            signal_server(lab, acker, signal.SIGCONT)
    assert "killed" in host.log()


def test_a_server_that_hangs_does_not_hold_up_the_others(lab, make_host):
    host = make_host("s0-west-2", "s0-west-1")
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    host.wait_for("s0-west-2", "closed")
    pid = lab.pid("s0-west-2")
    signal_server(lab, "s0-west-2", signal.SIGSTOP)
    wait_until(lambda: host.report("s0-west-2")["state"] == "unknown", 5, "it is seen to hang")
    host.conductors[0].mode = "hang"
    wait_until(lambda: is_read_only(lab, "s0-west-1"), TTL + SLACK, "the other one is closed")
    wait_until(lambda: lab.pid("s0-west-2") != pid, 2, "the one that hangs is killed")
    took = [float(line.split("after ")[1].split()[0]) for line in host.log().splitlines()
            if "refuses writes" in line and lab.address("s0-west-1") in line]
    assert took and took[0] < BOUND * 1000


@pytest.mark.parametrize("times", [0.5, 1, 3])
def test_after_a_thaw_at_most_what_was_in_flight_is_acknowledged(lab, make_host, times):
    host = make_host("s0-west-1")
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    server = lab.pid("s0-west-1")
    wait_until(lambda: f"process-{lab.address('s0-west-1')}" in os.listdir(host.state), 3, "known")
    with Writers(lab, "s0-west-1") as writers:
        granted = host.conductors[0].questions[-1]["at"]
        for process in (host.agent.pid, server):
            os.kill(process, signal.SIGSTOP)
        time.sleep(times * TTL)
        host.conductors[0].mode = "hang"  # as when the region was declared dead meanwhile
        thawed = time.monotonic()
        is_over = thawed - granted > GRANT_MS / 1000
        thaw(server, host.agent.pid)  # the worse order
        if not is_over:
            return
        wait_until(lambda: "refuses writes" in host.log(), 2, "closed")
        time.sleep(0.2)
        after = writers.acknowledged_after(thawed)
        print("acknowledged after the thaw:", after, "within ms:",
              (writers.last_acknowledged() - thawed) * 1000, host.log().splitlines()[-3:])
        assert max(after) <= 1, after


@pytest.mark.parametrize("how", ["kill", "reload"])
def test_an_agent_that_begins_anew_disturbs_nobody(lab, make_host, how):
    host = make_host("s0-west-1")
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    with Writers(lab, "s0-west-1") as writers:
        for _ in range(3):
            asked = len(host.conductors[0].questions)
            if how == "reload":
                host.agent.send_signal(signal.SIGHUP)
            else:
                host.agent.kill()
                host.agent.wait()
                host.start()
            wait_until(lambda: len(host.conductors[0].questions) > asked + 3, 5, "it asks again")
        assert not writers.were_refused()
    assert host.agent.poll() is None and "fence" not in host.log()


def test_an_agent_that_was_gone_for_too_long_closes_first(lab, make_host):
    host = make_host("s0-west-1")
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    wait_until(lambda: "permission" in os.listdir(host.state), 2, "it is kept")
    host.agent.kill()
    host.agent.wait()
    time.sleep(TTL)  # what is tested is that time
    host.start()
    wait_until(lambda: is_read_only(lab, "s0-west-1"), 1, "closed")
    lines = host.log().splitlines()
    lines = lines[max(i for i, line in enumerate(lines) if "is=begins" in line):]
    assert "fence" in lines[1]


def test_one_conductor_that_hangs_costs_nothing(lab, make_host):
    host = make_host("s0-west-1", conductors=2)
    host.conductors[0].mode = "hang"
    host.start_and_wait()
    with Writers(lab, "s0-west-1") as writers:
        wait_until(lambda: len(host.conductors[1].questions) > 8, 8, "it asks the other one")
        host.conductors[0].mode, host.conductors[1].mode = "ok", "hang"
        asked = len(host.conductors[0].questions)
        wait_until(lambda: len(host.conductors[0].questions) > asked + 8, 8, "and the first again")
        assert not writers.were_refused()
    assert "fence" not in host.log()


@pytest.mark.parametrize("mode", ["half", "garbage", "error", "late"])
def test_what_is_no_answer_in_time_gives_no_permission(lab, make_host, mode):
    host = make_host("s0-west-1")
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    host.conductors[0].late_seconds = TTL / 5 + 0.1
    host.conductors[0].mode = mode
    wait_until(lambda: is_read_only(lab, "s0-west-1"), TTL + SLACK, "closed")
    assert host.agent.poll() is None


def test_a_permission_counts_from_when_it_was_asked_for_and_has_a_limit(lab, make_host):
    ttl = 2 * TTL  # counted from the answer's arrival it would last for late_seconds more
    host = make_host("s0-west-1", ttl=ttl)
    conductor = host.conductors[0]
    conductor.serve_ms, conductor.mode, conductor.late_seconds = 10 ** 12, "late", ttl / 5 - 0.1
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    conductor.mode = "hang"
    last = conductor.questions[-1]["at"]  # it may still be answered
    wait_until(lambda: is_read_only(lab, "s0-west-1"), ttl + SLACK, "closed")
    assert time.monotonic() - last < (0.9 - 0.1) * ttl + SLACK  # less the margin, less the closing


def test_a_planned_stop_lets_the_permission_run_out(lab, make_host):
    host = make_host("s0-west-1")
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    with Writers(lab, "s0-west-1") as writers:
        granted = host.conductors[0].questions[-1]["at"]
        host.agent.terminate()
        assert host.agent.wait(TTL + SLACK) == 0
        assert writers.last_acknowledged() - granted > GRANT_MS / 1000 - 2 * BOUND
    assert is_read_only(lab, "s0-west-1") and "stops" in host.log()
    assert "permission" not in os.listdir(host.state)


def test_a_second_signal_closes_at_once(lab, make_host):
    host = make_host("s0-west-1", ttl=60)
    host.conductors[0].serve_ms = 60_000  # for most of which it would wait, had it not heard the second one
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    host.agent.terminate()
    wait_until(lambda: "is=stops" in host.log(), 10, "it heard")
    host.agent.terminate()
    assert host.agent.wait(20) == 0
    assert is_read_only(lab, "s0-west-1")


def test_a_human_is_told_once_of_a_server_that_cannot_be_closed(lab, make_host):
    host = make_host("s0-west-1")
    host.conductors[0].serve_ms = 0
    signal_server(lab, "s0-west-1", signal.SIGSTOP)  # nobody can tell which process it is
    try:
        began = time.monotonic()
        host.start()
        wait_until(lambda: "fence.failed" in host.log(), 6, "a human is told")
        assert time.monotonic() - began > 1
        asked = len(host.conductors[0].questions)
        wait_until(lambda: len(host.conductors[0].questions) > asked + 3, 10, "it goes on")
    finally:
        signal_server(lab, "s0-west-1", signal.SIGCONT)
    wait_until(lambda: is_read_only(lab, "s0-west-1"), 3, "closed in the end")
    assert host.log().count("fence.failed") == 1, host.log()


def test_one_agent_a_host(lab, make_host):
    host = make_host("s0-west-1")
    host.start_and_wait()
    second = lab.cli(*host.command(), check=False)
    assert second.returncode == 1 and "another agent" in second.stderr
    assert not is_read_only(lab, "s0-west-1")


def test_close_ends_what_no_agent_looks_after(lab, make_host):
    host = make_host("s0-west-1", "s0-west-2")
    host.start_and_wait()
    host.wait_for("s0-west-1", "open")
    pid = lab.pid("s0-west-2")
    wait_until(lambda: f"process-{lab.address('s0-west-2')}" in os.listdir(host.state), 3, "known")
    host.agent.kill()
    host.agent.wait()
    signal_server(lab, "s0-west-2", signal.SIGSTOP)
    lab.cli(*host.command("close"))
    assert is_read_only(lab, "s0-west-1")
    wait_until(lambda: lab.pid("s0-west-2") != pid, 1, "killed")
