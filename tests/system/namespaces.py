# SPDX-License-Identifier: Apache-2.0
"""What tests share that need a network namespace for each region: whether there can be any, and being inside."""
import os
import subprocess
import sys

import pytest


def why_not():
    """Why there can be no namespaces here, or None."""
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"no TUN devices: {error}"
    tried = [subprocess.run(["unshare", *kind, "true"], capture_output=True, check=False)
             for kind in (["--net"], ["--user", "--net"])]
    if all(one.returncode for one in tried):
        return f"no network namespaces: {tried[0].stderr.decode().strip()}"
    return None


REASON = why_not()
needs_namespaces = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def enter(lab, region):
    """Words that run a command inside a region."""
    words = ["nsenter", f"--net={lab.dir}/net/{region}"]
    if os.path.exists(f"{lab.dir}/net/user"):
        words += [f"--user={lab.dir}/net/user", "--preserve-credentials"]
    return words


def inside(lab, region, code, *words, **options):
    """Start Python code inside a region."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([*enter(lab, region), sys.executable, "-c", code, *words], **options)
