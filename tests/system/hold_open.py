# SPDX-License-Identifier: Apache-2.0
"""hold_open.py HOST PORT USER PASSWORD DATABASE STATEMENT...: send the statements on one connection, and
end; a child keeps the connection as it is until the server ends it. Tests run it from within the
conductor, at a crash point.
"""
import os
import select
import sys

import pymysql

SECONDS = 120


def main():
    host, port, user, password, database = sys.argv[1:6]
    connection = pymysql.connect(host=host, port=int(port), user=user, password=password, database=database,
                                 connect_timeout=5, read_timeout=5)
    with connection.cursor() as cursor:
        for statement in sys.argv[6:]:
            cursor.execute(statement)
    if os.fork():
        os._exit(0)  # without the client's goodbye
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    select.select([connection._sock], [], [], SECONDS)  # pylint: disable=protected-access


if __name__ == "__main__":
    main()
