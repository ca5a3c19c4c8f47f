/* SPDX-License-Identifier: Apache-2.0
 * Reading the command line; see options.h. */
#include "sim/options.h"

#include "base/mem.h"
#include "base/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: simfleet --shards N [--rtt REGION=MS]... [--lag MS] [--fleet FILE] [--port P]\n"
    "                [--base 127.X] [--freeze-cap N] [--fault SHARD:SERVER:KIND[=VALUE][@N]]...\n"
    "see tests/sim/README.md\n";

static bool read_count(const char *text, size_t most, size_t *ret)
{
    char *end = NULL;
    unsigned long number = strtoul(text, &end, 10);
    *ret = number;
    return end != text && *end == '\0' && number <= most;
}

static bool read_ms(const char *text, nsec *ret)
{
    char *end = NULL;
    double ms = strtod(text, &end);
    *ret = (nsec)(ms * (double)NSEC_PER_MS);
    return end != text && *end == '\0' && ms >= 0 && ms < 60000;
}

static bool set_shards(struct options *options, const char *value)
{
    return read_count(value, SIM_SHARDS_MAX, &options->shards) && options->shards > 0;
}

static bool set_port(struct options *options, const char *value)
{
    size_t port = 0;
    bool is_port = read_count(value, UINT16_MAX, &port);
    options->port = (int)port;
    return is_port;
}

static bool set_base(struct options *options, const char *value)
{
    int used = 0;
    return sscanf(value, "127.%d%n", &options->second_octet, &used) == 1 && value[used] == '\0' &&
           options->second_octet > 0 && options->second_octet < 256;
}

static bool set_rtt(struct options *options, const char *value)
{
    for (int i = 0; i < SIM_REGIONS; i++) {
        size_t length = strlen(sim_region_names[i]);
        if (strncmp(value, sim_region_names[i], length) == 0 && value[length] == '=')
            return read_ms(value + length + 1, &options->rtt[i]);
    }
    return false;
}

static bool set_lag(struct options *options, const char *value)
{
    return read_ms(value, &options->lag);
}

static bool set_freeze_cap(struct options *options, const char *value)
{
    size_t cap = 0;
    bool is_cap = read_count(value, 10000, &cap);
    options->freeze_cap = (uint32_t)cap;
    return is_cap;
}

static bool set_fleet(struct options *options, const char *value)
{
    options->fleet = value;
    return value[0] != '\0';
}

static bool set_fault(struct options *options, const char *value)
{
    struct sim_fault fault;
    if (!sim_fault_parse(value, &fault))
        return false;
    VEC_PUSH(options->faults, options->fault_count, options->fault_capacity, fault);
    return true;
}

static const struct {
    const char *name;
    bool (*set)(struct options *options, const char *value);
} known[] = {
    {"--shards", set_shards}, {"--port", set_port},   {"--base", set_base},
    {"--rtt", set_rtt},       {"--lag", set_lag},     {"--freeze-cap", set_freeze_cap},
    {"--fleet", set_fleet},   {"--fault", set_fault},
};

static bool set(struct options *options, const char *name, const char *value)
{
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (strcmp(known[i].name, name) == 0)
            return value && known[i].set(options, value);
    return false;
}

bool options_parse(int count, char **words, struct options *ret)
{
    *ret = (struct options){.second_octet = 100, .lag = NSEC_PER_MS, .fleet = "holdfast.yaml"};
    for (int i = 1; i < count; i += 2)
        if (!set(ret, words[i], i + 1 < count ? words[i + 1] : NULL)) {
            fprintf(stderr, "simfleet: bad option %s %s\n%s", words[i],
                    i + 1 < count ? words[i + 1] : "", usage);
            return false;
        }
    if (ret->shards == 0)
        fputs(usage, stderr);
    return ret->shards > 0;
}

void options_release(struct options *options)
{
    free(options->faults);
}
