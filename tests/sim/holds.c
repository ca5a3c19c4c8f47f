/* SPDX-License-Identifier: Apache-2.0
 * What makes others wait, and what waits: the user lock, read-only, the backup stages, positions,
 * and the promotion, which waits for a position. */
#include "sim/statement.h"

#include "base/scope.h"

#include <stdio.h>
#include <string.h>

enum { LOCK_WAIT_S = 60 };

static nsec after(const struct session *session, double seconds)
{
    return seconds < 0 ? NSEC_NEVER : session->began + (nsec)(seconds * (double)NSEC_PER_SEC);
}

/* --- User locks ------------------------------------------------------------------------------- */

/* The lock of that name, or NULL when it is free. */
static struct sim_lock *find_lock(struct sim_server *server, const char *name)
{
    for (size_t i = 0; i < SIM_LOCKS; i++)
        if (server->locks[i].holder && strcmp(server->locks[i].name, name) == 0)
            return &server->locks[i];
    return NULL;
}

static bool take_lock(struct session *session, const char *name)
{
    struct sim_lock *locks = session->server->locks;
    for (size_t i = 0; i < SIM_LOCKS; i++)
        if (!locks[i].holder) {
            locks[i].holder = session;
            snprintf(locks[i].name, sizeof(locks[i].name), "%s", name);
            return true;
        }
    return false;
}

enum outcome hold_get_lock(struct session *session, const struct args *args, struct buf *ret)
{
    char name[ARG_MAX_SIZE];
    if (!arg_string(&args->items[0], name) || strlen(name) >= SIM_LOCK_MAX)
        return session_unknown(session, args->items[0].text);
    const struct sim_lock *lock = find_lock(session->server, name);
    bool is_taken = lock && lock->holder != session;
    nsec deadline = after(session, arg_number(&args->items[1]));
    if (is_taken && clock_now() < deadline)
        return session_wait(session, deadline, "User lock");
    if (!lock && !take_lock(session, name))
        return session_unknown(session, "one user lock more");
    buf_add(ret, is_taken ? "0" : "1");
    return RUN_DONE;
}

enum outcome hold_lock_user(struct session *session, const struct args *args, struct buf *ret)
{
    char name[ARG_MAX_SIZE];
    const struct sim_lock *lock =
        arg_string(&args->items[0], name) ? find_lock(session->server, name) : NULL;
    if (lock)
        buf_printf(ret, "%u", (unsigned)lock->holder->id);
    return RUN_DONE;
}

enum outcome hold_kill(struct session *session, const struct args *args)
{
    double id = arg_number(&args->items[0]);
    for (struct session *at = session->server->sessions; at; at = at->next)
        if (at->id == (uint32_t)id && at != session) {
            session_end(at);
            return session_ok(session, 0);
        }
    return session_fail(session, 1094, "HY000", "Unknown thread id: %.0f", id);
}

/* --- Read-only -------------------------------------------------------------------------------- */

static bool has_unacknowledged(const struct sim_server *server)
{
    for (const struct session *at = server->sessions; at; at = at->next)
        if (at->is_waiting && at->state == session_waits_for_ack)
            return true;
    return false;
}

/* It waits for commits that wait for their acknowledgement, and new ones queue up behind it. */
enum outcome hold_close(struct session *session)
{
    struct sim_server *server = session->server;
    bool never = server->freeze_times_out && session->bound != NSEC_NEVER;
    if (!never && (server->read_only || !has_unacknowledged(server))) {
        server->read_only = true;
        sim_server_changed(server);
        return session_ok(session, 0);
    }
    server->closing = session;
    return session_wait(session, NSEC_NEVER, "Waiting for global read lock");
}

/* --- Backup stages ---------------------------------------------------------------------------- */

enum outcome hold_backup_start(struct session *session, const struct args *args UNUSED)
{
    struct sim_server *server = session->server;
    if (server->backup == session)
        return session_fail(session, 4146, "HY000", "Backup stage 'START' is same or before");
    if (server->backup && clock_now() < after(session, LOCK_WAIT_S))
        return session_wait(session, after(session, LOCK_WAIT_S), session_waits_for_backup);
    if (server->backup)
        return session_fail(session, 1205, "HY000", "Lock wait timeout exceeded");
    server->backup = session;
    server->blocks_commits = false;
    return session_ok(session, 0);
}

enum outcome hold_backup_block(struct session *session, const struct args *args UNUSED)
{
    if (session->server->backup != session)
        return session_fail(session, 4145, "HY000",
                            "You must start backup with 'BACKUP STAGE START'");
    session->server->blocks_commits = true;
    return session_ok(session, 0);
}

enum outcome hold_backup_end(struct session *session, const struct args *args UNUSED)
{
    if (session->server->backup != session)
        return session_fail(session, 4145, "HY000",
                            "You must start backup with 'BACKUP STAGE START'");
    session->server->backup = NULL;
    sim_server_changed(session->server);
    return session_ok(session, 0);
}

/* --- Positions -------------------------------------------------------------------------------- */

/* RUN_DONE: *ret_reached says how it ended. A domain that is not known never arrives. */
static enum outcome wait_for(struct session *session, const struct args *args, bool *ret_reached)
{
    const struct sim_server *server = session->server;
    char position[ARG_MAX_SIZE];
    struct sim_gtid wanted;
    bool has_other = false;
    if (!arg_string(&args->items[0], position) ||
        !gtid_parse(server->shard, position, &wanted, &has_other))
        return session_fail(session, 1941, "HY000", "Could not parse GTID list");
    nsec deadline = after(session, arg_number(&args->items[1]));
    *ret_reached = !has_other && wanted.seq <= server->applied.seq;
    if (!*ret_reached && clock_now() < deadline)
        return session_wait(session, deadline, "Waiting in MASTER_GTID_WAIT()");
    return RUN_DONE;
}

enum outcome hold_gtid_wait(struct session *session, const struct args *args, struct buf *ret)
{
    bool reached = false;
    enum outcome outcome = wait_for(session, args, &reached);
    if (outcome == RUN_DONE)
        buf_add(ret, reached ? "0" : "-1");
    return outcome;
}

/* A value, and the OK with which a compound statement ends. */
static enum outcome end_compound(struct session *session, const char *column, const char *value)
{
    bool has_more = session->reply.has_more;
    session->reply.has_more = true;
    session_columns(session, &column, 1);
    session_row(session, &value, 1);
    session_rows_end(session);
    session->reply.has_more = has_more;
    return session_ok(session, 0);
}

static enum outcome promoted(struct session *session, const char *opened)
{
    return end_compound(session, "opened", opened);
}

enum outcome hold_promote(struct session *session, const struct args *args)
{
    struct sim_server *server = session->server;
    bool reached = false;
    if (server->promote_fails)
        return session_fail(session, 1105, "HY000", "simulated: the promotion fails");
    if (sim_ackers(server) < 1)
        return promoted(session, "-1");
    enum outcome outcome = wait_for(session, args, &reached);
    if (outcome != RUN_DONE)
        return outcome;
    double until_s = arg_number(&args->items[2]);
    if (!reached || (double)clock_wall_us() / 1e6 >= until_s)
        return promoted(session, "0");
    server->strict = server->semi_source = true;
    sim_server_open(server);
    return promoted(session, "1");
}

enum outcome hold_open(struct session *session, const struct args *args)
{
    struct sim_server *server = session->server;
    if ((double)clock_wall_us() / 1e6 < arg_number(&args->items[0])) {
        server->semi_source = true;
        server->semi_replica = false;
        sim_server_open(server);
    }
    return end_compound(session, "@@global.read_only", server->read_only ? "1" : "0");
}
