# SPDX-License-Identifier: Apache-2.0
"""hold.py HOST PORT USER PASSWORD STATEMENT STATE: send the statement ("" for none), and end when a
session of the server is in the state ("": when the statement is done). Tests run it from within the
conductor, at a crash point.

The client goes at once; the server keeps the statement.
"""
import os
import sys
import threading
import time

import pymysql

SECONDS = 5


def connect():
    host, port, user, password = sys.argv[1:5]
    return pymysql.connect(host=host, port=int(port), user=user, password=password,
                           autocommit=True, connect_timeout=SECONDS, read_timeout=SECONDS)


def main():
    statement, state = sys.argv[5:]
    held, watch = connect(), connect()
    if not state:
        held.cursor().execute(statement)
        return
    if statement:
        threading.Thread(target=lambda: held.cursor().execute(statement), daemon=True).start()
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with watch.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = %s",
                           (state,))
            if cursor.fetchone()[0]:
                os._exit(0)
        time.sleep(0.001)
    sys.exit(f"no session is in the state '{state}'")


if __name__ == "__main__":
    main()
