# SPDX-License-Identifier: Apache-2.0
"""What the tests share that make something happen at the crash points of a move (`holdfast dev points`):
the conductor dies, a server does, an operator types Ctrl-C. How a process is brought past each point:
most are passed by every move, the others only in trouble, or by a successor. And the bench on which one
scenario follows the other.
"""
import contextlib
from typing import NamedTuple

from conftest import wait_until
from moves import (DONE, KILLED, SOAK, Writers, assert_sound, hold_command, of_lab, open_command,
                   other_region)

SOUND_SECONDS = 20  # after a server was mended
FAILURES_MAX = 50 if SOAK else 5

# A privileged statement that the freeze holds up.
FLUSH = ("FLUSH TABLES", "Waiting for backup lock")

# A late FLUSH TABLES leaves a transaction that only its own region has.
ACCEPT = "accept: [ errant-transactions ]"

# The disk may be slow.
PATIENT = f"{{ freeze_timeout: 2s, {ACCEPT} }}"


class Passage(NamedTuple):
    first: str = ""  # where a process dies, so that its successor comes past the call; "": no need
    trouble: str = ""  # what has to be the matter: see pass_point()


BEFORE_PROMOTE = "new.promote:before"
PUBLISHED = "cas.redirecting:after"

# Calls that a move without trouble does not make.
UNUSUAL = {
    "old.schema": Passage(trouble="missing table"),
    "old.end-held": Passage(trouble="held session"),
    "old.end-open": Passage(trouble="open transaction"),
    "old.evict": Passage("cas.preparing:after", "locks held"),
    "new.evict": Passage("cas.preparing:after", "locks held"),
    "new.confirm": Passage(BEFORE_PROMOTE),
    "new.log": Passage(BEFORE_PROMOTE, "flushed relay"),
    "new.close": Passage(BEFORE_PROMOTE),
    "new.open-look": Passage(PUBLISHED),
    "new.open": Passage(PUBLISHED, "restarted relay"),
    "old.open": Passage(BEFORE_PROMOTE),
    "old.undo-look": Passage(BEFORE_PROMOTE),
    "all.rivals": Passage(BEFORE_PROMOTE),
    "cas.undoing": Passage(BEFORE_PROMOTE),
    "cas.claim": Passage(BEFORE_PROMOTE),
    "run.take": Passage(BEFORE_PROMOTE),
    "old.late": Passage("old.end-held:before", "held session"),
    "all.strict": Passage("old.end-held:before", "held session"),
}


def passage(point):
    return UNUSUAL.get(point.split(":")[0], Passage())


def furnish(fleet):
    """An event and a running scheduler that Holdfast may switch, so that a move has to take them
    along."""
    primary = fleet.primary()
    fleet.sql(primary, "GRANT SUPER ON *.* TO holdfast@'%'")
    fleet.sql(primary, f"CREATE EVENT IF NOT EXISTS {fleet.database}.hourly ON SCHEDULE EVERY 1 HOUR "
                       f"STARTS '2030-01-01' DO DELETE FROM {fleet.database}.ledger WHERE n < 0")
    fleet.sql(primary, "SET GLOBAL event_scheduler=ON")


def wrong_events(fleet):
    """Sentences about servers on which the event that furnish() made is on, or off, by mistake."""
    primary = fleet.primary()
    states = {server.name: fleet.value(server, "SELECT STATUS FROM information_schema.EVENTS"
                                               " WHERE EVENT_NAME = 'hourly'")
              for server in fleet.servers}
    return [f"the event of {name} is {state}" for name, state in states.items()
            if (state == "ENABLED") != (name == primary.name)]


def set_strict(fleet, is_strict):
    for server in fleet.servers:
        fleet.sql(server, f"SET GLOBAL gtid_strict_mode={is_strict}")


