/* SPDX-License-Identifier: Apache-2.0
 *
 * The conductor as a process: watches the fleet all the time, is one of several of which one leads,
 * and answers over HTTP. Runs in the foreground until SIGTERM or SIGINT, logs to stderr.
 */
#ifndef HOLDFAST_DAEMON_DAEMON_H
#define HOLDFAST_DAEMON_DAEMON_H

#include "base/err.h"

struct buf;
struct inventory;

/* 'name' is one of the fleet's conductors. Returns when it was told to stop, or cannot start. Call
 * it before any thread is started: it takes the two signals over. */
MUST_CHECK enum status daemon_run(const struct inventory *fleet, const char *name, struct err *err);

/* Append a line for each route of its API: METHOD PATH ROLE SUMMARY. */
void daemon_list_routes(struct buf *buf);

#endif
