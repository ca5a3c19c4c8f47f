# SPDX-License-Identifier: Apache-2.0
"""Who ordered what, from where, and why: kept with the run, and shown wherever the run is."""
import json
import pathlib
import signal

import pytest

from conftest import wait_until

KILLED = -signal.SIGKILL
FROM = {"SSH_CONNECTION": "192.0.2.7 51234 192.0.2.1 22"}
HOSTILE = "move\x1b[2J <b>now</b>\nsecond line"


def test_the_orders_of_a_run_are_kept(lab):
    dead = lab.cli("switchover", "--to", "east", "--yes", "--reason", HOSTILE, check=False,
                   env={**FROM, "HOLDFAST_FAULT": "cas.redirecting:after=kill"})
    assert dead.returncode == KILLED
    report = lab.json("run", "resume", env={"SSH_CONNECTION": "192.0.2.8 51234 192.0.2.1 22"})
    first, second = report["audit"].split("\n")
    assert report["by"] in first and "by ssh from 192.0.2.7, without a terminal" in first
    assert "ordered a switchover to east of s0: move" in first and "second line" in first
    assert second.endswith("took the run over") and "192.0.2.8" in second
    assert "\x1b" not in report["reason"] and "\n" not in report["reason"]

    record = lab.json("run", "show", report["run"])
    assert record["audit"] == report["audit"] and record["origin"] in first
    assert lab.json("run", "list")[0]["reason"] == report["reason"]
    shown = lab.cli("run", "show", report["run"]).stdout
    assert first in shown and second in shown and "\x1b" not in shown
    journal = pathlib.Path(lab.dir, "store", "journal", f"{report['run']}.jsonl").read_text()
    orders = [json.loads(line)["text"] for line in journal.splitlines()
              if json.loads(line)["event"] in ("begin", "resume")]
    assert orders == [first, second]
    page = lab.cli("report", report["run"], "--html", "-").stdout
    assert "&lt;b&gt;now&lt;/b&gt;" in page and "<b>now" not in page
    text = lab.cli("report", report["run"]).stdout
    assert text.splitlines()[1:3] == [f"  {first}", f"  {second}"], text
    assert f"<li>{second}</li></ul>" in page


def test_a_reason_may_be_required(lab):
    with open(lab.fleet, "a", encoding="utf-8") as fleet:
        fleet.write("\npolicy: { reason_required: true }\n")
    for blank in ([], ["--reason", " \t "]):
        refused = lab.cli("switchover", "--to", "east", "--yes", *blank, check=False)
        assert refused.returncode == 2 and "--reason is missing" in refused.stderr
    assert lab.json("run", "list") == []
    assert lab.json("switchover", "--to", "east", "--yes", "--reason", "drill")["reason"] == "drill"


@pytest.mark.lab(shards=2)
def test_an_abort_by_somebody_else_is_kept(lab):
    process = lab.popen("switchover", "--to", "east", "--yes", "--json", "--wave", "1",
                        "--settle", "60")
    wait_until(lambda: "home east" in lab.cli("run", "show", check=False).stdout, 20, "one moved")
    run = lab.json("run", "list")[0]["run"]
    assert lab.json("run", "abort", env=FROM) == {"run": run, "asked": True}
    out, err = process.communicate(timeout=30)
    last = json.loads(out)["audit"].split("\n")[-1]
    assert last.endswith("asked the run to abort") and "192.0.2.7" in last, out + err


def test_bringing_roles_back_leaves_a_trail(lab):
    lab.json("switchover", "--to", "east", "--yes")
    with open(lab.fleet, "a", encoding="utf-8") as fleet:
        fleet.write("\npolicy: { reason_required: true }\n")
    lab.sql("s0-west-2", "STOP SLAVE")
    refused = lab.cli("fleet", "converge", "--yes", check=False)
    assert refused.returncode == 2 and "--reason is missing" in refused.stderr
    done = lab.cli("fleet", "converge", "--yes", "--reason", "rebooted", env={**FROM, "HOLDFAST_LOG": "info"})
    journal = pathlib.Path(lab.dir, "store", "journal", "converge.jsonl").read_text().splitlines()
    order, came = (json.loads(line) for line in journal)
    assert order["event"] == "begin" and order["text"].endswith("ordered to bring roles back: rebooted")
    assert "192.0.2.7" in order["text"] and "run.order" in done.stderr and "rebooted" in done.stderr
    assert came["shard"] == "s0" and "start replication" in came["text"], came
