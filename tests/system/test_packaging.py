# SPDX-License-Identifier: Apache-2.0
"""The systemd units: systemd understands them, and the commands in them exist."""
import re
import shutil
import subprocess

import pytest

from conftest import HOLDFAST, ROOT

UNITS = sorted((ROOT / "packaging/systemd").glob("*.service"))
DROP_IN = ROOT / "packaging/systemd/mariadb.service.d/holdfast.conf"


def commands(text):
    """(subcommand, options) of each call of the program."""
    for line in re.findall(r"holdfast ((?:agent|conductor)\b[^'|\n]*)", text):
        words = line.split()
        name = [word for word in words[:2] if re.fullmatch("[a-z]+", word)]
        yield name, [word for word in words if word.startswith("--")]


def test_systemd_understands_the_units(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    server = tmp_path / "mariadb.service"
    server.write_text("[Service]\nType=oneshot\nExecStart=true\n" + DROP_IN.read_text())
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *map(str, UNITS), str(server)],
                          capture_output=True, text=True, check=False)
    wrong = [line for line in done.stderr.splitlines()
             if "Command holdfast is not executable" not in line]  # it is not installed here
    assert not wrong, wrong


@pytest.mark.parametrize("path", [*UNITS, DROP_IN], ids=lambda path: path.name)
def test_their_commands_exist(path):
    found = list(commands(path.read_text()))
    assert found
    for name, options in found:
        told = subprocess.run([HOLDFAST, *name, "--help"], capture_output=True, text=True,
                              check=True).stdout
        assert all(option in told for option in options), (name, options)
