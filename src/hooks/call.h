/* SPDX-License-Identifier: Apache-2.0
 *
 * One call of one hook: what it is given, and what came of it. Blocking; any thread.
 */
#ifndef HOLDFAST_HOOKS_CALL_H
#define HOLDFAST_HOOKS_CALL_H

#include "hooks/hooks.h"

enum { HOOK_OUTPUT_MAX = 4096 /* bytes that are kept of what a hook prints */ };

#define HOOK_END_TABLE(X)                                                                          \
    X(HOOK_OK, "ok")                                                                               \
    X(HOOK_FAILED, "failed") /* exit status, or a signal */                                        \
    X(HOOK_LATE, "timed out")                                                                      \
    X(HOOK_NOT_STARTED, "not started")                                                             \
    X(HOOK_CANCELLED, "cancelled") /* the run was aborted, or ended */

enum hook_end { HOOK_END_TABLE(TABLE_ID) HOOK_ENDS };

const char *hook_end_name(enum hook_end end);

/* What a call is made of; texts are owned. */
struct hook_call {
    const char *event;  /* a static text */
    char *shard, *wave; /* or NULL */
    char *input;        /* JSON */
    bool is_undo;
};

struct hook_outcome {
    enum hook_end end;
    char *why;    /* one line; NULL when it is well */
    char *output; /* fit to be shown, at most HOOK_OUTPUT_MAX bytes of it; never NULL */
    size_t output_bytes;
    double took_ms;
};

/* 'event': of the news, or its undo. */
void hook_call_init(struct hook_call *call, const struct hooks_order *order,
                    const struct hook_news *news, bool is_undo);
void hook_call_release(struct hook_call *call);

/* 'cancel' as in os/capture.h. */
void hook_call_make(const struct hook_call *call, const struct inventory_hook *hook,
                    const atomic_bool *cancel, struct hook_outcome *ret);
void hook_outcome_release(struct hook_outcome *outcome);

#endif
