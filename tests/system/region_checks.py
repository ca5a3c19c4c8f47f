# SPDX-License-Identifier: Apache-2.0
"""What must hold when a region is lost, of one shard, and how long it took: pure, of what clients saw."""
import dataclasses
import functools
import math

from host_disasters import longest_gap

HOST = "host"  # where clients reach a region that is cut off, too
THAW_SECONDS = 2.0  # for a thawed server's answers to be seen on a busy machine; it closes within milliseconds


@dataclasses.dataclass(frozen=True)
class Course:
    """One loss, as it was for one shard. Times are CLOCK_MONOTONIC, in seconds."""
    acks: list  # from a while before the loss on, in any order
    region: str  # that is lost, and was home
    regions: dict  # of each server's name
    cut: float  # when it was lost
    fenced: float = None  # when 'fenced/' of this region was seen in the store; None: it was not
    thawed: tuple = None  # (just before, just after), when the region was frozen as a whole
    plugged: float = None  # just before it was connected again, when it was cut off
    rows: frozenset = None  # numbers that the primary has in the end; None: not looked

    @functools.cached_property
    def heir(self):
        """Who serves in the end."""
        return max(self.acks, key=lambda ack: ack.got).server

    @functools.cached_property
    def is_moved(self):
        return self.regions[self.heir] != self.region

    @functools.cached_property
    def first(self):
        """The beginning of the heir's reign; None: it served before."""
        first = min((ack for ack in self.acks if ack.server == self.heir), key=lambda ack: ack.got)
        return first if first.got > self.cut else None

    @functools.cached_property
    def thaw(self):
        """What a region that was frozen as a whole acknowledged as it thawed, of what it had received before: at most
        one statement of each client."""
        if not self.thawed:
            return frozenset()
        before, after = self.thawed
        found = {}
        for ack in sorted(self.acks, key=lambda ack: ack.got):
            if self.is_of_region(ack) and ack.sent <= after and before <= ack.got <= after + THAW_SECONDS:
                found.setdefault((ack.server, ack.place), ack)
        return frozenset(found.values())

    @functools.cached_property
    def delayed(self):
        """Answers of the region that were under way when it was cut off, and arrived when it was connected again: of
        what clients outside had sent before it was fenced."""
        if self.plugged is None:
            return frozenset()
        until = self.plugged if self.fenced is None else self.fenced
        return frozenset(ack for ack in self.acks if self.is_of_region(ack) and ack.got >= self.plugged
                         and ack.sent < until and ack.place not in (self.region, HOST))

    @functools.cached_property
    def late(self):
        return self.thaw | self.delayed

    @functools.cached_property
    def lost(self):
        """Acknowledged, and not there."""
        return sorted((ack for ack in self.acks if ack.number not in self.rows), key=lambda ack: ack.got)

    def is_of_region(self, ack):
        return self.regions[ack.server] == self.region


# ---- how long ----

def outage(course, places=None):
    """Seconds from the cut to the first write that was accepted by who serves for good; when that is who served
    before, the longest time after the cut in which no client had an answer. Of clients of these places."""
    acks = [ack for ack in course.acks if places is None or ack.place in places]
    if course.first:
        return min((ack.got for ack in acks if ack.server == course.heir), default=math.inf) - course.cut
    return longest_gap(acks, course.cut)


def felt(course, place):
    """Seconds for clients of one place: their last answer by the old primary, their first one by the heir."""
    acks = [ack for ack in course.acks if ack.place == place]
    after = min((ack.got for ack in acks if ack.server == course.heir), default=math.inf)
    before = max((ack.got for ack in acks if ack.got < after), default=-math.inf)
    return after - before


def last_in_region(course):
    """Seconds after the cut at which the lost region answered a write for the last time; None: it did not. Without
    what is late."""
    mine = [ack.got for ack in course.acks
            if course.is_of_region(ack) and ack.got > course.cut and ack not in course.late]
    return max(mine) - course.cut if mine else None


def lost_span(course):
    """Seconds between the oldest and the newest acknowledgement of what is lost; without what is late."""
    times = [ack.got for ack in course.lost if ack not in course.late]
    return times[-1] - times[0] if times else 0


# ---- what the report says of it ----

def disagreement(course, told):
    """By how much the outage that a report tells of this shard is longer than what clients in the other region felt, as
    a share of that; None: it tells none, or nobody there felt anything."""
    place = next(region for region in set(course.regions.values()) if region != course.region)
    seconds = felt(course, place)
    if not course.is_moved or told.get("write_outage_ms") is None or not math.isfinite(seconds):
        return None
    return (told["write_outage_ms"] / 1000 - seconds) / seconds


def wrong_bound(course, told):
    """What was lost is within the time that a report tells."""
    bound = told.get("loss_bound_ms")
    if bound is None or lost_span(course) * 1000 <= bound:
        return []
    return [f"{lost_span(course):.3f} s of acknowledged writes are lost, the report says at most {bound / 1000:.3f} s"]


# ---- what must hold ----

def wrong_order(course):
    """Whoever served in between is a former primary as well."""
    acks = [ack for ack in course.acks if ack not in course.late]
    if course.first:
        found = [f"{ack.server} acknowledged {ack.number} {ack.got - course.first.got:.3f} s after {course.heir} had "
                 "begun" for ack in acks if ack.server != course.heir and ack.got > course.first.got]
        if found:
            return found
    reigns = {}
    for ack in sorted(acks, key=lambda ack: ack.got):
        first, _ = reigns.get(ack.server, (ack.got, ack.got))
        reigns[ack.server] = first, ack.got
    spans = sorted((first, last, name) for name, (first, last) in reigns.items())
    return [f"{one} and {other} acknowledged at the same time, for {last - first:.3f} s"
            for (_, last, one), (first, _, other) in zip(spans, spans[1:]) if last > first]


def wrong_after_fence(course):
    if course.fenced is None:
        return []
    return [f"{ack.server} acknowledged {ack.number} {ack.got - course.fenced:.3f} s after {course.region} was fenced"
            for ack in course.acks if course.is_of_region(ack) and ack.got > course.fenced and ack not in course.late]


def wrong_losses(course):
    if course.rows is None:
        return []
    return [f"{ack.number}, which {ack.server} acknowledged, is lost" for ack in course.lost
            if not (course.is_moved and course.is_of_region(ack))]


def wrong_moves(course):
    if not course.is_moved:
        return []
    if course.fenced is None:
        return [f"{course.heir} serves, and {course.region} was never fenced"]
    early = course.fenced - course.first.got if course.first else 0
    return [f"{course.heir} serves {early:.3f} s before {course.region} is seen fenced"] if early > 0 else []


def violations(course):
    """Sentences, [] when nothing is wrong."""
    return wrong_order(course) + wrong_after_fence(course) + wrong_losses(course) + wrong_moves(course)
