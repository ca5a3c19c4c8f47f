/* SPDX-License-Identifier: Apache-2.0
 * See send.h. An order may be sent any number of times: it names its run. */
#include "orders/send.h"

#include "api/client.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "orders/order.h"
#include "os/caller.h"

#include <poll.h>
#include <string.h>

/* The check of a large fleet takes long; a leader is elected in 3 s. */
enum {
    ANSWER_MS = 20000 /* a check, and a wait for the run lock */,
    LEADER_MS = 6000,
    PACE_MS = 200
};

/* Somebody began it, and his answer was lost. */
static bool was_begun(struct store *store, const char *id)
{
    AUTO(run_record_release) struct run_record record = {0};
    struct err ignored = ERR_INIT;
    return run_record_load(store, id, &record, &ignored) == ST_OK;
}

enum status order_send(const struct inventory *fleet, struct store *store,
                       const struct run_record *record, const char **ret_conductor,
                       bool *ret_is_refused, struct err *err)
{
    AUTO_FREE char *who = caller_who();
    AUTO_FREE char *origin = caller_origin();
    AUTO_FREE char *caller = mem_printf("%s %s", who, origin);
    AUTO_FREE char *body = order_encode(record, caller);
    nsec until = clock_deadline(LEADER_MS);
    struct client_order order = {.path = "/v1/runs", .body = body, .answer_ms = ANSWER_MS};
    *ret_conductor = NULL;
    for (;;) {
        AUTO(client_answer_release) struct client_answer answer = {0};
        struct err why = ERR_INIT;
        order.was_heard = false;
        enum status status = client_post(fleet, &order, &answer, &why);
        *ret_is_refused = order.was_refused;
        *ret_conductor = status ? NULL : answer.conductor;
        if (status && order.was_sent && was_begun(store, record->id))
            return ST_OK;
        if (!status || order.was_refused || !order.was_heard || clock_now() > until) {
            *err = why;
            return status;
        }
        poll(NULL, 0, PACE_MS);
    }
}
