/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection that costs little while it is idle, for whoever watches thousands of servers:
 * libmariadb logs in, and then gives the socket away. Its own connection holds some 46 KB, this one
 * less than one, and what an answer needs while it comes. Clear text only: under TLS there is no
 * socket to give away.
 *
 * One call at a time; never blocks. Belongs to one thread.
 */
#ifndef HOLDFAST_SQL_LEAN_H
#define HOLDFAST_SQL_LEAN_H

#include "base/err.h"
#include "sql/result.h"

#include <stdbool.h>

struct lean;
struct sql_conn;

enum lean_state { LEAN_WAITS, LEAN_ANSWERED, LEAN_BROKEN };

/* Takes the socket of an open, idle connection, which is closed then. NULL: it is under TLS, and
 * nothing was changed. */
struct lean *lean_take(struct sql_conn *conn);
void lean_free(struct lean *lean); /* NULL is fine */
int lean_fd(const struct lean *lean);
const char *lean_server_version(const struct lean *lean);

/* Send the statements. LEAN_WAITS: step it when the descriptor is readable. */
enum lean_state lean_ask(struct lean *lean, const char *sql, struct err *err);
/* LEAN_ANSWERED: *ret_result is the caller's, or 'err' says which statement failed. After
 * LEAN_BROKEN nothing but lean_free() is left to do. */
enum lean_state lean_step(struct lean *lean, struct sql_result *ret_result, struct err *err);

#endif
