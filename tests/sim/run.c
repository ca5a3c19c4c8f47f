/* SPDX-License-Identifier: Apache-2.0
 * A packet of statements: one after the other, until one fails; those that must wait are tried
 * again when their server changed, or their time is over. */
#include "sim/fault.h"
#include "sim/session.h"
#include "sim/statement.h"

#include <string.h>
#include <strings.h>

const char session_waits_for_ack[] = "Waiting for semi-sync ACK from slave";
const char session_waits_for_backup[] = "Waiting for backup lock";

static void go_on(struct session *session);

void session_stop_waiting(struct session *session)
{
    if (!session->is_waiting)
        return;
    session->is_waiting = false;
    session->server->waiting--;
    if (session->server->closing == session)
        session->server->closing = NULL;
}

/* Where the statement at 'text' ends: a semicolon outside of quotes. Of a compound statement
 * nothing may follow. */
static char *statement_end(char *text)
{
    char quote = '\0';
    if (strncasecmp(text, "BEGIN NOT ATOMIC", 16) == 0)
        return text + strlen(text);
    for (; *text && (quote || *text != ';'); text++) {
        if (quote)
            quote = *text == quote ? '\0' : quote;
        else if (*text == '\'' || *text == '`')
            quote = *text;
    }
    return text;
}

static char *skip_blank(char *text)
{
    return text + strspn(text, " \t\r\n;");
}

static bool next_statement(struct session *session)
{
    char *text = skip_blank(session->rest);
    if (!*text)
        return false;
    char *end = statement_end(text);
    session->rest = *end ? end + 1 : end;
    *end = '\0';
    session->statement = text;
    session->began = clock_now();
    session->bound = NSEC_NEVER;
    session->timer_at = NSEC_NEVER;
    session->reply.has_more = *skip_blank(session->rest) != '\0';
    sim_of(session->server)->stats.statements++;
    return true;
}

/* What its faults make of a new statement; RUN_DONE: nothing, it is to be run. A server that died
 * of it has ended this session. */
static enum outcome suffer(struct session *session)
{
    int value = 0;
    if (sim_fault_next(session->server, &value) == FAULT_ERROR)
        return session_fail(session, (unsigned)value, "HY000", "simulated fault");
    return sim_server_answers(session->server) ? RUN_DONE : RUN_WAIT;
}

static enum outcome run(struct session *session, bool is_new)
{
    enum outcome outcome = is_new ? suffer(session) : RUN_DONE;
    if (outcome != RUN_DONE)
        return outcome;
    if (!is_new && clock_now() >= session->bound)
        return session_fail(session, 1969, "70100",
                            "Query execution was interrupted (max_statement_time exceeded)");
    return statement_run(session, session->statement);
}

static void on_wake(const struct timer *timer)
{
    struct session *session = timer->object;
    if (session->serial != timer->stamp || !session->is_waiting ||
        session->wake_at != (nsec)timer->value)
        return;
    session_stop_waiting(session);
    go_on(session);
}

static void stay_waiting(struct session *session)
{
    session->is_waiting = true;
    session->server->waiting++;
    if (session->timer_at == session->wake_at || session->wake_at == NSEC_NEVER)
        return;
    session->timer_at = session->wake_at;
    struct timer timer = {session->wake_at, on_wake, session, session->serial,
                          (uint64_t)session->wake_at};
    loop_at(sim_of(session->server)->loop, &timer);
}

static void go_on(struct session *session)
{
    uint64_t serial = session->serial;
    enum outcome outcome = RUN_DONE;
    while (outcome == RUN_DONE) {
        bool is_new = !session->statement;
        if (is_new && !next_statement(session))
            break;
        outcome = run(session, is_new);
        if (session->serial != serial || session->server->is_hung)
            return;
        if (outcome == RUN_WAIT) {
            stay_waiting(session);
            return;
        }
        session->statement = NULL;
    }
    session_shrink(&session->packet);
    session_reply(session);
}

void session_run(struct session *session, const void *text, size_t length)
{
    session->phase = SESSION_RUNNING;
    buf_clear(&session->packet);
    buf_add_bytes(&session->packet, text, length);
    session->statement = NULL;
    session->rest = session->packet.data;
    go_on(session);
}

static void wake(struct sim_server *server)
{
    struct session *next = NULL;
    for (struct session *at = server->sessions; at; at = next) {
        next = at->next;
        uint64_t serial = next ? next->serial : 0;
        if (!at->is_waiting)
            continue;
        session_stop_waiting(at);
        go_on(at);
        if (next && next->serial != serial) { /* it ended another one: look from the start */
            sim_server_changed(server);
            return;
        }
    }
}

void session_wake_all(void *context)
{
    struct sim *sim = context;
    while (sim->changed) {
        struct sim_server *server = sim->changed;
        sim->changed = server->next_changed;
        server->is_changed = false;
        wake(server);
    }
}
