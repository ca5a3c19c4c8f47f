/* SPDX-License-Identifier: Apache-2.0
 *
 * The log: one line an event on stderr, 'time level event key=value ...'. error = somebody must
 * act, warn = handled, info = a state changed, debug = for developers (HOLDFAST_LOG=debug).
 * Library code does not log; the top of a task does. Secrets never get here.
 */
#ifndef HOLDFAST_BASE_LOG_H
#define HOLDFAST_BASE_LOG_H

#include "base/table.h"

/* clang-format off */
#define LOG_EVENTS(X)                                  \
    X(EV_RUN_STATE,      LOG_INFO,  "run.state")       \
    X(EV_RUN_ORDER,      LOG_INFO,  "run.order")       \
    X(EV_SHARD_STATE,    LOG_INFO,  "shard.state")     \
    X(EV_SHARD_STUCK,    LOG_ERROR, "shard.stuck")     \
    X(EV_PAUSE,          LOG_INFO,  "pause")           \
    X(EV_STEP,           LOG_DEBUG, "step")            \
    X(EV_JOURNAL_FAILED, LOG_WARN,  "journal.failed")  \
    X(EV_PROBE,          LOG_WARN,  "probe")           \
    X(EV_LAB,            LOG_DEBUG, "lab")             \
    X(EV_CONDUCTOR,      LOG_INFO,  "conductor")       \
    X(EV_LEADER,         LOG_INFO,  "leader")          \
    X(EV_PERMISSION,     LOG_INFO,  "permission")      \
    X(EV_HEALED,         LOG_INFO,  "healed")          \
    X(EV_LOSS,           LOG_WARN,  "loss")            \
    X(EV_STORE,          LOG_WARN,  "store")           \
    X(EV_FILE,           LOG_WARN,  "file")            \
    X(EV_AGENT,          LOG_INFO,  "agent")           \
    X(EV_AGENT_TROUBLE,  LOG_ERROR, "agent.trouble")   \
    X(EV_FENCE,          LOG_WARN,  "fence")           \
    X(EV_FENCE_FAILED,   LOG_ERROR, "fence.failed")
/* clang-format on */

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum log_event_id { LOG_EVENTS(TABLE_ID) };

/* The least important level that is printed; LOG_WARN until set. */
void log_set_level(enum log_level level);

/* Pairs of 'const char *key, const char *value', ended by NULL. Values are quoted when needed. */
void log_event(enum log_event_id event, ...) __attribute__((sentinel));

#endif
