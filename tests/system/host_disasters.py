# SPDX-License-Identifier: Apache-2.0
"""What the test and the bench of host disasters share: a lab with daemons under clients that write at every
server of the home region at once, disasters drawn from a seed, and what must hold after each.

Each client stays at one server and tries it again and again, whoever is primary. So whenever a server accepts a
write, it is known within milliseconds who did and when, and two that do at the same time are seen.
"""
import contextlib
import json
import math
import os
import pathlib
import random
import re
import threading
import time
from typing import NamedTuple

import pymysql

from conftest import wait_until
from moves import Fleet, Server, close, make_table, source_of, violations

TTL = 2.0
WHOLE_SECONDS = 90  # on a machine that is shared; it takes a few
CLIENTS_AT_ONE = 2
ANSWER_SECONDS = 30  # longer than any freeze: what was in flight then is answered, or never
ACCEPTED_PAUSE = 0.01
REFUSED_PAUSE = 0.02
DOWN_PAUSE = 0.05
CALM_SECONDS = 20


# ---- clients ----

class Ack(NamedTuple):
    number: int
    server: str
    sent: float
    got: float
    place: str = ""  # where the client is, when that is not the host


class Clients:
    """Of one shard. A number that was not acknowledged is not used again."""

    def __init__(self, fleet, servers):
        self.fleet = fleet
        self.acks = []  # appended by any client, never changed otherwise
        self._numbers = iter(range(1, 1 << 60))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(server,), daemon=True)
                         for server in servers for _ in range(CLIENTS_AT_ONE)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(ANSWER_SECONDS + 5)

    def _try(self, server, connection):
        with self._lock:
            number = next(self._numbers)
        sent = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO ledger (n) VALUES (%s)", (number,))
        self.acks.append(Ack(number, server.name, sent, time.monotonic()))

    def _write(self, server):
        connection, pause = None, 0
        while not self._stop.wait(pause):
            try:
                connection = connection or self.fleet.connect(server, "app", ANSWER_SECONDS,
                                                              database=self.fleet.database)
                self._try(server, connection)
                pause = ACCEPTED_PAUSE
            except (pymysql.err.Error, OSError) as error:
                pause = REFUSED_PAUSE
                if not error.args or error.args[0] != READ_ONLY:
                    close(connection)
                    connection, pause = None, DOWN_PAUSE
        close(connection)


READ_ONLY = 1290
ETCD = ["etcd-west", "etcd-east", "etcd-witness"]


# ---- the lab ----

class ShardFleet(Fleet):
    """The same shard, asked of the conductors."""

    def route(self):
        shards = json.loads(self.cli("status", "--json").stdout)["shards"]
        return next(shard for shard in shards if shard["name"] == self.shard)


class World:
    """A lab with daemons, a Fleet and Clients for each shard."""

    def __init__(self, lab):
        self.lab = lab
        allow_any_number(lab)
        self.fleets = [self._fleet(f"s{i}") for i in range(count_shards(lab))]
        self.by_shard = {fleet.shard: fleet for fleet in self.fleets}
        for fleet in self.fleets:
            wait_until(lambda f=fleet: self._is_open(f), 30, "the primary is open")
        wait_until(self._are_all_known, 30, "the leader knows all shards")
        self.clients = self.start_clients()
        for shard in self.by_shard:
            self.wait_for_more(shard, time.monotonic(), 30)

    def _is_open(self, fleet):
        try:
            return is_first_opened(fleet) and has_table(fleet)
        except pymysql.err.OperationalError:  # its agent could not close it, and killed it
            restart_what_ended(self)
            return False

    def start_clients(self):
        return {fleet.shard: Clients(fleet, [s for s in fleet.servers if s.region == "west"])
                for fleet in self.fleets}

    def _fleet(self, shard):
        servers = [Server(name, s["host"], s["port"], s["region"])
                   for name, s in sorted(self.lab.servers().items()) if name.startswith(shard + "-")]
        accounts = {user: (user, self.lab.password(user)) for user in ("admin", "app", "holdfast")}
        return ShardFleet(self.lab.fleet, servers, accounts, shard=shard, env={"HOLDFAST_LAB": self.lab.dir})

    def _are_all_known(self):
        shards = json.loads(self.lab.cli("status", "--json", check=False).stdout or "{}").get("shards", [])
        known = {shard["name"] for shard in shards if shard.get("epoch")}
        for fleet in self.fleets:
            if fleet.shard not in known:
                is_first_opened(fleet)
        return len(known) == len(self.fleets)

    def close(self):
        for clients in self.clients.values():
            clients.stop()
        for fleet in self.fleets:
            fleet.close()

    def wait_for_more(self, shard, since, seconds):
        """A write that was sent after 'since' was acknowledged; the first."""
        acks = self.clients[shard].acks

        def found():
            for ack in reversed(acks):
                if ack.sent > since:
                    return ack
                return None
            return None
        return wait_until(found, seconds, f"a write of {shard} is acknowledged")

    def primary(self, shard):
        """By who acknowledged last."""
        return self.by_shard[shard].by_name[self.clients[shard].acks[-1].server]


