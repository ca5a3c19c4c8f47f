# SPDX-License-Identifier: Apache-2.0
"""The conductor dies (SIGKILL) before, within and after every SQL packet and every store write of a
move, and another process resumes the run: the shard is wholly at one side, writable in exactly one
place, no acknowledged write is lost, and it can move again.

The points come from the program's own table (`holdfast dev points`), so a new call cannot be
forgotten: a point that no scenario reaches fails the test.
"""
import pytest

from moves import ABORTED, DONE, KILLED, STUCK, other_region, points, selected
from scenarios import Bench, pass_point, passage, put_right, run_all

# Where the first process dies, for the tests in which the second one dies too: what the second
# one finds is 'preparing', 'promoting' with a closed and with an open new primary, 'redirecting'.
FIRST_DEATHS = ["cas.preparing:after", "new.promote:before", "new.promote:after", "old.follow:sent"]


@pytest.fixture
def bench(make_lab):
    bench = Bench(make_lab)
    yield bench
    bench.discard()


def resume_what_is_left(fleet, may_be=(DONE,)):
    """As an operator would: resume when there is something to resume."""
    if fleet.unfinished():
        fleet.resume(expect=may_be)


def crash(bench, point, reached, first=None):
    """A process dies at the point, as its predecessor did at 'first'; another one finishes."""
    done = pass_point(bench.fleet, point, "kill", first)
    assert done["code"] == KILLED, f"{point} was not reached: {done}"
    reached.add(point)
    resume_what_is_left(bench.fleet)
    put_right(bench.fleet, point)


def test_killed_at_every_point(bench):
    everything = points(bench.ready())
    reached = set()
    run_all(bench, [(f"{passage(p).first or 'begin'}, then {p}",
                     lambda p=p: crash(bench, p, reached)) for p in everything])
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
                     lambda p=p: crash(bench, p, reached, first)) for p in chosen])
    print(f"\nresumed after {first}: {len(passed)} points, killed at {len(reached)}")


def test_interrupted_at_every_point(bench):
    """Ctrl-C, also in a run that was resumed: it ends by itself, at one side or the other; nothing is
    left to resume."""
    chosen = selected(points(bench.ready()))
    ends = {DONE: 0, ABORTED: 0}

    def interrupt(point):
        fleet = bench.fleet
        old = fleet.primary()
        to = other_region(fleet, old.region)
        done = pass_point(fleet, point, "int")
        assert done["code"] in ends, done
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
        done = pass_point(fleet, point, trouble)
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
