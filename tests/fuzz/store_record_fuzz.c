/* SPDX-License-Identifier: Apache-2.0
 * Fuzz what the store holds: routes, runs, drained hosts, the pause, what a run waits for. A record
 * that is accepted is written and read again, and is the same. */
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/pause.h"
#include "conductor/run_record.h"
#include "drain/mark.h"
#include "fleet/route.h"
#include "hooks/waiting.h"
#include "permit/permit.h"
#include "store/store.h"

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

static char *write_mark(const char *text)
{
    AUTO(drain_list_release) struct drain_list list = {0};
    struct store_entry entry = {.key = (char[]){DRAIN_PREFIX "h"}, .value = (char *)text};
    drain_list_read(&(struct store_list){&entry, 1, 1}, &list);
    INVARIANT(list.count == 1);
    return list.items[0].problem ? NULL : drain_mark_encode(&list.items[0]);
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
    struct permit_term term;
    AUTO_FREE char *text = mem_printf("%.*s", (int)size, (const char *)data);
    check(text, write_route);
    check(text, write_run);
    check(text, write_mark);
    status_ignore(permit_term_decode(text, &term, NULL), "reading it must not fail otherwise");
    status_ignore(pause_decode(text, &pause, NULL), "reading it must not fail otherwise");
    free(waiting_decode(text));
    return 0;
}
