/* SPDX-License-Identifier: Apache-2.0
 * What handlers answer with; see session.h. */
#include "sim/session.h"

#include "base/scope.h"

#include <stdio.h>

bool session_is_privileged(const struct session *session)
{
    return session->account == 0;
}

enum outcome session_wait(struct session *session, nsec until, const char *state)
{
    session->wake_at = until < session->bound ? until : session->bound;
    session->state = state;
    return RUN_WAIT;
}

enum outcome session_ok(struct session *session, uint64_t rows)
{
    wire_ok(&session->reply, rows);
    return RUN_DONE;
}

enum outcome session_fail(struct session *session, unsigned code, const char *state,
                          const char *format, ...)
{
    AUTO(buf_release) struct buf text = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    wire_error(&session->reply, code, state, buf_text(&text));
    return RUN_FAILED;
}

enum outcome session_unknown(struct session *session, const char *what)
{
    const struct sim_server *server = session->server;
    sim_of(server)->stats.unknown++;
    fprintf(stderr, "simfleet: UNKNOWN at s%zu:%u: %s\n", server->shard->index, server->index,
            what);
    return session_fail(session, 1064, "42000", "simfleet does not know: %.400s", what);
}

void session_columns(struct session *session, const char *const *names, size_t count)
{
    wire_columns(&session->reply, names, count);
}

void session_row(struct session *session, const char *const *values, size_t count)
{
    size_t begun = wire_row_begin(&session->reply);
    for (size_t i = 0; i < count; i++)
        wire_value(&session->reply, values[i]);
    wire_row_end(&session->reply, begun);
}

enum outcome session_rows_end(struct session *session)
{
    wire_rows_end(&session->reply);
    return RUN_DONE;
}
