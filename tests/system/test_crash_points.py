# SPDX-License-Identifier: Apache-2.0
"""The conductor dies (SIGKILL) before, within and after every SQL packet and every store write of a
move, and another process resumes the run: the shard is wholly at one side, writable in exactly one
place, no acknowledged write is lost, and it can move again.

The points come from the program's own table (`holdfast dev points`), so a new call cannot be
forgotten: a point that no scenario reaches fails the test.
"""
import contextlib

import pytest

from moves import (ABORTED, DONE, KILLED, STUCK, Writers, assert_sound, hold_command, of_lab, other_region,
                   points, selected)

# A privileged statement that the freeze holds up.
FLUSH = ("FLUSH TABLES", "Waiting for backup lock")

# The disk may be slow; a late FLUSH TABLES leaves a transaction that only its own region has.
POLICY = "{ freeze_timeout: 2s, accept: [ errant-transactions ] }"

# Calls that a move without trouble does not make, and what provokes them.
UNUSUAL = {
    "old.schema": "missing table",
    "old.end-held": "held session",
    "old.evict": "locks held, resumed",
    "new.evict": "locks held, resumed",
    "new.confirm": "resumed before promote",
    "new.log": "flushed relay, resumed",
    "new.close": "resumed before promote",
    "old.open": "resumed before promote",
    "old.undo-look": "resumed before promote",
    "all.rivals": "resumed before promote",
    "cas.undoing": "resumed before promote",
    "run.take": "resumed before promote",
    "old.late": "held, resumed",
    "all.strict": "held, resumed",
}

# Where the first process dies, for the tests in which the second one dies too: what the second
# one finds is 'preparing', 'promoting' with a closed and with an open new primary, 'redirecting'.
FIRST_DEATHS = ["cas.preparing:after", "new.promote:before", "new.promote:after", "old.follow:sent"]


class Bench:
    """A fleet with writers on which one scenario follows the other; fresh after a failure."""

    def __init__(self, make_lab):
        self.make_lab = make_lab
        self.fleet = self.writers = None  # both or none
        self.checked = 0  # numbers up to this one were verified

    def ready(self):
        if self.fleet is None:
            fleet = of_lab(self.make_lab(), policy=POLICY)
            furnish(fleet)
            self.fleet, self.writers = fleet, Writers(fleet).__enter__()
            self.checked = 0
        return self.fleet

    def discard(self):
        if self.fleet is not None:
            self.writers.stop()
            self.fleet.close()
        self.fleet = None

    def check(self):
        """After the disaster, and once more after a further move."""
        fleet, writers = self.fleet, self.writers
        assert_sound(fleet, writers.acked, self.checked)
        writers.wait_for_more(3)
        home = fleet.route()["home"]
        moved = fleet.move(other_region(fleet, home), expect=DONE)
        assert moved["shard"]["result"] == "moved", moved
        acked = list(writers.acked)
        assert_sound(fleet, acked, self.checked)
        self.checked = max(acked)

    def check_everything(self):
        if self.fleet is not None:
            self.writers.stop()
            assert_sound(self.fleet, self.writers.acked)


def furnish(fleet):
    """An event and a running scheduler that Holdfast may switch, so that a move has to take them
    along."""
    primary = fleet.primary()
    fleet.sql(primary, "GRANT SUPER ON *.* TO holdfast@'%'")
    fleet.sql(primary, f"CREATE EVENT {fleet.database}.hourly ON SCHEDULE EVERY 1 HOUR "
                       f"STARTS '2030-01-01' DO DELETE FROM {fleet.database}.ledger WHERE n < 0")
    fleet.sql(primary, "SET GLOBAL event_scheduler=ON")


@pytest.fixture
def bench(make_lab):
    bench = Bench(make_lab)
    yield bench
    bench.discard()


