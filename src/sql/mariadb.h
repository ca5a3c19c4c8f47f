/* SPDX-License-Identifier: Apache-2.0
 * Shared inside sql/ only: the parts of the MariaDB flavour (what it reads: mariadb.c and
 * mariadb_inspect.c, what it changes: mariadb_move.c). */
#ifndef HOLDFAST_SQL_MARIADB_H
#define HOLDFAST_SQL_MARIADB_H

#include "sql/flavour.h"

void mariadb_list_grants(struct buf *sql);
void mariadb_list_replicas(struct buf *sql);
void mariadb_inspect(struct buf *sql, int long_ms);
MUST_CHECK enum status mariadb_read_inspection(struct sql_result *take, struct sql_inspection *ret,
                                               struct err *err);

void mariadb_wait_for(struct buf *sql, const char *position, int wait_ms);
void mariadb_read_position(struct buf *sql);
void mariadb_try_freeze_lock(struct buf *sql, int timeout_ms);
void mariadb_refuse_writes(struct buf *sql, int timeout_ms);
void mariadb_freeze(struct buf *sql, int timeout_ms);
void mariadb_promote(struct buf *sql, const struct sql_promotion *promotion);
void mariadb_start_source(struct buf *sql);
void mariadb_open(struct buf *sql, double until_clock_s);
void mariadb_close(struct buf *sql, bool is_strict);
void mariadb_list_events(struct buf *sql);
void mariadb_list_silent_events(struct buf *sql);
void mariadb_switch_event(struct buf *sql, const struct sql_event *event, bool enable);
void mariadb_switch_scheduler(struct buf *sql, bool on);
void mariadb_forget_source(struct buf *sql, bool is_strict);
void mariadb_stop_source(struct buf *sql);
void mariadb_acknowledge(struct buf *sql, bool is_on);
void mariadb_restart_replication(struct buf *sql);
size_t mariadb_stop_receiving(struct buf *sql, const struct sql_server_state *state);
void mariadb_start_receiving(struct buf *sql);
void mariadb_acknowledge_received(struct buf *sql);
void mariadb_set_strict(struct buf *sql, bool is_strict);
void mariadb_look_before_follow(struct buf *sql);
void mariadb_read_log_end(struct buf *sql);
void mariadb_list_log(struct buf *sql, const char *log_end);
void mariadb_read_log_event(const char *type, const char *info, struct sql_log_row *ret);
void mariadb_read_log_row(const struct sql_result *result, size_t row, struct sql_log_row *ret);
void mariadb_end_freeze(struct buf *sql);
void mariadb_list_held(struct buf *sql);
void mariadb_list_lockers(struct buf *sql, int after_ms);
void mariadb_list_prepared(struct buf *sql);
const char *mariadb_refuse_source_password(const struct secret *password);
void mariadb_keep_link(struct buf *text, const struct sql_server_state *state,
                       const struct sql_tls *tls);
void mariadb_renew_link(struct buf *text, const char *link, const struct sql_tls *tls);
void mariadb_follow(struct buf *sql, const struct sql_source *source);
/* A column of the state of its replication; "" when there is none. */
const char *mariadb_link_value(const struct sql_server_state *state, const char *column);
void mariadb_lock(struct buf *sql, const char *name, int wait_ms);
void mariadb_unlock(struct buf *sql);
void mariadb_lock_holder(struct buf *sql, const char *name);
void mariadb_kill(struct buf *sql, int64_t connection_id);

#endif
