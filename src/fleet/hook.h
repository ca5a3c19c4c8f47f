/* SPDX-License-Identifier: Apache-2.0
 *
 * Hooks as the fleet file declares them: programs that are called when a run gets somewhere. What
 * calls them is hooks/.
 */
#ifndef HOLDFAST_FLEET_HOOK_H
#define HOLDFAST_FLEET_HOOK_H

#include "base/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(id, "name", is_gate): a gate is waited for, and may stop what it comes before. */
/* clang-format off */
#define HOOK_EVENT_TABLE(X)                                  \
    X(HOOK_RUN_BEFORE,        "run.before",        true)     \
    X(HOOK_RUN_AFTER,         "run.after",         false)    \
    X(HOOK_WAVE_BEFORE,       "wave.before",       true)     \
    X(HOOK_WAVE_AFTER,        "wave.after",        false)    \
    X(HOOK_SHARD_BEFORE,      "shard.before",      true)     \
    X(HOOK_SHARD_SERVING,     "shard.serving",     false)    \
    X(HOOK_SHARD_PREPARING,   "shard.preparing",   false)    \
    X(HOOK_SHARD_FROZEN,      "shard.frozen",      false)    \
    X(HOOK_SHARD_PROMOTING,   "shard.promoting",   false)    \
    X(HOOK_SHARD_REDIRECTING, "shard.redirecting", false)    \
    X(HOOK_SHARD_UNDOING,     "shard.undoing",     false)    \
    X(HOOK_SHARD_AFTER,       "shard.after",       false)
/* clang-format on */

enum hook_event { HOOK_EVENT_TABLE(TABLE_ID) HOOK_EVENTS };

enum { HOOK_TIMEOUT_MS = 10000, HOOKS_MAX = 32, HOOK_WORDS_MAX = 64 };

/* A program by its full path, and its arguments. */
struct inventory_command {
    char **argv; /* ended by a NULL that is not counted */
    size_t count, capacity;
};

struct inventory_hook {
    char *name;                          /* unique */
    uint32_t events;                     /* bits, 1 << enum hook_event */
    struct inventory_command exec, undo; /* undo.argv is NULL: none */
    int64_t timeout_ms;
    bool is_required; /* when it fails before something, that does not begin */
};

/* Why its program would not start here, by this user; NULL: it would, or there is none. */
const char *hook_command_trouble(const struct inventory_command *command);
const char *hook_event_name(enum hook_event event);
bool hook_event_is_gate(enum hook_event event);
/* NULL-ended, in the order of the table. */
const char *const *hook_event_names(void);

#endif
