# SPDX-License-Identifier: Apache-2.0
"""A region is lost, by an operator's word; and moves that were under way when it was lost.

The network is one of namespaces, the commands run on the host: as one would reach a region by another way.
"""
import contextlib
import datetime
import json
import pathlib
import re
import shlex
import signal
import subprocess
import time
import urllib.request

import pytest

from conftest import HOLDFAST, wait_until
from test_host_disasters import show_logs
from test_lab_network import NETNS, needs_namespaces
from test_takeover import leads, start

TTL = ("--ttl", "2s")
SECONDS = 60  # only a hang gets here
HELD = 5.0

pytestmark = needs_namespaces


def make(make_lab, shards, automatic):
    return make_lab(shards=shards, daemons=True, wan=[*NETNS, *TTL, "--automatic", automatic])


def homes(lab):
    return {shard["name"]: shard["home"] for shard in lab.json("status", check=False)["shards"]}


def is_open(lab, server):
    return lab.value(server, "SELECT @@GLOBAL.read_only") == 0


def open_servers(lab):
    return [name for name in lab.servers() if is_open(lab, name)]


def open_in_the_east(lab):
    """The shards of the open servers there, one for each."""
    return sorted(name.split("-")[0] for name in open_servers(lab) if "-east-" in name)


def told_by(lab, conductor):
    """The status that this conductor tells now, or None when it does not answer."""
    daemon = lab.daemons()[f"conductor-{conductor}"]
    token = pathlib.Path(lab.dir, "viewer.token").read_text(encoding="utf-8").strip()
    request = urllib.request.Request(f"http://{daemon['host']}:{daemon['port']}/v1/status",
                                     headers={"Authorization": f"Bearer {token}"})
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)
    return None


def tells_what_is_so(lab, conductor, home):
    """Whether it tells of the shards as the store does; it may only be silent about them, or say that it is behind."""
    told = told_by(lab, conductor)
    if not told or told["store_error"]:
        return False
    assert {shard["home"] for shard in told["shards"]} == {home}, told
    assert not any("the store says that" in problem for shard in told["shards"] for problem in shard["problems"]), told
    return True


def test_a_region_that_is_alive_is_not_failed_over(make_lab):
    lab = make(make_lab, 1, "host")
    told = lab.cli("failover", "--to", "east", "--yes", check=False)
    assert told.returncode == 2 and "--accept-loss" in told.stderr, told
    told = lab.cli("failover", "--accept-loss", "--yes", check=False)
    assert told.returncode == 2 and "--to" in told.stderr, told
    told = lab.cli("failover", "--to", "north", "--accept-loss", "--yes", check=False)
    assert told.returncode == 2 and "north" in told.stderr, told
    told = lab.cli("failover", "--to", "east", "--accept-loss", "--yes", check=False)
    assert told.returncode == 3 and "region west is alive" in told.stderr, told
    assert "switchover --to east" in told.stderr and "--force" in told.stderr, told
    assert homes(lab) == {"s0": "west"} and lab.json("run", "list") == []
    told = lab.cli("region", "list")
    assert "west         alive         1" in told.stdout and "east         alive         0" in told.stdout, told
    told = lab.cli("region", "return", "west", "--yes", check=False)
    assert told.returncode == 3 and "is not fenced" in told.stderr, told

    # --force: alive or not. Its primary is closed first, and both sides answer: nothing is lost.
    lab.sql("s0-west-1", "CREATE TABLE app.words (word VARCHAR(20) PRIMARY KEY)")
    lab.sql("s0-west-1", "INSERT INTO app.words VALUES ('kept')")
    told = lab.cli("failover", "--to", "east", "--accept-loss", "--force", "--yes")
    assert "--force: region west is alive" in told.stderr, told
    assert homes(lab) == {"s0": "east"}
    now_open = open_servers(lab)
    assert len(now_open) == 1 and now_open[0].startswith("s0-east"), now_open
    assert lab.value(now_open[0], "SELECT word FROM app.words") == "kept"


