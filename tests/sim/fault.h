/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults of the simulated servers: what happens to which one, and when. */
#ifndef HOLDFAST_SIM_FAULT_H
#define HOLDFAST_SIM_FAULT_H

#include "sim/model.h"

enum fault_kind {
    FAULT_DEAD,
    FAULT_HANG,
    FAULT_SLOW,
    FAULT_FREEZE_TIMEOUT,
    FAULT_PROMOTE_FAILS,
    FAULT_ERROR,
    FAULT_UP,
    FAULT_KINDS
};

/* One --fault: happens at the server's 'at'-th statement from now on; 0: at once. */
struct sim_fault {
    enum fault_kind kind;
    size_t shard, server;
    int value; /* milliseconds, or an error code */
    uint64_t at;
    struct sim_fault *next;
};

/* "SHARD:SERVER:KIND[=VALUE][@N]"; false, with the reason on stderr, when it is none. */
bool sim_fault_parse(const char *text, struct sim_fault *ret);
bool sim_fault_add(struct sim *sim, const struct sim_fault *fault);
void sim_faults_forget(struct sim_server *server); /* those that are still to come */
/* The next statement begins at this server: what happens to it? FAULT_KINDS: nothing. */
enum fault_kind sim_fault_next(struct sim_server *server, int *ret_value);

#endif
