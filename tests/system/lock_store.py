# SPDX-License-Identifier: Apache-2.0
"""lock_store.py DATABASE SECONDS: a store that answers nobody for so long. Returns when it is locked."""
import os
import sqlite3
import sys
import time


def main():
    database, seconds = sys.argv[1], float(sys.argv[2])
    ready, is_locked = os.pipe()
    if os.fork():
        os.close(is_locked)
        os.read(ready, 1)
        return
    for fd in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), fd)
    connection = sqlite3.connect(database, isolation_level=None, timeout=10)
    connection.execute("BEGIN EXCLUSIVE")
    os.write(is_locked, b"x")
    time.sleep(seconds)


if __name__ == "__main__":
    main()
