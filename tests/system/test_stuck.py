# SPDX-License-Identifier: Apache-2.0
"""What is said of a shard that is stuck: who can write, what it waits for, and what to do."""
import re

import pytest

from conftest import HOLDFAST
from moves import DONE, STUCK, of_lab

PATIENCE = "{ move_timeout: 2s }"


def disaster(lab, *words):
    return f"{HOLDFAST} lab {' '.join(words)} --dir {lab.dir} >/dev/null"


def get_stuck(lab, fault, to="east"):
    """A move that ends stuck; (the fleet, what the report says of the shard)."""
    fleet = of_lab(lab, policy=PATIENCE)
    shard = fleet.move(to, fault=fault, expect=STUCK)["shard"]
    assert shard["result"] == "stuck", shard
    return fleet, shard


def verdict(fleet):
    """The page's words on the promised time."""
    page = fleet.cli("report", fleet.unfinished(), "--html", "-", expect=DONE).stdout
    return re.sub("<[^>]*>", "", page.split("<h3>RTO")[1].split("</span>")[1].split("</div>")[0])


@pytest.mark.parametrize("point", ["cas.redirecting:after", "old.follow:after"])
def test_a_new_primary_that_died_after_it_was_published_is_not_said_to_take_writes(lab, point):
    new = lab.address("s0-east-1")
    fleet, shard = get_stuck(lab, f"{point}=run:{disaster(lab, 'kill', 's0-east-1')}")
    assert shard["writable"] is False
    assert shard["hint"].startswith(f"nobody can write at {new}; bring {new} back, then: "), shard
    assert verdict(fleet) == "✕ broken1 stuck shard may refuse writes until an operator acts. "
    lab.cli("lab", "restart", "s0-east-1")
    fleet.resume(expect=DONE)


def test_a_new_primary_whose_writes_do_not_return_is_not_said_to_take_writes(lab):
    ackers = ("s0-east-2", "s0-east-3")
    fleet, shard = get_stuck(lab, f"old.follow:after=run:{disaster(lab, 'freeze', *ackers)}")
    lab.cli("lab", "thaw", *ackers)
    assert shard["writable"] is False and "are the replicas alive" in shard["hint"], shard
    assert shard["hint"].startswith("nobody can write at "), shard
    fleet.resume(expect=DONE)


def test_clients_that_write_while_the_old_primary_is_away_are_told_of(lab):
    old, new = lab.address("s0-west-1"), lab.address("s0-east-1")
    fleet, shard = get_stuck(lab, f"cas.redirecting:after=run:{disaster(lab, 'kill', 's0-west-1')}")
    assert shard["writable"] is True
    assert shard["hint"].startswith(f"writes go on at {new}; bring {old} back, then: "), shard
    assert verdict(fleet).startswith("✓ kept")
    lab.cli("lab", "restart", "s0-west-1")
    fleet.resume(expect=DONE)
