/* SPDX-License-Identifier: Apache-2.0
 *
 * Readiness as JSON, both ways: the document of 'holdfast readiness --json', and of a conductor.
 */
#ifndef HOLDFAST_API_READINESS_H
#define HOLDFAST_API_READINESS_H

#include "fleet/readiness.h"

#include <jansson.h>

json_t *findings_encode(const struct readiness *readiness);                 /* a new array */
json_t *readiness_encode(const struct readiness *readiness, size_t shards); /* a new object */

/* Of one that came from somewhere: the findings, without an observation of the servers. Points into
 * 'json'. ST_INVALID also for a check that this program does not know. */
MUST_CHECK enum status readiness_decode(const json_t *json, struct readiness *ret, struct err *err);
/* Only what is of these shards, or of no shard. */
void readiness_choose(struct readiness *readiness, const char *const *names, size_t count);

#endif
