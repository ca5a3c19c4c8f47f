/* SPDX-License-Identifier: Apache-2.0
 * Faults: from the command line and from stdin, and the moment at which they happen. */
#include "sim/fault.h"

#include "base/mem.h"
#include "base/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    bool has_value;
} kinds[FAULT_KINDS] = {
    [FAULT_DEAD] = {"dead", false},
    [FAULT_HANG] = {"hang", false},
    [FAULT_SLOW] = {"slow", true},
    [FAULT_FREEZE_TIMEOUT] = {"freeze-timeout", false},
    [FAULT_PROMOTE_FAILS] = {"promote-fails", false},
    [FAULT_ERROR] = {"error", true},
    [FAULT_UP] = {"up", false},
};

static bool parse_kind(const char *text, struct sim_fault *ret)
{
    size_t length = strcspn(text, "=@");
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        if (strlen(kinds[kind].name) != length || strncmp(kinds[kind].name, text, length) != 0)
            continue;
        int used = 0;
        ret->kind = (enum fault_kind)kind;
        text += length;
        if (kinds[kind].has_value && sscanf(text, "=%d%n", &ret->value, &used) != 1)
            return false;
        text += used;
        used = 0;
        if (*text && sscanf(text, "@%lu%n", &ret->at, &used) != 1)
            return false;
        return text[used] == '\0' && (kind != FAULT_ERROR || ret->at > 0);
    }
    return false;
}

bool sim_fault_parse(const char *text, struct sim_fault *ret)
{
    int used = 0;
    *ret = (struct sim_fault){0};
    if (sscanf(text, "%zu:%zu:%n", &ret->shard, &ret->server, &used) == 2 && used > 0 &&
        ret->server < SIM_SERVERS && parse_kind(text + used, ret))
        return true;
    fprintf(stderr,
            "simfleet: '%s' is no SHARD:SERVER:KIND[@N]: SERVER 0-%d; KIND dead, hang, up, "
            "slow=MS, freeze-timeout, promote-fails, or error=CODE@N\n",
            text, SIM_SERVERS - 1);
    return false;
}

/* FAULT_ERROR is the statement's own affair. */
static void happen(struct sim_server *server, const struct sim_fault *fault)
{
    switch (fault->kind) {
    case FAULT_DEAD:
        sim_server_stop(server);
        break;
    case FAULT_HANG:
        sim_server_hang(server);
        break;
    case FAULT_SLOW:
        server->slow = fault->value * NSEC_PER_MS;
        break;
    case FAULT_FREEZE_TIMEOUT:
        server->freeze_times_out = true;
        break;
    case FAULT_PROMOTE_FAILS:
        server->promote_fails = true;
        break;
    case FAULT_UP:
        if (!sim_server_start(server))
            perror("simfleet: start a server again");
        break;
    case FAULT_ERROR:
    case FAULT_KINDS:
        break;
    }
}

void sim_faults_forget(struct sim_server *server)
{
    while (server->faults) {
        struct sim_fault *next = server->faults->next;
        free(server->faults);
        server->faults = next;
    }
}

bool sim_fault_add(struct sim *sim, const struct sim_fault *fault)
{
    if (fault->shard >= sim->shard_count) {
        fprintf(stderr, "simfleet: a fault for shard %zu of %zu\n", fault->shard, sim->shard_count);
        return false;
    }
    struct sim_server *server = &sim->shards[fault->shard].servers[fault->server];
    if (fault->at == 0) {
        if (fault->kind == FAULT_UP)
            sim_faults_forget(server);
        happen(server, fault);
        return true;
    }
    struct sim_fault *kept = mem_zalloc(sizeof(*kept));
    *kept = *fault;
    kept->at += server->statements;
    kept->next = server->faults;
    server->faults = kept;
    return true;
}

enum fault_kind sim_fault_next(struct sim_server *server, int *ret_value)
{
    enum fault_kind found = FAULT_KINDS;
    server->statements++;
    for (struct sim_fault **at = &server->faults; *at;) {
        struct sim_fault *fault = *at;
        if (fault->at != server->statements) {
            at = &fault->next;
            continue;
        }
        *at = fault->next;
        happen(server, fault);
        *ret_value = fault->value;
        found = fault->kind;
        free(fault);
    }
    return found;
}
