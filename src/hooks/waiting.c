/* SPDX-License-Identifier: Apache-2.0
 * What a run waits for; see waiting.h. */
#include "hooks/waiting.h"

#include "base/clock.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "store/store.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { STORE_MS = 2000 };

struct waiting {
    pthread_mutex_t lock;
    char *wanted, *told; /* JSON; NULL: nothing. 'told' belongs to the keeper */
};

struct waiting *waiting_new(void)
{
    struct waiting *waiting = mem_zalloc(sizeof(*waiting));
    pthread_mutex_init(&waiting->lock, NULL);
    return waiting;
}

void waiting_free(struct waiting *waiting)
{
    if (!waiting)
        return;
    pthread_mutex_destroy(&waiting->lock);
    free(waiting->wanted);
    free(waiting->told);
    free(waiting);
}

static char *encode(const struct hook_wait *wait)
{
    if (!wait->hook)
        return NULL;
    json_t *json =
        json_pack("{s:s, s:s, s:I, s:I}", "hook", wait->hook, "event", wait->event, "since_us",
                  (json_int_t)wait->since_us, "limit_ms", (json_int_t)wait->limit_ms);
    INVARIANT(json);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

void waiting_set(struct waiting *waiting, const struct hook_wait *wait)
{
    char *text = encode(wait);
    pthread_mutex_lock(&waiting->lock);
    free(waiting->wanted);
    waiting->wanted = text;
    pthread_mutex_unlock(&waiting->lock);
}

char *waiting_key(const char *run)
{
    return mem_printf("run-waits/%s", run);
}

/* The time since when is read off two clocks, and is not the same each time. */
static bool is_same(const char *one, const char *other)
{
    const char *left = one ? strstr(one, "\"since_us\"") : NULL;
    return !one || !other ? one == other : left && strncmp(one, other, (size_t)(left - one)) == 0;
}

void waiting_tell(struct waiting *waiting, struct store *store, const char *run, int64_t lease)
{
    pthread_mutex_lock(&waiting->lock);
    AUTO_FREE char *wanted = mem_strdup(waiting->wanted);
    pthread_mutex_unlock(&waiting->lock);
    if (is_same(wanted, waiting->told))
        return;
    AUTO_FREE char *key = waiting_key(run);
    struct store_op op = {wanted ? STORE_PUT : STORE_DELETE, key, wanted, wanted ? lease : 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result;
    struct err ignored = ERR_INIT;
    if (store_txn(store, &txn, clock_deadline(STORE_MS), &result, &ignored))
        return;
    free(waiting->told);
    waiting->told = take_pointer(wanted);
}

char *waiting_format(const char *hook, const char *event, int64_t since_us, int64_t limit_ms)
{
    long long waited_s = (clock_wall_us() - since_us) / 1000000;
    return mem_printf("waiting for hook %s (%s, %lld s of %lld s)", hook, event,
                      waited_s > 0 ? waited_s : 0, (long long)(limit_ms + 999) / 1000);
}

char *waiting_decode(const char *value)
{
    json_t *json = json_loads(value, 0, NULL);
    const char *hook = NULL, *event = NULL;
    json_int_t since = 0, limit = 0;
    bool is_good = json && json_unpack(json, "{s:s, s:s, s:I, s:I}", "hook", &hook, "event", &event,
                                       "since_us", &since, "limit_ms", &limit) == 0;
    char *text = is_good ? waiting_format(hook, event, since, limit) : NULL;
    json_decref(json);
    return text;
}

char *waiting_load(struct store *store, const char *run)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    AUTO_FREE char *key = waiting_key(run);
    struct err ignored = ERR_INIT;
    if (store_get(store, key, clock_deadline(STORE_MS), &entry, &ignored))
        return NULL;
    return waiting_decode(entry.value);
}
