# SPDX-License-Identifier: Apache-2.0
"""A whole region is lost, or half of it, and nobody is at the keyboard. What clients inside and outside saw is
judged; and the judge itself, by planted violations.
"""
import dataclasses

import pytest

from host_disasters import Ack, longest_gap, seed_from_environment
from moves import SOAK
from namespaces import needs_namespaces
from region_checks import Course, disagreement, felt, last_in_region, lost_span, outage, violations, wrong_bound
from region_disasters import (APART, FREEZES, KEPT, KILL, KINDS, LAB, LOST, MUTE, NO_WITNESS, TTL, UNPLUG,
                              RegionWorld, draw_losses, go_through, slowest, table)
from test_host_disasters import show_logs

SHARDS = 4 if SOAK else 2
LOSSES = 54
FAR_OFF = 5 * 0.1
FAR_SECONDS = 5 * (TTL + 1)  # bench/region-loss holds the bound itself

# ---- the judge, by what was made up ----

REGIONS = {"w1": "west", "w2": "west", "e1": "east", "e2": "east"}


def ack(number, server, got, place="host", sent=None):
    return Ack(number, server, got - 0.002 if sent is None else sent, got, place)


def a_loss(**changes):
    """West is cut off at 10: it goes on for two seconds inside, is fenced at 13, and east serves from 13.5 on; what
    it acknowledged after 9.95 had not arrived there."""
    acks = [ack(n, "w1", 9 + n / 100, "west") for n in range(300)]
    acks += [ack(1000 + n, "e1", 13.5 + n / 10, "east") for n in range(100)]
    rows = frozenset([*range(95), *range(1000, 1100)])
    return dataclasses.replace(Course(acks, "west", REGIONS, 10.0, fenced=13.0, rows=rows), **changes)


def test_a_loss_as_it_should_be_is_measured():
    course = a_loss()
    assert violations(course) == []
    assert (course.heir, course.is_moved, len(course.lost)) == ("e1", True, 205)
    assert outage(course) == pytest.approx(3.5) and outage(course, {"east"}) == pytest.approx(3.5)
    assert last_in_region(course) == pytest.approx(1.99)
    assert lost_span(course) == pytest.approx(2.04)
    whole = dataclasses.replace(course, acks=course.acks + [ack(5000, "w1", 9.98, "east")])
    assert felt(whole, "east") == pytest.approx(3.52)


def planted(*more, **changes):
    course = a_loss()
    return violations(dataclasses.replace(course, **{"acks": [*course.acks, *more], **changes}))


@pytest.mark.parametrize("more, changes, said", [
    ([ack(7000, "w1", 13.6)], {}, "w1 acknowledged 7000 0.100 s after e1 had begun"),
    ([ack(7000, "w1", 13.6)], {"fenced": 13.4}, "w1 acknowledged 7000 0.200 s after west was fenced"),
    ([ack(7000, "w2", 13.2)], {}, "w2 acknowledged 7000 0.200 s after west was fenced"),
    ([ack(7000, "e2", 13.45), ack(7001, "e2", 13.6)], {"rows": None}, "e2 acknowledged 7001"),
    ([ack(7000, "w2", 10.5)], {}, "w1 and w2 acknowledged at the same time, for 1.490 s"),
    ([ack(7000, "e1", 14.0)], {}, "7000, which e1 acknowledged, is lost"),
    ([ack(7000, "e2", 13.45)], {}, "7000, which e2 acknowledged, is lost"),
    ([], {"fenced": None}, "e1 serves, and west was never fenced"),
    ([], {"fenced": 13.7}, "e1 serves 0.200 s before west is seen fenced"),
])
def test_a_planted_violation_is_found(more, changes, said):
    found = planted(*more, **changes)
    assert any(said in sentence for sentence in found), found


def test_an_answer_that_was_under_way_may_arrive_when_all_is_connected_again():
    late = ack(7000, "w1", 20.2, "east", sent=9.999)
    course = a_loss(acks=[*a_loss().acks, late], plugged=20.0)
    assert violations(course) == [] and course.late == {late}
    for more in (late._replace(place="host"), late._replace(sent=13.2), late._replace(got=19.9)):
        found = violations(dataclasses.replace(course, acks=[*course.acks, more._replace(number=7001)]))
        assert found and all("7001" in sentence for sentence in found), found


