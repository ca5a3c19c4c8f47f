/* SPDX-License-Identifier: Apache-2.0
 * The statements that are known, each a pattern and a handler; the handlers by theme. */
#ifndef HOLDFAST_SIM_STATEMENT_H
#define HOLDFAST_SIM_STATEMENT_H

#include "sim/pattern.h"
#include "sim/session.h"

/* Do one statement; see session.h for waiting. */
enum outcome statement_run(struct session *session, const char *text);

typedef enum outcome statement_fn(struct session *session, const struct args *args);

/* ---- holds.c: what keeps others waiting ---- */
statement_fn hold_backup_start, hold_backup_block, hold_backup_end, hold_kill, hold_promote,
    hold_open;
enum outcome hold_close(struct session *session); /* SET GLOBAL read_only=1 */
/* Values of the functions in a SELECT; ret is "" for NULL. */
enum outcome hold_get_lock(struct session *session, const struct args *args, struct buf *ret);
enum outcome hold_lock_user(struct session *session, const struct args *args, struct buf *ret);
enum outcome hold_gtid_wait(struct session *session, const struct args *args, struct buf *ret);

/* ---- writes.c ---- */
statement_fn write_ask, write_row, write_schema, write_read_probe;

/* ---- replicas.c ---- */
statement_fn replica_change, replica_start, replica_stop, replica_reset, replica_show,
    replica_hosts;

/* ---- variables.c ---- */
statement_fn variable_set_global, variable_set_session;
/* Append the value; false when there is no such variable. */
bool variable_get(const struct sim_server *server, const struct arg *name, struct buf *ret);

/* ---- select.c: SELECT of expressions, without a table ---- */
statement_fn select_list;

/* ---- tables.c: SHOW and information_schema ---- */
statement_fn table_grants, table_status, table_binlog, table_privileges, table_settings,
    table_names, table_count, table_held, table_lockers, table_dumps;

/* ---- gtid.c ---- */
void gtid_format(const struct sim_server *server, struct sim_gtid gtid, struct buf *ret);
/* The part of a position that is in this shard's domain; has_other: there are other domains. */
bool gtid_parse(const struct sim_shard *shard, const char *text, struct sim_gtid *ret,
                bool *ret_has_other);

#endif