def run_all(bench, scenarios):
    """Every scenario, also after failures; they are reported together."""
    failures = []
    for name, scenario in scenarios:
        try:
            bench.ready()
            scenario()
            bench.check()
        except (AssertionError, Exception) as error:  # pylint: disable=broad-except
            failures.append(f"{name}: {type(error).__name__} {error}")
            bench.discard()
            if len(failures) >= 5:
                break
    with contextlib.suppress(AssertionError) if failures else contextlib.nullcontext():
        bench.check_everything()
    assert not failures, f"{len(failures)} scenarios failed:\n" + "\n".join(failures)


def plant_locks(fleet):
    """Somebody who holds the server locks of the run that died, as its sessions would if its host
    had only lost the network."""
    return [fleet.connect(server) for server in (fleet.primary(), fleet.relay())
            if fleet.value(server, "SELECT 1")]


def take_locks(fleet, connections):
    for connection in connections:
        with connection.cursor() as cursor:
            cursor.execute("SELECT GET_LOCK(%s, 2) AS got", ("holdfast",))
            assert cursor.fetchone()["got"] == 1


def resume_what_is_left(fleet, may_be=(DONE,)):
    """As an operator would: resume when there is something to resume."""
    if fleet.unfinished():
        fleet.resume(expect=may_be)


def crash_once(bench, point, reached):
    """One process, which dies at the point."""
    fleet = bench.fleet
    call = point.split(":")[0]
    fault = f"{point}=kill"
    old = fleet.primary()
    if UNUSUAL.get(call) == "missing table":
        fleet.sql(old, "DROP TABLE holdfast.load_row")
    if UNUSUAL.get(call) == "held session":
        fault = f"old.freeze:after=run:{hold_command(fleet, old, *FLUSH)};{fault}"
    done = fleet.move(other_region(fleet, old.region), fault=fault)
    assert done["code"] == KILLED, f"{point} was not reached: {done}"
    reached.add(point)
    resume_what_is_left(fleet)


def crash_twice(bench, first, point, reached, must_reach=True):
    """A process dies at 'first', its successor at 'point', and a third one finishes."""
    fleet = bench.fleet
    locks, fault = [], f"{first}=kill"
    if UNUSUAL.get(point.split(":")[0]) == "held, resumed":
        fault = f"old.freeze:after=run:{hold_command(fleet, fleet.primary(), *FLUSH)};{fault}"
    if UNUSUAL.get(point.split(":")[0]) == "locks held, resumed":
        locks = plant_locks(fleet)
    relay = fleet.relay()
    is_flushed = UNUSUAL.get(point.split(":")[0]) == "flushed relay, resumed"
    if is_flushed:  # in strict order a replica's own number stops its applier
        set_strict(fleet, 0)
    done = fleet.move(other_region(fleet, fleet.primary().region), fault=fault)
    assert done["code"] == KILLED, f"{first} was not reached: {done}"
    if is_flushed:
        fleet.sql(relay, "FLUSH TABLES")
    take_locks(fleet, locks)
    done = fleet.resume(fault=f"{point}=kill")
    for connection in locks:
        connection.close()
    assert not must_reach or done["code"] == KILLED, f"{point} was not reached: {done}"
    if done["code"] == KILLED:
        reached.add(point)
    resume_what_is_left(fleet)
    if is_flushed:
        set_strict(fleet, 1)


def set_strict(fleet, is_strict):
    for server in fleet.servers:
        fleet.sql(server, f"SET GLOBAL gtid_strict_mode={is_strict}")


def usual(all_points):
    return [p for p in all_points if not UNUSUAL.get(p.split(":")[0], "").endswith(
        ("resumed", "resumed before promote"))]


def first_death_for(point):
    """Where the first process must have died for the second one to come past the point."""
    return {"old.evict": "cas.preparing:after", "new.evict": "cas.preparing:after",
            "old.late": "old.end-held:before", "all.strict": "old.end-held:before",
            }.get(point.split(":")[0], "new.promote:before")


def test_killed_at_every_point(bench):
    bench.ready()
    everything = points(bench.fleet)
    plain = usual(everything)
    rest = [p for p in everything if p not in plain]
    reached = set()
    scenarios = [(p, lambda p=p: crash_once(bench, p, reached)) for p in plain]
    scenarios += [(f"{first_death_for(p)}, then {p}",
                   lambda p=p: crash_twice(bench, first_death_for(p), p, reached)) for p in rest]
    run_all(bench, scenarios)
    print(f"\n{len(everything)} crash points, {len(reached)} reached")
    assert reached == set(everything)