def count_shards(lab):
    return len({name.split("-")[0] for name in lab.servers()})


def allow_any_number(lab):
    """Conductors that fail a shard over as often as it takes."""
    path = pathlib.Path(lab.fleet)
    text = path.read_text(encoding="utf-8")
    text, found = re.subn(r"(automatic: .*\n)", r"\1  hold_down: 1ms\n  failovers_an_hour: 0\n", text)
    assert found == 1
    path.write_text(text, encoding="utf-8")
    conductors = [name for name in lab.daemons() if name.startswith("conductor-")]
    for name in conductors:  # one after the other: agents go on to be permitted
        lab.cli("lab", "kill", name)
        lab.cli("lab", "restart", name)


def leader(lab):
    """The member of etcd that leads, in a list."""
    return wait_until(lambda: [name for name in ETCD if lab.daemons()[name]["leads"]], 30, "a member of etcd leads")


def is_first_opened(fleet):
    """On a slow machine an agent may have closed the primary before the store knew who that is: then it is
    for an operator to open it, once."""
    first = fleet.servers[[s.name for s in fleet.servers].index(f"{fleet.shard}-west-1")]
    if fleet.value(first, "SELECT @@GLOBAL.read_only") == 0:
        return True
    fleet.sql(first, "SET GLOBAL read_only=0")
    return False


def has_table(fleet):
    with contextlib.suppress(pymysql.err.Error, OSError, AssertionError):  # closed again by its agent
        make_table(fleet)
        return True
    return False


def host_of(server):
    return re.sub(r"^s\d+-", "", server.name)


# ---- disasters ----

class Kind(NamedTuple):
    whose: str  # primary, replica or relay
    verb: str
    what: str = "host"  # host, agent or server
    seconds: float = 0  # of a freeze

    def __str__(self):
        span = f" {self.seconds / TTL:g} TTL" if self.seconds else ""
        return f"{self.verb} {self.whose}'s {self.what}{span}"


KINDS = [
    Kind("primary", "kill"),
    Kind("primary", "freeze", seconds=0.5 * TTL),
    Kind("primary", "freeze", seconds=1 * TTL),
    Kind("primary", "freeze", seconds=3 * TTL),
    Kind("primary", "kill", "agent"),
    Kind("primary", "kill", "server"),
    Kind("replica", "kill"),
    Kind("relay", "kill"),
]


def draw_disasters(seed, count, among=None):
    """[(kind, a number to choose with)]: each kind as often as the others, in any order."""
    draw = random.Random(seed)
    kinds = []
    while len(kinds) < count:
        kinds += draw.sample(among or KINDS, len(among or KINDS))
    return [(kind, draw.randrange(1 << 30)) for kind in kinds[:count]]


class Outcome(NamedTuple):
    kind: Kind
    shard: str
    outage: float  # seconds in which no client of the shard was answered; 0: none was noticed
    late: int  # acknowledged by a former primary after its heir, of what was sent before
    rewound: int  # transactions beyond the promotion point, which nobody acknowledged
    whole: float  # seconds until everything was as before


def pick(world, kind, number):
    """(shard, server)"""
    fleet = world.fleets[number % len(world.fleets)]
    primary = world.primary(fleet.shard)
    if kind.whose == "primary":
        return fleet.shard, primary
    others = [server for server in fleet.servers if server is not primary]
    if kind.whose == "relay":
        return fleet.shard, next(server for server in others if follows(fleet, server, primary)
                                 and server.region != primary.region)
    return fleet.shard, [s for s in others if s.region == primary.region][number % 2]


def follows(fleet, server, source):
    status = fleet.sql(server, "SHOW ALL SLAVES STATUS")
    return status and source_of(status[0]) == source.address


