/* SPDX-License-Identifier: Apache-2.0
 * Writes: refused on a read-only server, held up by freezes, promised when acknowledged. A write
 * that waits for an acker is committed when there is one: until then nobody sees it. */
#include "sim/statement.h"

#include "base/scope.h"

/* RUN_DONE: it may go on. */
static enum outcome may_write(struct session *session)
{
    struct sim_server *server = session->server;
    if (server->read_only && !session_is_privileged(session)) {
        sim_of(server)->stats.refused_writes++;
        return session_fail(session, 1290, "HY000",
                            "The MariaDB server is running with the --read-only option so it "
                            "cannot execute this statement");
    }
    if (server->backup && server->backup != session && server->blocks_commits)
        return session_wait(session, NSEC_NEVER, session_waits_for_backup);
    if (server->closing)
        return session_wait(session, NSEC_NEVER, "Waiting for global read lock");
    return RUN_DONE;
}

/* Changes no row, so it is not in the binlog and waits for no acker. */
enum outcome write_ask(struct session *session, const struct args *args UNUSED)
{
    enum outcome outcome = may_write(session);
    return outcome == RUN_DONE ? session_ok(session, 0) : outcome;
}

enum outcome write_row(struct session *session, const struct args *args UNUSED)
{
    struct sim_server *server = session->server;
    enum outcome outcome = may_write(session);
    if (outcome != RUN_DONE)
        return outcome;
    if (server->semi_source && sim_ackers(server) == 0)
        return session_wait(session, NSEC_NEVER, session_waits_for_ack);
    sim_commit(server);
    if (server->shard->acknowledged < server->logged.seq)
        server->shard->acknowledged = server->logged.seq;
    return session_ok(session, 1);
}

/* All tables are there from the beginning: IF NOT EXISTS writes nothing. */
enum outcome write_schema(struct session *session, const struct args *args UNUSED)
{
    return session_ok(session, 0);
}

enum outcome write_read_probe(struct session *session, const struct args *args UNUSED)
{
    static const char *const columns[] = {"n"}, *const values[] = {"1"};
    session_columns(session, columns, 1);
    session_row(session, values, 1);
    return session_rows_end(session);
}