@pytest.mark.parametrize("first", FIRST_DEATHS)
def test_the_resuming_process_is_killed_too(bench, first, tmp_path):
    fleet = bench.ready()
    trace = tmp_path / "trace"
    done = fleet.move(other_region(fleet, fleet.primary().region), fault=f"{first}=kill")
    assert done["code"] == KILLED
    fleet.resume(trace=trace, expect=DONE)
    bench.check()
    passed = list(dict.fromkeys(trace.read_text().split()))
    assert len(passed) > 20, passed
    chosen = selected(passed, of=6)
    reached = set()
    run_all(bench, [(f"{first}, then {p}",
                     lambda p=p: crash_twice(bench, first, p, reached)) for p in chosen])
    print(f"\nresumed after {first}: {len(passed)} points, killed at {len(reached)}")


def test_interrupted_at_every_point(bench):
    """Ctrl-C: the run ends by itself, at one side or the other; nothing is left to resume."""
    fleet = bench.ready()
    chosen = selected(usual(points(fleet)))
    ends = {DONE: 0, ABORTED: 0}

    def interrupt(point):
        fleet = bench.fleet
        old = fleet.primary()
        fault = f"{point}=int"
        if point.startswith("old.end-held"):
            fault = f"old.freeze:after=run:{hold_command(fleet, old, *FLUSH)};{fault}"
        to = other_region(fleet, old.region)
        done = fleet.move(to, fault=fault, expect=(DONE, ABORTED))
        ends[done["code"]] += 1
        assert done["shard"]["result"] == ("moved" if done["code"] == DONE else "aborted"), done
        assert fleet.route()["home"] == (to if done["code"] == DONE else old.region)
        assert fleet.unfinished() is None

    run_all(bench, [(f"{p}=int", lambda p=p: interrupt(p)) for p in chosen])
    print(f"\n{len(chosen)} points: {ends[DONE]} moves were finished, {ends[ABORTED]} aborted")
    assert ends[DONE] and ends[ABORTED]


STORE_TROUBLE = ["busy", "full", "fail", "unknown-done", "unknown-lost"]


def test_the_store_fails_at_every_write(bench):
    """Whatever the store says at one write, the run ends, says how, or can be resumed."""
    fleet = bench.ready()
    writes = [p for p in points(fleet) if p.endswith(":before")
              and p.startswith(("cas.", "run.", "get.", "lease.grant", "report."))]
    cases = selected([(p, t) for p in writes for t in STORE_TROUBLE], of=2)
    codes = {}

    def trouble_at(point, trouble):
        fleet = bench.fleet
        fault = f"{point}={trouble}"
        to = other_region(fleet, fleet.primary().region)
        if point == "run.take:before":
            fleet.move(to, fault="cas.promoting:after=kill", expect=KILLED)
            done = fleet.resume(fault=fault)
        elif point == "cas.undoing:before":
            done = fleet.move(to, fault=f"old.freeze:before=int;{fault}")
        else:
            done = fleet.move(to, fault=fault)
        codes[done["code"]] = codes.get(done["code"], 0) + 1
        assert done["code"] >= 0, done
        assert done["code"] == DONE or "holdfast" in done["stderr"], done
        assert done["code"] != STUCK, done
        resume_what_is_left(fleet)

    run_all(bench, [(f"{p}={t}", lambda p=p, t=t: trouble_at(p, t)) for p, t in cases])
    print(f"\n{len(cases)} store troubles; exit codes {codes}")


def test_the_trace_names_only_points_of_the_table(bench, tmp_path):
    fleet = bench.ready()
    trace = tmp_path / "trace"
    fleet.move(other_region(fleet, fleet.primary().region), trace=trace, expect=DONE)
    passed = trace.read_text().split()
    assert set(passed) <= set(points(fleet))
    assert passed[0] == "lease.grant:before" and passed[-1] == "lease.revoke:after"
