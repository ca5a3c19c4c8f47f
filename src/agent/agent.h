/* SPDX-License-Identifier: Apache-2.0
 *
 * The agent of a host: asks for permission to serve, watches the host's database servers, and
 * closes them when the permission ends or one of them is revoked. It never opens anything. Runs in
 * the foreground, logs to stderr.
 */
#ifndef HOLDFAST_AGENT_AGENT_H
#define HOLDFAST_AGENT_AGENT_H

#include "base/err.h"

#include <stdbool.h>

struct inventory;
struct inventory_host;

struct agent_config {
    const struct inventory *fleet;
    const struct inventory_host *host;
    const char *state_folder; /* what outlives the agent; of this host alone */
    bool is_only_to_close;    /* ask nobody: close all servers, and end */
};

/* Until it is told to stop. ST_BUSY: another agent uses the folder. When it is only to close:
 * ST_STUCK names the servers that could not be. Call it before any thread is started: it takes
 * SIGTERM, SIGINT and SIGHUP over. */
MUST_CHECK enum status agent_run(const struct agent_config *config, struct err *err);

#endif
