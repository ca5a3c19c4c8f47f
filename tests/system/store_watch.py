# SPDX-License-Identifier: Apache-2.0
"""When something was written into an etcd, by the clock of the test: every member is watched, from beside it, and
who tells first counts. What is told late, or by one member only, is in the order of its revisions all the same.
"""
import base64
import contextlib
import http.client
import json
import threading
import time
import urllib.request
from typing import NamedTuple

RETRY_SECONDS = 0.05
SILENCE_SECONDS = 60


class Change(NamedTuple):
    at: float  # CLOCK_MONOTONIC; not before it was in the store
    revision: int
    key: str
    value: str  # None: it was deleted


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def decoded(text):
    return base64.b64decode(text or "").decode(errors="replace")


def span(prefix):
    return {"key": encoded(prefix), "range_end": encoded(prefix[:-1] + chr(ord(prefix[-1]) + 1))}


def ask(address, path, body, seconds=5):
    """The answer of a member, or OSError."""
    request = urllib.request.Request(f"http://{address}/v3/{path}", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return json.load(answer)


class StoreWatch:
    """Of all keys below one of the prefixes."""

    def __init__(self, members, prefixes):
        self.members, self.prefixes = members, prefixes
        self._changes = {}  # by revision and key
        self._lock = threading.Lock()
        self._is_over = False
        for address in members:
            for prefix in prefixes:
                threading.Thread(target=self._watch, args=(address, prefix), daemon=True).start()

    def close(self):
        self._is_over = True

    def changes(self, prefix="", since=0):
        """In the order of the store."""
        with self._lock:
            found = list(self._changes.values())
        return sorted((one for one in found if one.key.startswith(prefix) and one.at > since),
                      key=lambda one: one.revision)

    def _watch(self, address, prefix):
        first = 1
        while not self._is_over:
            with contextlib.suppress(OSError, ValueError, KeyError, http.client.HTTPException):
                body = {"create_request": {**span(prefix), "start_revision": first}}
                request = urllib.request.Request(f"http://{address}/v3/watch", json.dumps(body).encode())
                with urllib.request.urlopen(request, timeout=SILENCE_SECONDS) as answer:
                    for line in answer:
                        first = self._note(json.loads(line)["result"]) or first
                        if self._is_over:
                            return
            time.sleep(RETRY_SECONDS)

    def _note(self, result):
        """The revision to go on from."""
        at, last = time.monotonic(), 0
        for event in result.get("events", []):
            kv = event["kv"]
            last = int(kv["mod_revision"])
            value = None if event.get("type") == "DELETE" else decoded(kv.get("value"))
            change = Change(at, last, decoded(kv["key"]), value)
            with self._lock:
                known = self._changes.get((last, change.key))
                if known is None or at < known.at:
                    self._changes[(last, change.key)] = change
        return last + 1 if last else 0
