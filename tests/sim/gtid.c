/* SPDX-License-Identifier: Apache-2.0
 * GTIDs as texts: "domain-server-sequence", the domain being the shard's index. */
#include "sim/statement.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void gtid_format(const struct sim_server *server, struct sim_gtid gtid, struct buf *ret)
{
    const struct sim_shard *shard = server->shard;
    if (gtid.seq > 0)
        buf_printf(ret, "%s%zu-%u-%" PRIu64, ret->length ? "," : "", shard->index,
                   (unsigned)shard->servers[gtid.origin].server_id, gtid.seq);
}

/* Only the sequence number counts for what is in the history, whoever wrote it. */
bool gtid_parse(const struct sim_shard *shard, const char *text, struct sim_gtid *ret,
                bool *ret_has_other)
{
    *ret = (struct sim_gtid){0};
    *ret_has_other = false;
    for (int used = 0; *text; text += used + (text[used] == ',')) {
        uint64_t domain = 0, server = 0, seq = 0;
        if (sscanf(text, "%" SCNu64 "-%" SCNu64 "-%" SCNu64 "%n", &domain, &server, &seq, &used) !=
            3)
            return false;
        if (domain != shard->index) {
            *ret_has_other = true;
            continue;
        }
        ret->seq = seq;
        ret->origin = (unsigned)((server - 1) % SIM_SERVERS);
    }
    return true;
}
