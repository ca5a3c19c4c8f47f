/* SPDX-License-Identifier: Apache-2.0
 *
 * The old primary becomes the relay of the new one, or its replica in their region. It begins where
 * the new primary stopped to apply its transactions, not where its own log ends: a privileged
 * session that the freeze held up (FLUSH TABLES of a cron job is enough) may have written there
 * since, and the new primary does not know that. Such late writes are told apart by what they are:
 * maintenance is only noted, a change makes the server be reported as ahead. Either way it follows;
 * where GTIDs must be in strict order that is lifted on its side until the new primary's numbers
 * are past the late ones. */
#include "move/fault.h"
#include "move/internal.h"
#include "move/mandate.h"

#include "base/mem.h"
#include "base/scope.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LINES_MAX = 5 };

/* What is in the old primary's log behind the point from which it is to follow. */
struct late {
    struct gtid_set base, now;
    uint64_t count, changes, looked_at;
    struct buf lines;
    const char *first, *last; /* positions in the log that is read */
};

static void late_release(struct late *late)
{
    gtid_set_release(&late->base);
    gtid_set_release(&late->now);
    buf_release(&late->lines);
}

static bool is_late(const struct move *move, const struct late *late, const char *position)
{
    const char *space = strchr(position, ' '); /* "0-101-31 cid=5" */
    size_t length = space ? (size_t)(space - position) : strlen(position);
    AUTO(gtid_set_release) struct gtid_set one = {0};
    struct err ignored = ERR_INIT;
    return gtid_set_parse(move->flavour->gtid, position, length, &one, &ignored) == ST_OK &&
           !gtid_set_contains(&late->base, &one) && gtid_set_contains(&late->now, &one);
}

/* Go through the log: which of its transactions are late, and do they change anything? */
static void read_log(struct move *move, const struct sql_result *log, struct late *late)
{
    const char *position = NULL; /* of the late transaction at hand */
    bool is_counted = false;
    for (size_t row = 0; row < sql_rows(log, 0); row++) {
        struct sql_log_row entry;
        move->flavour->read_log_row(log, row, &entry);
        if (entry.begins) {
            position = is_late(move, late, entry.begins) ? entry.begins : NULL;
            late->looked_at += position != NULL;
            late->first = late->first ? late->first : position;
            late->last = position ? position : late->last;
            is_counted = false;
        } else if (position) {
            if (late->looked_at <= LINES_MAX)
                buf_printf(&late->lines, "; %s: %.100s", position, entry.text);
            late->changes += entry.is_change && !is_counted;
            is_counted = is_counted || entry.is_change;
        }
    }
}

/* The others are found by what they are between. */
static void name_rest(struct late *late)
{
    if (late->looked_at > LINES_MAX)
        buf_printf(&late->lines, "; all: %.*s to %.*s", (int)strcspn(late->first, " "), late->first,
                   (int)strcspn(late->last, " "), late->last);
}

/* What could not be looked at counts as a change. */
static void inspect(struct move *move, struct late *late, nsec deadline)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result log = {0};
    struct err ignored = ERR_INIT;
    move->flavour->list_log(&sql, move->route.log_end);
    if (move->route.log_end[0] && session_exec(&move->old_session, CALL_LATE, buf_text(&sql),
                                               deadline, &log, &ignored) == ST_OK) {
        read_log(move, &log, late);
        name_rest(late);
    }
    if (late->count > late->looked_at)
        late->changes += late->count - late->looked_at;
}

static void report(struct move *move, const struct late *late)
{
    const char *name = move->old_server->name;
    if (late->changes == 0) {
        move_note(move, "%s: %" PRIu64 " statements without data ran there after the freeze%s",
                  name, late->count, buf_text(&late->lines));
        return;
    }
    move->late_transactions = late->changes;
    move_note(move,
              "%s is AHEAD of %s: privileged sessions changed it after the freeze, %" PRIu64
              " transactions that no other region has: repeat them at %s, and rebuild %s%s",
              name, move->new_server->name, late->changes, move->new_server->name, name,
              buf_text(&late->lines));
}