def test_a_silent_region_is_fenced_failed_over_and_given_back(make_lab):
    lab = make(make_lab, 1, "host")
    wait_until(lambda: lab.json("status", "--direct")["shards"][0]["epoch"], SECONDS, "the store knows the shard")
    lab.cli("lab", "unplug", "west")
    told = lab.cli("failover", "--to", "east", "--accept-loss", "--yes", "--reason", "west burns")
    assert "region west is silent: it is fenced first" in told.stderr, told
    assert "of acknowledged writes are lost" in told.stdout + told.stderr, told
    assert homes(lab) == {"s0": "east"}
    assert not [name for name in open_servers(lab) if "-west-" in name]
    for way in ([], ["--direct"]):
        assert "region west is fenced since" in lab.cli("status", *way, check=False).stdout
    told = lab.cli("readiness", "--direct", check=False)  # a conductor's is some seconds old
    assert told.returncode == 3 and "NO-GO fenced" in told.stdout, told
    told = lab.cli("region", "return", "west", "--yes", check=False)
    assert told.returncode == 3 and "is not whole" in told.stderr, told
    told = lab.cli("switchover", "--to", "west", "--yes", check=False)
    assert told.returncode == 3 and "fenced" in told.stderr + told.stdout, told
    told = lab.cli("failover", "--to", "west", "--accept-loss", "--yes", check=False)
    assert told.returncode == 3 and "region west is fenced since" in told.stderr, told

    lab.cli("lab", "plug", "west")
    for conductor in ("west-1", "west-2"):
        wait_until(lambda: tells_what_is_so(lab, conductor, "east"), SECONDS, f"{conductor} tells of the shard")
    wait_until(lambda: lab.cli("region", "return", "west", "--yes", check=False).returncode == 0, SECONDS,
               "west is whole, and given back")
    told = lab.cli("region", "list").stdout
    assert "fenced" not in told, told
    wait_until(lambda: lab.cli("switchover", "--to", "west", "--yes", check=False).returncode == 0, SECONDS,
               "its shards go home")
    assert homes(lab) == {"s0": "west"}


def write_for(lab, seconds):
    """Into the ledger of the shard in the west. When each number was acknowledged, by the wall clock."""
    acks, until = {}, time.monotonic() + seconds
    with lab.connect("s0-west-1", user="app") as connection, connection.cursor() as cursor:
        while time.monotonic() < until:
            cursor.execute("INSERT INTO app.ledger VALUES (%s)", (len(acks),))
            acks[len(acks)] = time.time()
    return acks


def shown_loss_ms(lab):
    return (lab.json("status", check=False)["shards"][0]["loss"] or {}).get("ms")


def test_what_a_relay_received_and_lost_again_bounds_no_loss(make_lab):
    """It was restarted before it had applied it; until then the loss of the west would have cost next to nothing."""
    lab = make(make_lab, 1, "host")
    wait_until(lambda: lab.json("status", "--direct")["shards"][0]["epoch"], SECONDS, "the store knows the shard")
    lab.sql("s0-west-1", "CREATE TABLE app.ledger (n BIGINT PRIMARY KEY)")
    lab.wait_for_replication()
    wait_until(lambda: shown_loss_ms(lab) is not None, SECONDS, "what a loss would cost is known")
    with lab.connect("s0-east-1", read_timeout=SECONDS) as holding:
        holding.cursor().execute("LOCK TABLES app.ledger READ")
        acks = write_for(lab, HELD)
        wait_until(lambda: shown_loss_ms(lab) < HELD * 500, SECONDS, "the east has received nearly all")
        lab.cli("lab", "unplug", "west")
        lab.cli("lab", "kill", "s0-east-1")
    lab.cli("lab", "restart", "s0-east-1")

    lab.cli("failover", "--to", "east", "--accept-loss", "--yes")
    heir = next(name for name in open_servers(lab) if "-east-" in name)
    there = {row["n"] for row in lab.sql(heir, "SELECT n FROM app.ledger")}
    lost = [at for number, at in acks.items() if number not in there]
    span = max(lost, default=0) - min(lost, default=0)
    assert span > HELD * 0.7, f"{len(lost)} of {len(acks)} are lost, of {span:.3f} s"
    told = lab.json("report", max(run["run"] for run in lab.json("run", "list")))["shards"][0]
    print(f"lost: {span:.3f} s; {told.get('loss_bound_ms')} ms at most, as the report says: {told['loss_evidence']}")
    until = re.search(r"all that was acknowledged until (\S+)Z is there", told["loss_evidence"])
    assert until, told
    covered = datetime.datetime.fromisoformat(until[1] + "+00:00").timestamp()
    assert covered <= min(lost), f"what was acknowledged {covered - min(lost):.3f} s before that is lost"
    assert told["loss_bound_ms"] >= span * 1000, told