def strike(world, kind, server):
    """The disaster, to its end: what was killed runs again, what was frozen goes on."""
    lab, host = world.lab, host_of(server)
    name = {"host": host, "agent": f"agent-{host}", "server": server.name}[kind.what]
    lab.cli("lab", kind.verb, name)
    if kind.verb == "freeze":
        time.sleep(kind.seconds)  # the disaster itself
        lab.cli("lab", "thaw", name)
    elif kind.what != "agent":  # its keeper does that
        for shard in world.by_shard:
            if world.primary(shard).name.endswith(host) and (kind.what == "host" or shard == server.name[:2]):
                world.wait_for_more(shard, time.monotonic(), WHOLE_SECONDS)
        lab.cli("lab", "restart", *(["--bare", name] if kind.what == "server" else [name]))


# ---- what must hold ----

def longest_gap(acks, since):
    """Between two answers to clients, the later of them after 'since'; however many there are."""
    times = sorted(ack.got for ack in acks)
    first = next(i for i, at in enumerate(times) if at > since)
    return max((b - a for a, b in zip(times[max(first - 1, 0):], times[max(first, 1):])), default=0)


def assert_one_at_a_time(acks):
    """Of one disaster: whoever has an heir acknowledges nothing that was sent after the heir's first. How
    many of what was sent before, and answered after."""
    late, holder, heir_since = 0, {}, None
    for ack in sorted(acks, key=lambda ack: ack.got):
        if ack.server not in holder:
            holder[ack.server] = ack
            heir_since = ack
        elif heir_since.server != ack.server:
            assert ack.sent <= heir_since.got, f"two servers accept writes: {ack} after {heir_since}"
            late += 1
    return late


def rows_of(fleet, server, since=-1):
    """Numbers above 'since'."""
    rows = fleet.sql(server, f"SELECT n FROM {fleet.database}.ledger WHERE n > %s", since, seconds=30)
    return {row["n"] for row in rows}


def own_last(fleet, at, server_id):
    """(number, GTID) of the newest transaction that server wrote and this one has."""
    state = fleet.value(at, "SELECT @@GLOBAL.gtid_binlog_state") or ""
    mine = [entry for entry in state.split(",") if entry.split("-")[1:2] == [str(server_id)]]
    return max(((int(entry.split("-")[2]), entry) for entry in mine), default=(0, ""))


def beyond(fleet, server, primary):
    """[(its last transaction, the last of the same author that the primary has)]: of each author of which it has
    more."""
    state = fleet.value(server, "SELECT @@GLOBAL.gtid_binlog_state") or ""
    authors = [int(entry.split("-")[1]) for entry in state.split(",") if entry]
    pairs = [(own_last(fleet, server, author), own_last(fleet, primary, author)) for author in authors]
    return [(mine[1], common[1]) for mine, common in pairs if mine > common]


def rewind_if_ahead(world, fleet, server):
    """As an operator does with a server that came back with transactions that nobody acknowledged: how many
    rows of them. It is told which they are."""
    primary = fleet.primary()
    if server is primary or fleet.sql(server, "SHOW ALL SLAVES STATUS") or not beyond(fleet, server, primary):
        return 0
    told = world.lab.cli("fleet", "converge", "--dry-run", check=False)
    assert server.address in told.stdout + told.stderr, told
    acked = {ack.number for ack in world.clients[fleet.shard].acks}
    extra = rows_of(fleet, server) - rows_of(fleet, primary)
    assert not extra & acked, f"acknowledged, and only {server.name} has it: {extra & acked}"
    return rewind(fleet, server, primary)


def rewind(fleet, server, primary, since=-1):
    """To the last transactions that the primary has, too; how many rows that took away, of numbers above 'since'."""
    with fleet.connect(server, seconds=ANSWER_SECONDS) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('holdfast', 5) AS is_ours")
        if cursor.fetchone()["is_ours"] != 1:  # a conductor that points it meanwhile finds no position at all
            return 0
        extra = rows_of(fleet, server, since) - rows_of(fleet, primary, since)
        state = fleet.value(server, "SELECT @@GLOBAL.gtid_binlog_state")
        pairs = beyond(fleet, server, primary)
        if not pairs:  # somebody was faster
            return 0
        for tail, common in pairs:
            state = state.replace(tail, common)
        cursor.execute("SET SESSION sql_log_bin=0")
        if extra:
            cursor.execute(f"DELETE FROM {fleet.database}.ledger WHERE n IN %s", (extra,))
        cursor.execute("SET GLOBAL gtid_strict_mode=0")
        cursor.execute("SET GLOBAL gtid_slave_pos=%s", (pairs[0][1],))
        cursor.execute("RESET MASTER")
        cursor.execute("SET GLOBAL gtid_binlog_state=%s", (state,))  # what it still has
        cursor.execute("SET GLOBAL gtid_strict_mode=1")
    return len(extra)


