/* SPDX-License-Identifier: Apache-2.0
 * See deed.h. */
#include "daemon/deed.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/history.h"
#include "conductor/pause.h"
#include "daemon/hearing.h"
#include "daemon/internal.h"
#include "fleet/inventory.h"
#include "move/journal.h"

bool deed_is_forbidden(struct store *store)
{
    AUTO(pause_release) struct pause pause = {0};
    struct err ignored = ERR_INIT;
    return pause_load(store, &pause, &ignored) != ST_OK || pause.is_active;
}

static void look(const struct daemon *daemon, const struct run *run, nsec glance,
                 struct fleet_observation *ret)
{
    AUTO_FREE const struct inventory_shard **shards =
        mem_zalloc((run->record.shard_count + 1) * sizeof(*shards));
    size_t count = 0;
    for (size_t i = 0; i < run->record.shard_count; i++) {
        shards[count] = inventory_find_shard(daemon->fleet, run->record.shards[i]);
        count += shards[count] != NULL;
    }
    fleet_observe(daemon->fleet, shards, count, clock_now() + glance, ret);
}

void deed_trim(const struct daemon *daemon)
{
    const struct inventory *fleet = daemon->fleet;
    struct store *store = daemon_store_get(daemon->store);
    AUTO_FREE char *folder = inventory_journal(fleet);
    struct err ignored = ERR_INIT;
    if (store)
        status_ignore(history_trim(store, fleet->policy.keep_runs, folder, &ignored),
                      "the next run tries again");
}

void deed_carry_out(struct daemon *daemon, struct run *run, const struct fleet_observation *seen,
                    nsec glance, struct switchover_report *ret)
{
    const struct inventory *fleet = daemon->fleet;
    AUTO(fleet_observation_release) struct fleet_observation own = {0};
    AUTO_FREE char *folder = inventory_journal(fleet);
    struct err err = ERR_INIT;
    run->mandate.journal = journal_open(folder, run->record.id);
    run->ears = hearing_ears(daemon->hearing);
    if (!seen)
        look(daemon, run, glance, &own);
    status_ignore(switchover_run(run, seen ? seen : &own, NULL, NULL, ret, &err),
                  "its report, or the next leader, tells");
    log_event(EV_RUN_STATE, "run", ret->run, "state", run_state_name(ret->state), NULL);
    deed_trim(daemon);
}

enum status deed_end_aside(struct daemon *daemon, const char *id, nsec glance, struct err *err)
{
    struct store *store = daemon_store_get(daemon->store);
    AUTO(switchover_report_release) struct switchover_report report = {0};
    struct run *run = NULL;
    struct err ignored = ERR_INIT;
    if (!store)
        return err_set(err, ST_UNREACHABLE, "the store is away");
    enum status status = run_call_off(store, daemon->fleet, id, &run, err);
    if (status || !run)
        return status;
    deed_carry_out(daemon, run, NULL, glance, &report);
    run_free(run);
    status_ignore(run_set_aside(store, id, &ignored), "it has ended");
    return ST_OK;
}