@contextlib.contextmanager
def held_locks(fleet, servers):
    """Somebody who holds the server locks of the run that died, as its sessions would if its host had
    only lost the network. They are taken by calling what this gives."""
    with contextlib.ExitStack() as ends:
        connections = [ends.enter_context(fleet.connect(server)) for server in servers]

        def take():
            for connection in connections:
                for lock in ("holdfast", f"holdfast/{fleet.unfinished()}"):
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT GET_LOCK(%s, 2) AS got", (lock,))
                        assert cursor.fetchone()["got"] == 1

        yield take


def pass_point(fleet, point, action, first=None, **options):
    """A process comes past the point and does the action there; its outcome. With 'first' (by default
    where the point needs it) another one moved before it, and died there."""
    way = passage(point)
    first = way.first if first is None else first
    old, relay = fleet.primary(), fleet.relay()
    is_flushed = way.trouble == "flushed relay"
    faults = [f"{first}=kill" if first else f"{point}={action}"]
    if way.trouble == "held session":
        faults.insert(0, f"old.freeze:after=run:{hold_command(fleet, old, *FLUSH)}")
    if way.trouble == "open transaction":
        transaction = open_command(fleet, old, "BEGIN", "INSERT INTO ledger (n) VALUES (-1)")
        faults.insert(0, f"old.try-freeze:after=run:{transaction}")
    if way.trouble == "missing table":
        fleet.sql(old, "DROP TABLE holdfast.load_row")
    if is_flushed:  # in strict order a replica's own number stops its applier: see put_right()
        set_strict(fleet, 0)
    holders = [old, relay] if way.trouble == "locks held" else []
    with held_locks(fleet, holders) as take_locks:
        if not first:
            return fleet.move(relay.region, fault=";".join(faults), **options)
        died = fleet.move(relay.region, fault=";".join(faults))
        assert died["code"] == KILLED, f"{first} was not reached: {died}"
        if is_flushed:
            fleet.sql(relay, "FLUSH TABLES")
        if way.trouble == "restarted relay":
            fleet.cli("lab", "kill", relay.name, expect=DONE)
            fleet.cli("lab", "restart", relay.name, "--bare", expect=DONE)
        take_locks()
        return fleet.resume(fault=f"{point}={action}", **options)


def put_right(fleet, point):
    """After the run was finished: what pass_point() changed for this point. Strict order again, once
    every server is past the relay's own number."""
    if passage(point).trouble != "flushed relay":
        return
    primary = fleet.primary()
    position = fleet.value(primary, "SELECT @@GLOBAL.gtid_binlog_pos")
    for server in fleet.servers:
        if server is not primary:
            wait_until(lambda s=server: fleet.value(s, "SELECT MASTER_GTID_WAIT(%s, 1)", position) == 0,
                       SOUND_SECONDS, f"{server.name} has {position}")
    set_strict(fleet, 1)


class Bench:
    """A fleet with writers on which one scenario follows the other; fresh after a failure."""

    def __init__(self, make_lab):
        self.make_lab = make_lab
        self.fleet = self.writers = None  # both or none
        self.checked = 0  # numbers up to this one were verified

    def ready(self):
        if self.fleet is None:
            fleet = of_lab(self.make_lab(), policy=PATIENT)
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
        assert_sound(fleet, writers.acked, self.checked, seconds=SOUND_SECONDS)
        assert not wrong_events(fleet), wrong_events(fleet)
        writers.wait_for_more(3)
        home = fleet.route()["home"]
        moved = fleet.move(other_region(fleet, home), expect=DONE)
        assert moved["shard"]["result"] == "moved", moved
        acked = list(writers.acked)
        assert_sound(fleet, acked, self.checked)
        assert not wrong_events(fleet), wrong_events(fleet)
        self.checked = max(acked)

    def check_everything(self):
        if self.fleet is not None:
            self.writers.stop()
            assert_sound(self.fleet, self.writers.acked)


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
            if len(failures) >= FAILURES_MAX:
                break
    with contextlib.suppress(AssertionError) if failures else contextlib.nullcontext():
        bench.check_everything()
    assert not failures, f"{len(failures)} scenarios failed:\n" + "\n".join(failures)