def test_readiness_says_whether_the_loss_of_a_region_heals_itself(make_lab):
    lab = make_lab()  # no agents, no conductors, and a store on one machine
    fleet = lab.dir + "/holdfast.yaml"
    with open(fleet, "a", encoding="utf-8") as file:
        file.write("policy: { automatic: region }\n")
    told = lab.cli("readiness", check=False).stdout
    for what in ("an etcd of three members", "region west has no conductor", "has no agent that would close it"):
        assert what in told, told
    lab = make(make_lab, 1, "region")

    def told_with(sites):
        path = pathlib.Path(lab.dir, "holdfast.yaml")
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"  sites: .*\n", sites, text), encoding="utf-8")
        told = lab.cli("readiness", "--direct", check=False).stdout
        path.write_text(text, encoding="utf-8")
        return told

    lab.cli("lab", "leader", "witness")
    told = told_with("  sites: [ west, east, harbour ]\n")
    assert "unarmed" not in told and "store-leader" not in told, told
    assert "with region west etcd loses its majority: 2 of its 3 members are there" in told_with(
        "  sites: [ west, west, east ]\n")
    told = told_with("")
    assert "store-sites" in told and "unarmed" not in told, told
    lab.cli("lab", "leader", "east")
    told = lab.cli("readiness", "--direct", check=False).stdout
    assert "store-leader" in told and "leads, in region east" in told, told


# Where a move to the east is when the west is lost; what becomes of the shard: it serves in the east, always.
POINTS = ["cas.preparing:after", "old.freeze:after", "cas.promoting:after", "new.promote:after",
          "cas.redirecting:after"]


@pytest.mark.parametrize("point", POINTS)
def test_a_move_is_under_way_when_its_old_region_is_lost(make_lab, point):
    """The process that moves it dies in the same moment; what it left is failed over, or finished."""
    lab = make(make_lab, 1, "region")
    cut = shlex.join([HOLDFAST, "lab", "unplug", "west", "--dir", str(lab.dir)])

    def is_killed_in_it():  # just after a start roles are brought back, and a move is refused
        return lab.cli("switchover", "--to", "east", "--direct", "--yes", check=False,
                       env={"HOLDFAST_FAULT": f"{point}=run:{cut} && kill -9 $PPID"}).returncode == -signal.SIGKILL

    wait_until(is_killed_in_it, SECONDS, "a move that gets that far")
    try:
        wait_until(lambda: homes(lab) == {"s0": "east"}, SECONDS, "the shard serves in the east")
    except BaseException:
        show_logs(lab)
        raise
    now_open = [name for name in open_servers(lab) if "-west-" not in name]
    assert len(now_open) == 1, now_open


# Where a move to the east is when the *east* is lost: 'promoting', and the old primary is open, or frozen, or the
# new one is open.
PROMOTING = ["cas.promoting:after", "old.freeze:after", "new.promote:after"]


def put_a_word(lab):
    lab.sql("s0-west-1", "CREATE TABLE app.words (word VARCHAR(20) PRIMARY KEY)")
    lab.sql("s0-west-1", "INSERT INTO app.words VALUES ('before')")


def lose_the_east_in_a_move(lab, point):
    """The process that moves the shards there dies in the same moment."""
    cut = shlex.join([HOLDFAST, "lab", "unplug", "east", "--dir", str(lab.dir)])

    def is_killed_in_it():
        told = lab.cli("switchover", "--to", "east", "--direct", "--yes", check=False,
                       env={"HOLDFAST_FAULT": f"{point}=run:{cut} && kill -9 $PPID"})
        if told.returncode >= 0:  # a primary that was closed meanwhile nobody opens by himself with 'none'
            print(told.stdout, told.stderr)
            lab.cli("fleet", "converge", "--yes", check=False)
        return told.returncode == -signal.SIGKILL

    wait_until(is_killed_in_it, SECONDS, "a move that gets that far")


