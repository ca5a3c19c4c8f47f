/* SPDX-License-Identifier: Apache-2.0
 * Fuzz what the store holds: routes, runs, the pause, what a run waits for. A record that is
 * accepted is written and read again, and is the same. */
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/pause.h"
#include "conductor/run_record.h"
#include "fleet/route.h"
#include "hooks/waiting.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *write_route(const char *text)
{
    struct route route = {0};
    return route_decode(text, &route, NULL) ? NULL : route_encode(&route);
}

static char *write_run(const char *text)
{
    AUTO(run_record_release) struct run_record record = {0};
    return run_record_decode(text, &record, NULL) ? NULL : run_record_encode(&record);
}

static void check(const char *text, char *(*write)(const char *text))
{
    AUTO_FREE char *once = write(text);
    if (!once)
        return;
    AUTO_FREE char *twice = write(once);
    INVARIANT(twice && strcmp(once, twice) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(pause_release) struct pause pause = {0};
    AUTO_FREE char *text = mem_printf("%.*s", (int)size, (const char *)data);
    check(text, write_route);
    check(text, write_run);
    status_ignore(pause_decode(text, &pause, NULL), "reading it must not fail otherwise");
    free(waiting_decode(text));
    return 0;
}
