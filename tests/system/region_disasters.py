# SPDX-License-Identifier: Apache-2.0
"""What the test and the bench of lost regions share: a lab of two regions and a witness, apart by a wide area
network, under clients inside and outside of the home region; disasters of a whole region; and the way back to a
fleet in which everything is whole, so that the next one can follow.

Clients (region_client.py) know nothing of Holdfast. What they saw is judged in region_checks.py.
"""
import contextlib
import json
import mmap
import os
import random
import struct
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import pymysql

from conftest import HOLDFAST, wait_until
from host_disasters import (ANSWER_SECONDS, ETCD, WHOLE_SECONDS, Ack, World, beyond, percentile,
                            restart_what_ended, rewind, rows_of, wait_until_whole)
from moves import HERE, close
from namespaces import enter
from region_checks import HOST, THAW_SECONDS, Course, disagreement, last_in_region, lost_span, outage, wrong_bound
from region_checks import violations as wrong_in_course
from store_watch import StoreWatch, ask, decoded, encoded

TTL = 3.0
RTT_MS = 20
REGIONS = ("west", "east")
WITNESS = "witness"
# Seconds. All servers share the processors of one machine: who is refused tells when somebody opens, and costs
# little; a write that is accepted is done by six servers, and tells only that the shard is served.
PAUSES = {"west": 0.04, "east": 0.04, HOST: 0.1}
ACCEPTED_PAUSE = 0.15
PLACES = tuple(PAUSES)
LAB = ("--network", "netns", "--wan-rtt", str(RTT_MS), "--ttl", f"{TTL:g}s", "--automatic", "region")
SETTLED_SECONDS = TTL  # in which whoever serves goes on to serve
MOVE_SECONDS = 60  # only a hang gets here
STATE_NOT_FOUND = 1236  # of a source: its log does not reach back to what a replica lacks


def other_of(region):
    return REGIONS[1 - REGIONS.index(region)]


# ---- clients ----

class Shared:
    """What all clients of one shard were told, wherever they are."""

    def __init__(self):
        self.acks = []  # appended by the readers of places, never changed otherwise

    def stop(self):
        """Places are stopped as a whole."""