def last_switchover(lab):
    return [run["run"] for run in lab.json("run", "list") if run["kind"] == "switchover"][-1]


def serves_in_the_west(lab):
    """By its route. Whoever is open in the west, nobody is in the east any more."""
    in_the_west = [name for name in lab.servers() if "-west-" in name and is_open(lab, name)]
    in_the_east = [name for name in lab.servers() if "-east-" in name and is_open(lab, name)]
    assert len(in_the_west + in_the_east) <= 1, (in_the_west, in_the_east)
    shard = lab.json("status", check=False)["shards"][0]
    return in_the_west and (shard["home"], shard["state"]) == ("west", "serving")


def assert_taken_back(lab, run):
    """What the move 'run' left is at an end, nothing is lost, and it is told what became of it."""
    wait_until(lambda: serves_in_the_west(lab), SECONDS, "it serves in the west again")
    primary = next(name for name in open_servers(lab) if "-west-" in name)
    lab.sql(primary, "INSERT INTO app.words VALUES ('after')")
    words = lab.sql(primary, "SELECT word FROM app.words ORDER BY word")
    assert [row["word"] for row in words] == ["after", "before"]
    wait_until(lambda: {each["run"]: each["state"] for each in lab.json("run", "list")}[run] == "failed", SECONDS,
               "the move says that it failed")
    last = lab.json("run", "list")[-1]
    assert last["state"] == "done" and "region east is lost" in last["reason"], last
    told = lab.json("report", last["run"])["shards"][0]
    assert told["result"] == "moved" and "a move to east, which was lost, may have opened" in told["loss_evidence"], told
    assert "region east is fenced since" in lab.cli("status", check=False).stdout


def assert_east_comes_back(lab):
    lab.cli("lab", "plug", "east")
    wait_until(lambda: lab.cli("region", "return", "east", "--yes", check=False).returncode == 0, SECONDS,
               "the east is whole, and given back")
    assert len(open_servers(lab)) == 1 and homes(lab) == {"s0": "west"}


@pytest.mark.parametrize("point", PROMOTING)
def test_a_move_is_promoting_when_its_new_region_is_lost(make_lab, point):
    """The process that moves it dies in the same moment. The shard serves in the west, under the fence of the east."""
    lab = make(make_lab, 1, "region")
    put_a_word(lab)
    lose_the_east_in_a_move(lab, point)
    try:
        assert_taken_back(lab, last_switchover(lab))
        if point != "new.promote:after":  # else the probe of the move has written there
            assert_east_comes_back(lab)
    except BaseException:
        show_logs(lab)
        raise


def assert_named_before_the_go(lab, run):
    told = lab.cli("failover", "--to", "west", "--accept-loss", check=False)
    assert told.returncode == 4 and "nothing was changed" in told.stderr, told
    named = rf"s0: promoting by run {run}: \S+, which may be open, is lost with its region: a server of west"
    assert re.search(named, told.stderr), told
    assert f"run {run} is not finished: it is set aside" in told.stderr, told


def fail_over_by_hand(lab, *options):
    """Although the move is unfinished."""
    run = last_switchover(lab)
    told = lab.cli("failover", "--to", "west", "--accept-loss", "--yes", "--reason", "region east is lost", *options)
    assert f"run {run} was set aside with the fence" in told.stderr, told
    return run


# Where the move is, and who carries the failover out.
BY_HAND = [("cas.promoting:after", ["--direct"]), ("old.freeze:after", []), ("new.promote:after", [])]


@pytest.mark.parametrize("point, options", BY_HAND)
def test_a_move_is_promoting_when_an_operator_says_that_its_new_region_is_lost(make_lab, point, options):
    """The conductors heal nothing by themselves. The process that moves it dies with the east."""
    lab = make(make_lab, 1, "none")
    put_a_word(lab)
    lose_the_east_in_a_move(lab, point)
    try:
        assert_named_before_the_go(lab, last_switchover(lab))
        assert_taken_back(lab, fail_over_by_hand(lab, *options))
    except BaseException:
        show_logs(lab)
        raise