def restart_what_ended(world):
    """An agent kills a server that it cannot close; a supervisor starts it again, and the lab has none. Who
    that was."""
    down = [name for name, role in world.lab.roles().items() if role == "down"]
    if down:
        world.lab.cli("lab", "restart", "--bare", *down)
    return down


def wrong_now(world, since, down, is_counted):
    """Sentences, [] when everything is as before the disaster, but for daemons that are to stay down."""
    found = []
    for fleet in world.fleets:
        acks = [ack.number for ack in list(world.clients[fleet.shard].acks)
                if ack.got > since and is_counted(ack)]
        with contextlib.suppress(StopIteration):
            found += [f"{fleet.shard}: {what}" for what in violations(fleet, acks, min(acks, default=1) - 1)]
    status = world.lab.status()
    found += [f"{each['name']} is {each['state']}" for each in status["daemons"]
              if each["state"] != "up" and each["name"] not in down]
    return found


def wait_until_whole(world, since, down=(), is_counted=lambda ack: True):
    """How many rows an operator had to take back; see rewind_if_ahead(). Acknowledged rows must be there."""
    rewound, found = 0, []
    deadline = time.monotonic() + WHOLE_SECONDS
    while True:
        try:
            restart_what_ended(world)
            rewound += sum(rewind_if_ahead(world, fleet, server)
                           for fleet in world.fleets for server in fleet.servers)
            found = wrong_now(world, since, down, is_counted)
        except (pymysql.err.Error, OSError, AssertionError, StopIteration) as error:
            if "acknowledged" in str(error):
                raise
            found = [f"not to be seen: {error!r}"]
        if not found:
            return rewound
        assert time.monotonic() < deadline, "\n  ".join(["not everything is back:", *found])
        time.sleep(0.1)


def go_through(world, kind, number):
    """One disaster: [Outcome], one a shard that was hit."""
    shard, server = pick(world, kind, number)
    began = time.monotonic()
    before = {name: (world.primary(name), len(clients.acks)) for name, clients in world.clients.items()}
    strike(world, kind, server)
    ended = time.monotonic()
    for name in world.by_shard:
        world.wait_for_more(name, ended, WHOLE_SECONDS)
    rewound = wait_until_whole(world, began - 1)
    whole, outcomes = time.monotonic() - ended, []
    for name, (primary, count) in before.items():
        acks = list(world.clients[name].acks)[max(count - 1, 0):]
        late = assert_one_at_a_time(acks)
        is_hit = primary is server if kind.what == "server" else host_of(primary) == host_of(server)
        if is_hit or name == shard:
            outcomes.append(Outcome(kind, name, longest_gap(acks, began), late, rewound, whole))
    return outcomes


# ---- the table ----

def calm_gaps(world, span):
    """The longest wait of each shard's clients in as long a time as an outage, again and again."""
    began = time.monotonic()
    time.sleep(CALM_SECONDS)
    gaps = []
    for clients in world.clients.values():
        acks = list(clients.acks)
        for start in range(0, CALM_SECONDS, int(span)):
            window = [ack for ack in acks if began + start <= ack.got < began + start + span]
            gaps.append(longest_gap(window, began + start))
    return gaps



def percentile(samples, percent):
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def table(outcomes):
    lines = [f"{'':34} shards   p50 s   p90 s   max s   late  rewound  whole again p90 s"]
    for kind in KINDS:
        mine = [one for one in outcomes if one.kind == kind]
        if mine:
            outages = [one.outage for one in mine]
            lines.append(f"{str(kind):34} {len(mine):6} {percentile(outages, 50):7.2f} {percentile(outages, 90):7.2f} "
                         f"{max(outages):7.2f} {sum(one.late for one in mine):6} "
                         f"{sum(one.rewound for one in mine):8} {percentile([one.whole for one in mine], 90):10.1f}")
    return "\n".join(lines)


def seed_from_environment():
    return int(os.environ.get("HOLDFAST_SEED") or random.SystemRandom().randrange(1 << 31))
