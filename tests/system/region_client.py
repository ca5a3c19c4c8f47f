# SPDX-License-Identifier: Apache-2.0
"""region_client.py: clients of one place, which know nothing of Holdfast. It runs in a region's network
namespace, or on the host, until its standard input ends.

The first line of standard input is JSON: {"user", "password", "database", "first", "pause", "accepted_pause",
"servers": [{"name", "host", "port"}]}. One client is at each server; it tries that again and again, whoever is primary, so no
client's time-out is in anything that is measured. For each row that was acknowledged it prints a line: the
server, the number, when it was sent, when the answer came; both by CLOCK_MONOTONIC, which all namespaces share.
Numbers grow with time, and none is used again.
"""
import contextlib
import json
import os
import sys
import threading
import time

import pymysql

CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 15  # longer than any freeze: what was in flight then is answered, or never
READ_ONLY = 1290
OWN_NUMBERS = 1000  # clients of a shard need one each


class Client:
    def __init__(self, plan, server, own):
        self.plan, self.server, self.own = plan, server, own
        self.connection = None

    def connect(self):
        connection = pymysql.connect(
            host=self.server["host"], port=self.server["port"], user=self.plan["user"], autocommit=True,
            password=self.plan["password"], database=self.plan["database"], connect_timeout=CONNECT_SECONDS,
            read_timeout=CONNECT_SECONDS, write_timeout=CONNECT_SECONDS)
        connection._read_timeout = ANSWER_SECONDS  # pylint: disable=protected-access
        return connection

    def close(self):
        if self.connection is not None:
            with contextlib.suppress(pymysql.err.Error, OSError):
                self.connection.close()
        self.connection = None

    def write(self):
        self.connection = self.connection or self.connect()
        sent = time.monotonic()
        number = int(sent * 1e6) * OWN_NUMBERS + self.own
        with self.connection.cursor() as cursor:
            cursor.execute("INSERT INTO ledger (n) VALUES (%s)", (number,))
        got = time.monotonic()
        os.write(1, f"{self.server['name']} {number} {sent:.6f} {got:.6f}\n".encode())

    def run(self):
        while True:
            pause = self.plan["accepted_pause"]
            try:
                self.write()
            except (pymysql.err.Error, OSError) as error:
                pause = self.plan["pause"]
                if not error.args or error.args[0] != READ_ONLY:
                    self.close()
                    pause = 2 * pause
            time.sleep(pause)


def main():
    plan = json.loads(sys.stdin.readline())
    servers = plan["servers"]
    for index, server in enumerate(servers):
        client = Client(plan, server, (plan["first"] + index) % OWN_NUMBERS)
        threading.Thread(target=client.run, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