def test_the_rest_of_a_move_goes_back_when_an_operator_says_that_its_new_region_is_lost(make_lab):
    """Of two shards one may be open there, and is failed over; the other one did not get so far, or did, too."""
    lab = make(make_lab, 2, "none")
    lose_the_east_in_a_move(lab, "cas.promoting:after")

    def both_serve():
        shards = lab.json("status", check=False)["shards"]
        is_open_in = sorted(name.split("-")[0] for name in open_servers(lab) if "-west-" in name)
        return {(shard["home"], shard["state"]) for shard in shards} == {("west", "serving")} and is_open_in == ["s0", "s1"]

    try:
        run = fail_over_by_hand(lab)
        wait_until(both_serve, SECONDS, "both shards serve in the west")
        wait_until(lambda: {each["run"]: each["state"] for each in lab.json("run", "list")}[run] in ("failed", "aborted"),
                   SECONDS, "the move says that it is over")
    except BaseException:
        show_logs(lab)
        raise


def put_region_in_the_lead(lab, region, **env):
    """One of its conductors leads; all have something in their environment."""
    def leader():
        return next((name for name, daemon in lab.daemons().items()
                     if name.startswith("conductor") and daemon["state"] == "up" and leads(lab, name)), None)

    def restart(name):
        lab.cli("lab", "kill", name)
        start(lab, name, **env)

    def is_of_region():
        name = wait_until(leader, SECONDS, "a conductor leads")
        if name.startswith(f"conductor-{region}"):
            return True
        restart(name)
        return False

    for name in lab.daemons():
        if name.startswith("conductor"):
            restart(name)
    wait_until(is_of_region, 2 * SECONDS, f"{region} leads")


# Whose conductor carries the move out, and lives on: where it is when the east is lost.
CARRIERS = [("west", "new.promote:before"), ("east", "new.promote:after")]


@pytest.mark.parametrize("region, point", CARRIERS)
def test_a_conductor_is_promoting_when_the_new_region_is_lost(make_lab, tmp_path, region, point):
    """That of the west waits for the new primary; that of the east has opened it, and cannot publish that."""
    lab = make(make_lab, 1, "region")
    put_a_word(lab)
    here, gone = tmp_path / "here", tmp_path / "gone"
    script = tmp_path / "hold"
    script.write_text(f"touch {here}; until test -e {gone}; do sleep 0.02; done\n")
    put_region_in_the_lead(lab, region, HOLDFAST_FAULT=f"{point}=run:sh {script}")

    def is_held():
        order = lab.popen("switchover", "--to", "east", "--yes", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: here.exists() or order.poll() is not None, SECONDS, "the move gets that far, or is refused")
        return here.exists()

    try:
        wait_until(is_held, SECONDS, "a move that gets that far")
        lab.cli("lab", "unplug", "east")
        gone.touch()
        assert_taken_back(lab, last_switchover(lab))
        if point != "new.promote:after":
            assert_east_comes_back(lab)
    except BaseException:
        show_logs(lab)
        raise
    finally:
        gone.touch()


def test_a_move_back_is_under_way_when_its_new_region_is_lost(make_lab):
    """One shard is in the west again, the other one on its way: both serve in the east in the end."""
    lab = make(make_lab, 2, "region")
    both = {"s0": "east", "s1": "east"}
    wait_until(lambda: lab.cli("switchover", "--to", "east", "--yes", check=False).returncode == 0, SECONDS, "both go east")
    cut = shlex.join([HOLDFAST, "lab", "unplug", "west", "--dir", str(lab.dir)])

    def is_killed_in_it():
        return lab.cli("switchover", "--to", "west", "--direct", "--yes", check=False,
                       env={"HOLDFAST_FAULT": f"cas.redirecting:after=run:{cut} && kill -9 $PPID"}).returncode < 0

    wait_until(is_killed_in_it, SECONDS, "a move that gets that far")
    try:
        wait_until(lambda: open_in_the_east(lab) == ["s0", "s1"] and homes(lab) == both, SECONDS, "both serve in the east")
        wait_until(lambda: "its process is gone" not in lab.cli("run", "list").stdout, SECONDS, "no run says that it runs")
    except BaseException:
        show_logs(lab)
        print(lab.cli("run", "list").stdout)
        raise