def test_the_longest_gap_is_found_in_what_begins_after_the_moment():
    acks = [ack(n, "w1", at) for n, at in enumerate((11, 12, 15, 16))]
    assert [longest_gap(acks, since) for since in (10, 11.5, 15.5)] == [3, 3, 1]


def test_what_was_lost_without_a_move_is_found():
    stayed = Course([ack(n, "w1", 9 + n / 100) for n in range(300)], "west", REGIONS, 10.0, rows=frozenset(range(299)))
    assert violations(stayed) == ["299, which w1 acknowledged, is lost"]
    assert outage(stayed) == pytest.approx(0.01)


def test_a_report_is_compared_with_what_clients_outside_felt():
    course = a_loss(acks=[*a_loss().acks, ack(10, "w1", 10.0, "east")])  # it felt 3.5 s
    assert disagreement(course, {"write_outage_ms": 3150}) == pytest.approx(-0.1)
    assert disagreement(course, {"write_outage_ms": None}) is None
    assert wrong_bound(course, {"loss_bound_ms": 2100}) == wrong_bound(course, {}) == []
    assert "the report says at most 2.000 s" in wrong_bound(course, {"loss_bound_ms": 2000})[0]


def test_each_client_may_be_answered_once_by_what_thaws_and_no_more():
    answer = ack(7000, "w1", 19.005, "west", sent=10.01)
    acks = [one for one in a_loss().acks if one.got <= 10 or one.server == "e1"]
    frozen = {"acks": acks, "thawed": (19.0, 19.02)}
    frozen["acks"] += [answer, ack(7001, "w1", 19.01, "host", sent=10.02)]
    course = a_loss(**frozen)
    assert violations(course) == [] and len(course.thaw) == 2
    assert last_in_region(course) is None or last_in_region(course) < 1
    for more in (ack(7002, "w1", 19.01, "west", sent=10.02), ack(7002, "w2", 19.1, "west", sent=19.09)):
        found = violations(a_loss(**{**frozen, "acks": [*frozen["acks"], more]}))
        assert found and all("7002" in sentence for sentence in found), found


# ---- the real thing ----

def go(make_lab, kinds):
    """One disaster after the other: [Outcome]."""
    lab = make_lab(shards=SHARDS, daemons=True, wan=LAB)
    world, outcomes = RegionWorld(lab), []
    try:
        for kind, is_leader_inside in kinds:
            outcomes.append(go_through(world, kind, is_leader_inside))
            print(outcomes[-1], flush=True)
            assert not outcomes[-1].wrong, outcomes[-1].wrong
    except BaseException:
        show_logs(lab)
        raise
    finally:
        world.close()
        if outcomes:
            print(table(outcomes))
    return outcomes


def assert_moved(outcomes):
    for outcome in outcomes:
        assert outcome.moved == SHARDS and slowest(outcome) < FAR_SECONDS, outcome
        assert outcome.disagreement is not None and abs(outcome.disagreement) < FAR_OFF, outcome


@needs_namespaces
def test_a_region_that_is_lost_is_replaced_whoever_leads_etcd(make_lab):
    seed = seed_from_environment()
    print(f"HOLDFAST_SEED={seed}")
    outcomes = go(make_lab, draw_losses(seed, LOSSES) if SOAK else [(UNPLUG, True), (UNPLUG, False), (UNPLUG, False)])
    assert_moved(outcomes)


@needs_namespaces
def test_a_region_that_is_killed_frozen_or_mute_is_replaced(make_lab):
    """In a soak whatever else can become of a region, too."""
    few = [(KILL, False), (FREEZES[-1], False), (MUTE, True)]
    outcomes = go(make_lab, [(kind, at) for kind in KINDS for at in (True, False)] if SOAK else few)
    assert_moved(outcome for outcome in outcomes if outcome.kind.fate == LOST)
    assert not any(outcome.moved for outcome in outcomes if outcome.kind.fate == KEPT)


@needs_namespaces
def test_a_region_that_can_still_reach_a_majority_serves_on(make_lab):
    for outcome in go(make_lab, [(NO_WITNESS, True), (APART, False)]):
        assert outcome.moved == 0 and slowest(outcome) < FAR_SECONDS, outcome
        assert outcome.said["west"].text.count("serving") == SHARDS, outcome.said["west"].text
