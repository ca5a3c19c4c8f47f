/* SPDX-License-Identifier: Apache-2.0
 * The command line of simfleet. */
#ifndef HOLDFAST_SIM_OPTIONS_H
#define HOLDFAST_SIM_OPTIONS_H

#include "sim/fault.h"

struct options {
    size_t shards;
    int port, second_octet; /* of 127.X.0.0 */
    nsec rtt[SIM_REGIONS], lag;
    uint32_t freeze_cap; /* 0: Holdfast's own choice */
    const char *fleet;
    struct sim_fault *faults;
    size_t fault_count, fault_capacity;
};

/* False: what is wrong was said on stderr. */
bool options_parse(int count, char **words, struct options *ret);
void options_release(struct options *options);

#endif
