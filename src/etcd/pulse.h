/* SPDX-License-Identifier: Apache-2.0
 *
 * Does the member of a silent watch live, and know a leader? Asked beside the watch, because
 * beginning that again costs: etcd reads all history since the last change that concerned it, and
 * when that was compacted meanwhile the watch is lost, although it missed nothing.
 *
 * A pulse belongs to one thread at a time.
 */
#ifndef HOLDFAST_ETCD_PULSE_H
#define HOLDFAST_ETCD_PULSE_H

#include "etcd/client.h"

struct etcd_pulse;

struct etcd_pulse *etcd_pulse_new(void);           /* NULL: no descriptors are left */
void etcd_pulse_free(struct etcd_pulse *pulse);    /* NULL is fine */
int etcd_pulse_fd(const struct etcd_pulse *pulse); /* readable: look whether it was felt */
void etcd_pulse_ask(struct etcd_pulse *pulse, struct etcd_client *client, size_t member);
/* Was asked, and has not ended in one way or the other. */
bool etcd_pulse_is_asking(const struct etcd_pulse *pulse);
/* True once: the member that was asked lives and knows a leader. */
bool etcd_pulse_felt(struct etcd_pulse *pulse);

#endif
