# SPDX-License-Identifier: Apache-2.0
"""The report of a real run: what is kept of it, and the page that is made of it."""
import html.parser
import json
import os
import stat

import pytest

from conftest import HOLDFAST
from moves import DONE, STUCK, of_lab

PHASES = ["prepare", "freeze", "promote", "publish", "redirect", "verify"]
FAILED, WRONG = 1, 2


class Page(html.parser.HTMLParser):
    """Which tags there are, and what a reader reads."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], ""
        self.feed(text)
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        if self.lasttag != "style":
            self.words += data


def assert_in_order(report):
    """Each phase begins when the one before it is over, and all are within the run."""
    timeline = report["shards"][0]["timeline"]
    assert [span["phase"] for span in timeline] == PHASES
    at = 0
    for span in timeline:
        assert at <= span["from_ms"] <= span["to_ms"] <= report["took_ms"], timeline
        at = span["to_ms"] - 0.01  # rounded
    for span in timeline:
        took = report["shards"][0]["phases_ms"][span["phase"]]
        assert abs(span["to_ms"] - span["from_ms"] - took) < 0.01, timeline


def test_the_page_of_a_run(lab):
    fleet = of_lab(lab, probe=True)
    to = fleet.relay().region
    report = fleet.move(to, expect=DONE)["report"]
    assert_in_order(report)
    assert report["promise"]["rto_ms"] > 0 and report["by"] and not report["resumed"]
    assert report["ordered"] <= report["began"]
    run = report["run"]
    kept = json.loads(fleet.cli("report", run, "--json", expect=DONE).stdout)
    assert kept == report

    path = f"{lab.dir}/report.html"
    said = fleet.cli("report", run, "--html", path, expect=DONE).stdout
    assert said.startswith(f"wrote {path}: ")
    text = open(path, encoding="utf-8").read()
    page = Page(text)
    assert "script" not in page.tags and "link" not in page.tags and page.tags.count("svg") == 5
    for words in (run, report["by"], f"{report['from']} → {to}", "✓ kept", fleet.shard,
                  "None: every shard simply moved"):
        assert words in page.words, words
    assert fleet.cli("report", run, "--html", "-", expect=DONE).stdout == text


@pytest.mark.lab(shards=2)
def test_a_run_that_was_resumed_reports_what_both_processes_did(lab):
    """The first one moves a shard and dies with the second; its measurements are not lost."""
    lab.cli("switchover", "--to", "east", "--yes", "--wave", "canary=1,100%", check=False,
            env={"HOLDFAST_FAULT": "report.shard:after=kill"})
    run = json.loads(lab.cli("run", "show", "--json").stdout)["run"]
    so_far = lab.json("report", run)
    assert so_far["result"] == "running" and so_far["took_ms"] is None
    assert [shard["name"] for shard in so_far["shards"]] == ["s0"]
    first = so_far["shards"][0]
    assert first["result"] == "moved" and first["write_outage_ms"] is not None
    assert "1 shard so far" in lab.cli("report", run).stdout
    assert "Not finished" in Page(lab.cli("report", run, "--html", "-").stdout).words

    said = lab.json("run", "resume")
    assert lab.json("report", run) == said
    kept, second = said["shards"]
    assert said["resumed"] and said["moved"] == 2 and second["result"] == "moved"
    assert "before the run was resumed" in kept["notes"]
    for key in ("result", "write_outage_ms", "baseline_gap_ms", "critical_ms", "phases_ms", "epoch"):
        assert kept[key] == first[key], key
    assert said["write_outage_ms"]["max"] >= first["write_outage_ms"]


@pytest.mark.lab(shards=2)
def test_what_was_measured_is_kept_by_a_process_that_only_undoes(lab):
    lab.cli("switchover", "--to", "east", "--yes", "--wave", "canary=1,100%", check=False,
            env={"HOLDFAST_FAULT": "report.shard:after=kill"})
    run = lab.json("run", "list")[0]["run"]
    first = lab.json("report", run)["shards"][0]
    report = lab.json("run", "abort", check=False)
    assert report["measured_by"] == "probe"
    assert report["shards"][0]["write_outage_ms"] == first["write_outage_ms"] > 0, report
    assert "no probe" not in lab.cli("report", run).stdout


def test_old_runs_make_room_and_the_others_give_an_estimate(lab):
    fleet = of_lab(lab, policy="{ keep_runs: 3 }")
    plan = json.loads(fleet.cli("plan", "switchover", "--to", "east", "--json", expect=DONE).stdout)
    assert plan["estimate"] is None
    assert "no estimate" in fleet.cli("plan", "switchover", "--to", "east").stdout
    runs = [fleet.move(to, expect=DONE)["report"] for to in ("east", "west", "east", "west", "east")]
    assert runs[0]["estimate_ms"] is None and runs[4]["estimate_ms"] > 0
    kept = [run["run"] for run in json.loads(fleet.cli("run", "list", "--json").stdout)]
    assert kept == [run["run"] for run in runs[2:]]
    assert sorted(os.listdir(f"{lab.dir}/store/journal")) == [f"{run}.jsonl" for run in kept]
    for run in runs[:2]:
        assert "no report" in fleet.cli("report", run["run"], expect=FAILED).stderr
        assert "no run" in fleet.cli("run", "show", run["run"], expect=FAILED).stderr
    assert json.loads(fleet.cli("report", kept[0], "--json").stdout) == runs[2]
    plan = json.loads(fleet.cli("plan", "switchover", "--to", "west", "--json", expect=DONE).stdout)
    assert plan["estimate"]["runs"] == 3
    took = sorted(run["took_ms"] for run in runs[2:])
    assert plan["estimate"]["took_ms"] == took[1]
    assert "estimated: " in fleet.cli("plan", "switchover", "--to", "west", expect=DONE).stdout


def test_a_run_that_waits_takes_the_room_of_no_other(lab):
    fleet = of_lab(lab, policy="{ keep_runs: 1, move_timeout: 2s }")
    first = fleet.move("east", expect=DONE)["report"]["run"]
    kill = f"{HOLDFAST} lab kill {fleet.primary().name} --dir {lab.dir} >/dev/null"
    fleet.move("west", fault=f"cas.frozen:after=run:{kill}", expect=STUCK)
    kept = [run["run"] for run in json.loads(fleet.cli("run", "list", "--json").stdout)]
    assert len(kept) == 2 and kept[0] == first, kept


def test_a_page_replaces_a_file_and_nothing_else(lab):
    fleet = of_lab(lab)
    run = fleet.move(fleet.relay().region, expect=DONE)["report"]["run"]
    path, link = f"{lab.dir}/kept.html", f"{lab.dir}/link.html"
    with open(path, "w", encoding="utf-8") as out:
        out.write("old")
    os.chmod(path, 0o600)
    os.symlink(path, link)
    fleet.cli("report", run, "--html", link, expect=DONE)
    assert os.path.islink(link) and open(path, encoding="utf-8").read().startswith("<!doctype")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    for wrong, said in (((lab.dir,), "is a folder"), (("/dev/null",), "is not a file"),
                        (("",), "empty value"), (("x.html", "--json"), "give one of them"),
                        ((), "needs a value")):
        done = fleet.cli("report", run, "--html", *wrong, expect=WRONG)
        assert said in done.stderr and done.stdout == "", done
    done = fleet.cli("report", run, "--html", f"{lab.dir}/no/such/report.html", expect=1)
    assert "write the report: " in done.stderr and "No such file" in done.stderr
    done = fleet.cli("report", "20010101-000000-00000", "--html", f"{lab.dir}/never", expect=1)
    assert "has no report" in done.stderr and not os.path.exists(f"{lab.dir}/never")