class Place:
    """The process of the clients of one place."""

    def __init__(self, world, name, index, by_shard):
        words = [sys.executable, os.path.join(HERE, "region_client.py")]
        self.name, self.by_shard = name, by_shard
        self.process = subprocess.Popen([*(enter(world.lab, name) if name in REGIONS else []), *words], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        servers = [{"name": server.name, "host": server.host, "port": server.port}
                   for fleet in world.fleets for server in fleet.servers]
        user, password = world.fleets[0].accounts["app"]
        plan = {"user": user, "password": password, "database": world.fleets[0].database, "first": index * len(servers),
                "pause": PAUSES[name], "accepted_pause": ACCEPTED_PAUSE, "servers": servers}
        self.process.stdin.write(json.dumps(plan) + "\n")
        self.process.stdin.flush()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            server, number, sent, got = line.split()
            shard = server.split("-")[0]
            self.by_shard[shard].acks.append(Ack(int(number), server, float(sent), float(got), self.name))

    def stop(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait(10)
        self.thread.join(10)


class RegionWorld(World):
    """A lab with daemons and a wide area network, and clients in each region and on the host."""

    def __init__(self, lab):
        self.watch = StoreWatch([self._member(lab, name) for name in ETCD],
                                ["holdfast/fenced/", "holdfast/shards/"])
        self.places = []
        super().__init__(lab)
        self.regions = {server.name: server.region for fleet in self.fleets for server in fleet.servers}

    @staticmethod
    def _member(lab, name):
        daemon = lab.daemons()[name]
        return f"{daemon['host']}:{daemon['port']}"

    def member(self, region):
        return self._member(self.lab, f"etcd-{region}")

    def start_clients(self):
        by_shard = {fleet.shard: Shared() for fleet in self.fleets}
        self.places = [Place(self, name, index, by_shard) for index, name in enumerate(PLACES)]
        return by_shard

    def close(self):
        for place in self.places:
            place.stop()
        self.watch.close()
        super().close()

    def home(self):
        """The region whose servers acknowledged last, of every shard."""
        found = {self.regions[clients.acks[-1].server] for clients in self.clients.values()}
        return found.pop() if len(found) == 1 else None

    def wait_until_each_place_writes(self, seconds=WHOLE_SECONDS):
        since = time.monotonic()

        def all_do():
            return all({ack.place for ack in reversed(clients.acks[-500:]) if ack.sent > since} == set(PLACES)
                       for clients in self.clients.values())
        wait_until(all_do, seconds, "clients of each place are answered")

    def inside(self, region, *words):
        """Holdfast's command there, to its end."""
        return subprocess.run([*enter(self.lab, region), HOLDFAST, *words], env=self.lab.env, text=True, check=False,
                              capture_output=True, timeout=60, stdin=subprocess.DEVNULL)


class Lookout:
    """Looks at the servers of a region all the time, from the host: which were open, and when that was asked."""
    PAUSE_SECONDS = 0.2

    def __init__(self, world, region):
        self.seen = []  # (asked, server)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._look, args=(fleet, server), daemon=True)
                         for fleet in world.fleets for server in fleet.servers if server.region == region]
        for thread in self._threads:
            thread.start()

    def _look(self, fleet, server):
        connection = None
        while not self._stop.wait(self.PAUSE_SECONDS):
            try:
                connection = connection or fleet.connect(server)
                asked = time.monotonic()
                with connection.cursor() as cursor:
                    cursor.execute("SELECT @@GLOBAL.read_only AS is_closed")
                    if not cursor.fetchone()["is_closed"]:
                        self.seen.append((asked, server.name))
            except (pymysql.err.Error, OSError):
                close(connection)
                connection = None
        close(connection)

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(10)


# ---- who leads ----

def leading_conductor(world):
    kvs = ask(world.member(WITNESS), "kv/range", {"key": encoded("holdfast/leader/conductor")}).get("kvs")
    return decoded(kvs[0]["value"]) if kvs else None


def let_conductor_lead(world, region):
    """Some conductor of it does; the others, too, are up afterwards."""
    def does_lead():
        name = leading_conductor(world)
        if not name or name.startswith(region):
            return bool(name)
        world.lab.cli("lab", "kill", f"conductor-{name}")  # agents ask the other one
        wait_until(lambda: leading_conductor(world) not in (None, name), 30, f"another conductor than {name} leads")
        world.lab.cli("lab", "restart", f"conductor-{name}")
        return False
    wait_until(does_lead, 120, f"a conductor of {region} leads")


# ---- disasters ----

def cut(lab, *ways):
    """From, to; all of them."""
    for one, other in ways:
        lab.cli("lab", "unplug", one, "--to", other)


def plug(lab, *sites):
    for site in sites:
        lab.cli("lab", "plug", site)


# src/wan/wan.h: struct wan_way is five numbers, the third the loss; site by site, from and to
SITES = (*REGIONS, WITNESS)
WAY_BYTES, LOSS_OFFSET = 20, 8


def set_loss(lab, percent):
    """Of packets between the regions, each way."""
    with open(f"{lab.dir}/net/map", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        for one, other in ((0, 1), (1, 0)):
            at = (one * len(SITES) + other) * WAY_BYTES + LOSS_OFFSET
            memory[at:at + 4] = struct.pack("=I", int(percent * 10_000))


def flap(lab, region):
    """Longer and shorter than a beat, but never for a TTL."""
    for span_s in (0.1, 0.3, 0.6, 0.2, 0.9, 0.4):
        lab.cli("lab", "unplug", region)
        time.sleep(span_s * TTL)  # the disaster itself
        lab.cli("lab", "plug", region)
        time.sleep(0.3 * TTL)


LOST, KEPT, EITHER = "lost", "kept", "either"  # what becomes of the region: it moves, it stays, both are right
AFTER = -1  # back when the other region serves
FENCED = -2  # back as soon as it is fenced


class Kind(NamedTuple):
    name: str
    strike: object  # (lab, region, other)
    mend: object = None  # the same; None: it is over by itself
    fate: str = LOST
    back: float = AFTER  # or so many seconds after the strike
    frozen: float = 0  # seconds for which the region is frozen as a whole
    is_led_from_outside: bool = False  # a conductor of the other region leads, as after a failure of its own region's

    def __str__(self):
        return self.name


def frozen(ttls, fate):
    return Kind(f"freeze {ttls:g} TTL", lambda lab, region, _: lab.cli("lab", "freeze", region), fate=fate,
                frozen=ttls * TTL)


def unplugged(name, fate=LOST, back=AFTER):
    return Kind(name, lambda lab, region, _: lab.cli("lab", "unplug", region),
                lambda lab, region, _: plug(lab, region), fate, back)


UNPLUG = unplugged("unplug")
KILL = Kind("kill", lambda lab, region, _: lab.cli("lab", "kill", region),
            lambda lab, region, _: lab.cli("lab", "restart", "--bare", region))
FREEZES = [frozen(0.5, EITHER), frozen(1, EITHER), frozen(3, LOST)]
BACK_SOON = unplugged("unplug, back after 0.5 TTL", EITHER, 0.5 * TTL)
BACK_FENCED = unplugged("unplug, back when fenced", LOST, FENCED)
MUTE = Kind("nothing gets out", lambda lab, region, other: cut(lab, (region, other), (region, WITNESS)),
            lambda lab, region, _: plug(lab, region))
DEAF = Kind("nothing gets in", lambda lab, region, other: cut(lab, (other, region), (WITNESS, region)),
            lambda lab, region, _: plug(lab, region))
ONE_WAY_OUT = Kind("nothing gets to the other region", lambda lab, region, other: cut(lab, (region, other)),
                   lambda lab, region, _: plug(lab, region), EITHER, 3 * TTL)
ONE_WAY_IN = Kind("nothing comes from the other region", lambda lab, region, other: cut(lab, (other, region)),
                  lambda lab, region, _: plug(lab, region), EITHER, 3 * TTL)
APART = Kind("the regions are apart", lambda lab, region, other: cut(lab, (region, other), (other, region)),
             lambda lab, region, _: plug(lab, region), EITHER, 3 * TTL)
APART_LED = APART._replace(name="the regions are apart, led from the other", is_led_from_outside=True)
NO_WITNESS = Kind("the witness is cut off", lambda lab, *_: lab.cli("lab", "unplug", WITNESS),
                  lambda lab, *_: plug(lab, WITNESS), KEPT, 3 * TTL)
FLAPPING = Kind("flapping link", lambda lab, region, _: flap(lab, region), None, EITHER)
LOSSY = Kind("30 % of packets are lost", lambda lab, *_: set_loss(lab, 30), lambda lab, *_: set_loss(lab, 0), EITHER,
             5 * TTL)

LOSSES = [UNPLUG, KILL, FREEZES[2]]
KINDS = [UNPLUG, KILL, *FREEZES, BACK_SOON, BACK_FENCED, MUTE, DEAF, ONE_WAY_OUT, ONE_WAY_IN, APART, APART_LED,
         NO_WITNESS, FLAPPING, LOSSY]


def draw_losses(seed, count, among=None):
    """[(kind, whether etcd's leader is in the region)]: each as often as the others, in any order."""
    draw = random.Random(seed)
    each = [(kind, is_inside) for kind in (among or LOSSES) for is_inside in (True, False)]
    drawn = []
    while len(drawn) < count:
        drawn += draw.sample(each, len(each))
    return drawn[:count]


class Outcome(NamedTuple):
    kind: Kind
    region: str
    is_leader_inside: bool
    moved: int  # shards
    outages: dict  # seconds, by shard
    closed: float  # seconds after the cut at which the region answered a write for the last time
    margin: float  # seconds from then until it was fenced
    lost: int  # acknowledged writes
    span: float  # seconds, the longest of a shard
    late: int  # acknowledged as it thawed, or heard of when it was plugged
    reported: dict  # what the run's report says of each shard
    disagreement: float  # of its outage and what clients outside felt, at worst, as a share; None: it says nothing
    said: dict  # Said, in each region while it was so
    whole: float  # seconds until everything was as before
    again: float  # seconds, the longest in which a shard answered no write while the region came back
    rewound: int
    wrong: list  # sentences

    def __str__(self):
        where = "in it" if self.is_leader_inside else "outside"
        words = [f"{self.kind} {self.region}, etcd's leader {where}: {slowest(self):.2f} s", f"{self.moved} moved"]
        if self.moved:
            words += [f"closed after {self.closed:.2f} s, fenced {self.margin:.2f} s later",
                      f"{self.lost} lost of {self.span:.2f} s", f"{self.late} late"]
        if self.disagreement is not None:
            words.append(f"the report's outage is {100 * self.disagreement:+.0f} % off")
        words += [f"whole after {self.whole:.1f} s", f"waited up to {self.again:.2f} s meanwhile"]
        return ", ".join([*words, *self.wrong])


class Said:
    """What status says in a region."""

    def __init__(self, world, region):
        self.text = world.inside(region, "status").stdout
        told = json.loads(world.inside(region, "status", "--json").stdout or '{"shards": []}')["shards"]
        self.primaries = {shard["name"]: shard["primary"] for shard in told}
        self.problems = {shard["name"]: shard["problems"] for shard in told}


# ---- one disaster ----

class Struck(NamedTuple):
    began: float  # just before the command that does it
    done: float  # just after
    fenced: float
    thawed: tuple
    plugged: float


def fenced_since(world, region, since):
    """When it was seen that the region was fenced, or None."""
    return next((change.at for change in world.watch.changes(f"holdfast/fenced/{region}", since)
                 if change.value is not None), None)


def wait_for_fate(world, kind, region, since):
    """Until each shard is served again by whoever is to serve it: what was sent since then is answered."""
    def is_served(shard):
        ack = world.clients[shard].acks[-1]
        return ack.sent > since and (kind.fate != LOST or world.regions[ack.server] != region)
    wait_until(lambda: all(is_served(shard) for shard in world.by_shard), MOVE_SECONDS,
               f"every shard is served again after: {kind}, {region}")


def wait_for_back(world, kind, region, since):
    """Until the region is to come back."""
    if kind.back == FENCED:
        wait_until(lambda: fenced_since(world, region, since), MOVE_SECONDS, f"{region} is fenced")
    elif kind.back == AFTER:
        wait_for_fate(world, kind, region, since)
        time.sleep(SETTLED_SECONDS)  # in which nobody else may answer
    else:
        time.sleep(kind.back)  # the disaster itself


def strike(world, kind, region, said):
    """The disaster, until all is connected and runs again."""
    lab, other, thawed, plugged = world.lab, other_of(region), None, None
    began = time.monotonic()
    kind.strike(lab, region, other)
    done = time.monotonic() if kind.mend or kind.frozen else began  # else it is over by then
    if kind.frozen:
        time.sleep(kind.frozen)  # the disaster itself
        before = time.monotonic()
        lab.cli("lab", "thaw", region)
        thawed = before, time.monotonic()
    if kind.mend:
        wait_for_back(world, kind, region, began)
        said.update({place: Said(world, place) for place in REGIONS})
        plugged = time.monotonic()
        kind.mend(lab, region, other)
    wait_for_fate(world, kind, region, time.monotonic())
    time.sleep(SETTLED_SECONDS)  # in which nobody else may answer
    return Struck(began, done, fenced_since(world, region, began), thawed, plugged)


def oldest(acks):
    """The number before all of them."""
    return min(ack.number for ack in acks) - 1


def course_of(world, shard, region, struck, counts):
    fleet, acks = world.by_shard[shard], list(world.clients[shard].acks)[max(counts[shard] - 1, 0):]
    rows = frozenset(rows_of(fleet, fleet.by_name[acks[-1].server], oldest(acks)))
    return Course(acks, region, world.regions, when_cut(acks, other_of(region), struck), struck.fenced, struck.thawed,
                  struck.plugged, rows)


def when_cut(acks, place, struck):
    """The last answer that clients outside had while the command ran, which takes a while on a busy machine."""
    return max((ack.got for ack in acks if ack.place == place and struck.began < ack.got < struck.done),
               default=struck.began)


def go_through(world, kind, is_leader_inside=False):
    """One disaster of the region that is home, and the way back: its Outcome."""
    region, said = world.home(), {}
    counts = {shard: len(clients.acks) for shard, clients in world.clients.items()}
    world.lab.cli("lab", "leader", region if is_leader_inside else WITNESS)
    let_conductor_lead(world, other_of(region) if kind.is_led_from_outside else region)
    world.wait_until_each_place_writes()
    lookout = Lookout(world, region)
    try:
        struck = strike(world, kind, region, said)
    finally:
        lookout.stop()
    ended = time.monotonic()
    courses = {shard: course_of(world, shard, region, struck, counts) for shard in world.by_shard}
    wrong = [f"{shard}: {what}" for shard, course in courses.items() for what in wrong_in_course(course)]
    wrong += wrong_openings(lookout, region, struck) + wrong_words(world, kind, region, courses, said)
    reported = read_report(world, courses)
    wrong += [f"{shard}: {what}" for shard, told in reported.items() for what in wrong_bound(courses[shard], told)]
    rewound = bring_back(world, region, ended, courses)
    whole = time.monotonic()
    return outcome_of(kind, region, is_leader_inside, courses, said=said, reported=reported, rewound=rewound,
                      whole=whole - ended, again=longest_wait(world, came_back(struck), whole), wrong=wrong)


def came_back(struck):
    """When the region began to, or, when it never went, when all was over."""
    return struck.plugged or (struck.thawed or (struck.done,))[0]


def longest_wait(world, since, until):
    """For an answer, of any shard's clients."""
    longest = 0
    for clients in world.clients.values():
        answered = sorted([since, until, *(ack.got for ack in list(clients.acks) if since < ack.got < until)])
        longest = max([longest, *(later - earlier for earlier, later in zip(answered, answered[1:]))])
    return longest


def outcome_of(kind, region, is_leader_inside, courses, **more):
    each = courses.values()
    outages = {shard: outage(course) for shard, course in courses.items()}
    lasts = [last_in_region(course) for course in each if course.is_moved]
    closed = max((last for last in lasts if last is not None), default=0)
    fenced = next(iter(each)).fenced
    margin = fenced - next(iter(each)).cut - closed if fenced else 0
    return Outcome(kind=kind, region=region, is_leader_inside=is_leader_inside, outages=outages, closed=closed,
                   margin=margin, moved=sum(course.is_moved for course in each),
                   lost=sum(len(course.lost) for course in each), span=max(lost_span(course) for course in each),
                   late=sum(len(course.late) for course in each if course.fenced),
                   disagreement=max(filter(None, (disagreement(courses[shard], told)
                                                  for shard, told in more["reported"].items())),
                                    key=abs, default=None), **more)


def wrong_openings(lookout, region, struck):
    """A region that is fenced stays closed, whether anybody writes there or not."""
    if struck.fenced is None:
        return []
    since = max(struck.fenced, struck.thawed[1] + THAW_SECONDS if struck.thawed else 0)
    return [f"{server} is open {asked - struck.fenced:.3f} s after {region} was fenced"
            for asked, server in lookout.seen if asked > since]


def wrong_words(world, kind, region, courses, said):
    """What status says while it is so: in the other region who serves, in a lost one not that it does."""
    if kind.fate != LOST or not said:
        return []
    found = []
    for shard, course in courses.items():
        heir = world.by_shard[shard].by_name[course.heir].address
        there, here = (said[place].primaries.get(shard) for place in (other_of(region), region))
        if kind.back == AFTER and there != heir:
            found.append(f"in {other_of(region)} status says that {there} is primary of {shard}; {heir} is")
        if here not in (None, heir):
            found.append(f"in {region} status says that {here} is primary of {shard}")
    return found


def read_report(world, courses):
    """What the failover's report says of each shard, {} when there was none."""
    if not all(course.is_moved for course in courses.values()):
        return {}
    runs = [run["run"] for run in world.lab.json("run", "list")
            if run["kind"] == "failover" and "region" in (run["reason"] or "")]  # others are of a host
    report = world.lab.json("report", max(runs))  # they begin with the time
    return {shard["name"]: shard for shard in report["shards"]}


# ---- the way back ----

def is_fenced(world, region):
    return "kvs" in ask(world.member(WITNESS), "kv/range", {"key": encoded(f"holdfast/fenced/{region}")})


def feed(fleet, region, primary):
    """What a replica lacks is gone from the log of its relay, which was rewound. It comes from the primary, as an
    operator does; the conductors point it at its relay again."""
    for server in fleet.servers:
        rows = fleet.sql(server, "SHOW ALL SLAVES STATUS") if server.region == region else []
        if [row["Last_IO_Errno"] for row in rows] == [STATE_NOT_FOUND]:
            fleet.sql(server, "STOP SLAVE", seconds=ANSWER_SECONDS)
            fleet.sql(server, "CHANGE MASTER TO MASTER_HOST=%s, MASTER_PORT=%s", primary.host, primary.port)
            fleet.sql(server, "START SLAVE")


def rewind_region(world, region, courses):
    """As an operator does with servers that acknowledged for a while alone; how many rows of them."""
    rewound = 0
    for fleet in world.fleets:
        primary = fleet.by_name[courses[fleet.shard].heir]
        for server in fleet.servers:
            if server.region == region and primary.region != region and beyond(fleet, server, primary):
                fleet.sql(server, "STOP ALL SLAVES", seconds=ANSWER_SECONDS)
                fleet.sql(server, "RESET SLAVE ALL")
                rewound += rewind(fleet, server, primary, oldest(courses[fleet.shard].acks))
        feed(fleet, region, primary)
    return rewound


def bring_back(world, region, since, courses):
    """Everything as before, but that the other region may be home now; how many rows had to be taken back."""
    rewound = []

    def is_given_back():
        restart_what_ended(world)
        with contextlib.suppress(pymysql.err.Error, OSError):  # one ended just now
            rewound.append(rewind_region(world, region, courses))
            return not is_fenced(world, region)
        return False
    wait_until(is_given_back, WHOLE_SECONDS, f"{region} is given back")
    # An answer that was on its way when nothing got out comes when the region is back, of a write that is lost with it.
    return sum(rewound) + wait_until_whole(world, since, is_counted=lambda ack: ack.sent > since)


# ---- the table ----

def slowest(outcome):
    return max(outcome.outages.values())


def table(outcomes):
    lines = [f"{'':36} losses  p50 s  p90 s  max s   moved  closed s  margin s    lost  of s  late  off %  wrong"
             "  whole p90 s  again s"]
    for kind in dict.fromkeys(one.kind for one in outcomes):
        mine = [one for one in outcomes if one.kind == kind]
        outages = [slowest(one) for one in mine]
        lines.append(
            f"{str(kind):36} {len(mine):6} {percentile(outages, 50):6.2f} {percentile(outages, 90):6.2f} "
            f"{max(outages):6.2f} {sum(one.moved for one in mine):7} {max(one.closed for one in mine):9.2f} "
            f"{min(one.margin for one in mine):9.2f} {sum(one.lost for one in mine):7} "
            f"{max(one.span for one in mine):5.2f} {sum(one.late for one in mine):5} "
            f"{100 * max((one.disagreement or 0 for one in mine), key=abs):+6.0f} "
            f"{sum(len(one.wrong) for one in mine):6} {percentile([one.whole for one in mine], 90):12.1f} "
            f"{max(one.again for one in mine):8.2f}")
    return "\n".join(lines)