/* Servers of the old region get the late transactions and then the new primary's, whose numbers may
 * be lower. Whoever does not answer finds out when it is back: the verification tells. */
static void relax_region(struct move *move, nsec deadline)
{
    AUTO(buf_release) struct buf sql = {0};
    move->flavour->set_strict(&sql, false);
    move_tell_region(move, buf_text(&sql), deadline);
}

/* The position to begin with, NULL when the server follows already; and what is late. */
static enum status find_start(struct move *move, const struct sql_result *seen, struct late *late,
                              const char **ret_start, struct err *err)
{
    enum gtid_flavour gtid = move->flavour->gtid;
    AUTO(gtid_set_release) struct gtid_set applied = {0};
    size_t set = seen->count - 1;
    enum status status = gtid_set_parse_text(gtid, move->position, &late->base, err);
    if (!status)
        status = gtid_set_parse_text(gtid, sql_value(seen, set, 0, 0), &applied, err);
    if (!status)
        status = gtid_set_parse_text(gtid, sql_value(seen, set, 0, 1), &late->now, err);
    if (status)
        return err_wrap(err, "position of %s", move->old_server->name);
    /* Something of the new primary was applied already: a process before us made it follow. */
    bool follows = gtid_set_count_missing(&late->base, &applied) > 0;
    *ret_start = follows ? NULL : move->position;
    if (follows) {
        gtid_set_release(&late->base);
        late->base = applied;
        applied = (struct gtid_set){0};
    }
    late->count = gtid_set_count_missing(&late->base, &late->now);
    return ST_OK;
}

static enum status look(struct move *move, struct late *late, const char **ret_start, nsec deadline,
                        struct err *err)
{
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result seen = {0};
    move->flavour->look_before_follow(&sql);
    enum status status =
        session_exec(&move->old_session, CALL_LOOK_FOLLOW, buf_text(&sql), deadline, &seen, err);
    return status ? status : find_start(move, &seen, late, ret_start, err);
}

/* TLS as the fleet file says now: an operator may have mended it since the run began. A run of a
 * Holdfast that did not keep the link yet has none. */
static const char *link_of(const struct move *move, struct buf *made)
{
    const struct inventory_tls *tls = &move->mandate->fleet->replication.tls;
    if (move->route.link[0] && !tls->is_on)
        return move->route.link;
    if (move->route.link[0])
        move->flavour->renew_link(made, move->route.link, &tls->sql);
    else
        move->flavour->keep_link(made, NULL, tls->is_on ? &tls->sql : NULL);
    return buf_text(made);
}

/* The password is read now: it may have been changed since the run began. */
static enum status point(struct move *move, const char *start, bool is_order_relaxed, nsec deadline,
                         struct err *err)
{
    const struct inventory_account *account = &move->mandate->fleet->replication;
    AUTO(buf_release) struct buf made = {0};
    AUTO(buf_release) struct buf sql = {0};
    AUTO(secret_release) struct secret password = {0};
    inventory_read_password(account, &password);
    struct sql_source source = {
        .host = move->new_server->host,
        .port = move->new_server->port,
        .user = account->user,
        .password = &password,
        .link = link_of(move, &made),
        .position = start,
        .acknowledges = move->old_server->region == move->new_server->region,
        .is_order_relaxed = is_order_relaxed,
    };
    move->flavour->follow(&sql, &source);
    return session_exec(&move->old_session, CALL_FOLLOW, buf_text(&sql), deadline, NULL, err);
}

enum status move_follow(struct move *move, nsec deadline, struct err *err)
{
    AUTO(late_release) struct late late = {0};
    const char *start = NULL;
    enum status status = session_take(move->mandate, &move->old_session, deadline, err);
    if (!status)
        status = look(move, &late, &start, deadline, err);
    if (status)
        return status;
    if (late.count > 0) {
        inspect(move, &late, deadline);
        report(move, &late);
        free(move->late_position);
        AUTO(buf_release) struct buf text = {0};
        gtid_set_format(&late.now, &text);
        move->late_position = mem_strdup(buf_text(&text));
        if (move->route.is_strict)
            relax_region(move, deadline);
    }
    return point(move, start, late.count > 0, deadline, err);
}
