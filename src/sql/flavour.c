/* SPDX-License-Identifier: Apache-2.0
 * Which flavour a server speaks, and giving back what was read from it. */
#include "sql/flavour.h"

#include "base/mem.h"
#include "base/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* MariaDB says "10.11.6-MariaDB-..." or, for old clients, "5.5.5-10.11.6-MariaDB-...". */
static bool is_mariadb(const char *version, int *ret_major, int *ret_minor)
{
    if (strncmp(version, "5.5.5-", 6) == 0)
        version += 6;
    return strstr(version, "MariaDB") && sscanf(version, "%d.%d", ret_major, ret_minor) == 2;
}

enum status sql_flavour_find(const char *version, const struct sql_flavour **ret, struct err *err)
{
    int major = 0, minor = 0;
    if (!is_mariadb(version, &major, &minor)) {
        err_set(err, ST_INVALID, "server version '%s' is not MariaDB", version);
        err_hint(err, "this Holdfast moves MariaDB 10.6 and later; MySQL is not there yet");
        return ST_INVALID;
    }
    if (major < 10 || (major == 10 && minor < 6))
        return err_set(err, ST_INVALID, "server version '%s' is older than MariaDB 10.6", version);
    *ret = &sql_mariadb;
    return ST_OK;
}

void sql_server_state_release(struct sql_server_state *state)
{
    sql_result_release(&state->raw);
    free(state->texts);
    *state = (struct sql_server_state){0};
}

void sql_server_state_compact(struct sql_server_state *state)
{
    const char **const fields[] = {
        &state->version,      &state->binlog_format, &state->isolation, &state->source_host,
        &state->source_user,  &state->io_error,      &state->sql_error, &state->replica_filters,
        &state->received,     &state->applied,       &state->position,  &state->binlog_state,
        &state->channel_name,
    };
    size_t size = 0;
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        size += *fields[i] ? strlen(*fields[i]) + 1 : 0;
    char *texts = mem_zalloc(size + 1), *at = texts;
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (*fields[i]) {
            const char *copy = at;
            at = stpcpy(at, *fields[i]) + 1;
            *fields[i] = copy;
        }
    sql_result_release(&state->raw);
    free(state->texts);
    state->texts = texts;
}

void sql_inspection_release(struct sql_inspection *inspection)
{
    free(inspection->activities);
    free(inspection->waiters);
    free(inspection->ddl);
    free(inspection->settings);
    free(inspection->rights);
    free(inspection->events);
    free(inspection->tables);
    sql_result_release(&inspection->raw);
    *inspection = (struct sql_inspection){0};
}
