/* SPDX-License-Identifier: Apache-2.0
 * One call of one hook; see call.h. What a hook is told is JSON on its standard input, so that
 * nothing of it is ever parsed by a shell; its environment has a few words for scripts that need no
 * more than a name, and none of ours beyond what programs need to run. */
#include "hooks/call.h"

#include "base/buf.h"
#include "base/invariant.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/text.h"
#include "fleet/inventory.h"
#include "fleet/route.h"
#include "os/capture.h"

#include <jansson.h>
#include <string.h>

enum { GRACE_MS = 1000, LINE_SHOWN_MAX = 200 };

static const char *const end_names[] = {HOOK_END_TABLE(TABLE_TEXT)};

const char *hook_end_name(enum hook_end end)
{
    INVARIANT((unsigned)end < HOOK_ENDS);
    return end_names[end];
}

/* ---- what it is told ---- */

static void set_text(json_t *object, const char *key, const char *text)
{
    AUTO(buf_release) struct buf clean = {0};
    if (!text)
        return;
    text_add_clean(&clean, text, strlen(text));
    json_object_set_new(object, key, json_string(buf_text(&clean)));
}

static void set_route(json_t *object, const struct route *route)
{
    if (!route)
        return;
    set_text(object, "state", shard_state_name(route->state));
    set_text(object, "home", route->home);
    set_text(object, "primary", route->primary);
    if (route->old_primary[0])
        set_text(object, "old_primary", route->old_primary);
    if (route->new_primary[0])
        set_text(object, "new_primary", route->new_primary);
    json_object_set_new(object, "epoch", json_integer((json_int_t)route->epoch));
}

static json_t *shard_names(const struct hook_news *news)
{
    json_t *names = json_array();
    for (size_t i = 0; i < news->shard_count; i++)
        json_array_append_new(names, json_string(news->shards[i]->name));
    return names;
}

static char *encode(const struct hook_call *call, const struct hooks_order *order,
                    const struct hook_news *news)
{
    char now[WALL_TEXT_MAX];
    clock_wall_format(clock_wall_us(), now);
    json_t *object = json_object();
    set_text(object, "event", call->event);
    json_object_set_new(object, "undo", json_boolean(call->is_undo));
    set_text(object, "time", now);
    set_text(object, "run", order->run);
    set_text(object, "kind", order->kind);
    json_object_set_new(object, "resumed", json_boolean(order->is_resumed));
    set_text(object, "from", order->from);
    set_text(object, "to", order->to);
    set_text(object, "by", order->by);
    set_text(object, "origin", order->origin);
    set_text(object, "reason", order->reason);
    set_text(object, "wave", news->wave);
    if (news->shard) {
        set_text(object, "shard", news->shard->name);
        set_text(object, "deployment", news->shard->deployment);
    } else {
        json_object_set_new(object, "shards", shard_names(news));
    }
    set_route(object, news->route);
    set_text(object, "result", news->result);
    set_text(object, "error", news->error);
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    INVARIANT(text);
    return text;
}

static const char *undo_of(enum hook_event event)
{
    return event == HOOK_RUN_BEFORE || event == HOOK_RUN_AFTER     ? "run.undo"
           : event == HOOK_WAVE_BEFORE || event == HOOK_WAVE_AFTER ? "wave.undo"
                                                                   : "shard.undo";
}

void hook_call_init(struct hook_call *call, const struct hooks_order *order,
                    const struct hook_news *news, bool is_undo)
{
    *call = (struct hook_call){
        .event = is_undo ? undo_of(news->event) : hook_event_name(news->event),
        .shard = news->shard ? mem_strdup(news->shard->name) : NULL,
        .wave = news->wave ? mem_strdup(news->wave) : NULL,
        .is_undo = is_undo,
    };
    call->input = encode(call, order, news);
}

void hook_call_release(struct hook_call *call)
{
    free(call->shard);
    free(call->wave);
    free(call->input);
}

/* ---- the call ---- */

struct environment {
    const char **items;
    size_t count, capacity;
};

static void add_variable(struct environment *env, const char *name, const char *value)
{
    VEC_PUSH(env->items, env->count, env->capacity, mem_printf("%s=%s", name, value));
}

/* Passwords may be in our environment: only what is named here goes on. */
static void environment_init(struct environment *env, const struct hook_call *call,
                             const struct inventory_hook *hook)
{
    static const char *const kept[] = {"HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"};
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        if (getenv(kept[i]))
            add_variable(env, kept[i], getenv(kept[i]));
    const char *path = getenv("PATH");
    add_variable(env, "PATH",
                 path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    add_variable(env, "HOLDFAST_HOOK", hook->name);
    add_variable(env, "HOLDFAST_EVENT", call->event);
    add_variable(env, "HOLDFAST_SHARD", call->shard ? call->shard : "");
    VEC_PUSH(env->items, env->count, env->capacity, NULL);
}

static void environment_release(struct environment *env)
{
    for (size_t i = 0; i + 1 < env->count; i++)
        free((char *)env->items[i]);
    free(env->items);
}

/* Its first line that says something, if it printed any. */
static char *first_line(const char *output)
{
    output += strspn(output, " \t\n");
    size_t length = strcspn(output, "\n");
    size_t shown = length < LINE_SHOWN_MAX ? length : LINE_SHOWN_MAX;
    while (shown < length && ((unsigned char)output[shown] & 0xc0) == 0x80)
        shown--; /* not in the middle of a character */
    return length ? mem_printf(": %.*s%s", (int)shown, output, shown < length ? "..." : "")
                  : mem_strdup("");
}

static void judge(const struct capture *capture, const struct inventory_hook *hook,
                  struct hook_outcome *ret)
{
    AUTO_FREE char *said = first_line(ret->output);
    if (capture->is_cancelled) {
        ret->end = HOOK_CANCELLED;
        ret->why = mem_printf("was ended, because the run was%s", said);
    } else if (capture->is_late) {
        ret->end = HOOK_LATE;
        ret->why = mem_printf("did not end within %lld ms, and was killed%s",
                              (long long)hook->timeout_ms, said);
    } else if (capture->signal) {
        ret->end = HOOK_FAILED;
        ret->why = mem_printf("was killed by signal %d%s", capture->signal, said);
    } else if (capture->exit_status != 0) {
        ret->end = HOOK_FAILED;
        ret->why = mem_printf("exit status %d%s", capture->exit_status, said);
    }
}

void hook_call_make(const struct hook_call *call, const struct inventory_hook *hook,
                    const atomic_bool *cancel, struct hook_outcome *ret)
{
    AUTO(environment_release) struct environment env = {0};
    environment_init(&env, call, hook);
    AUTO(capture_release) struct capture capture = {0};
    struct capture_job job = {
        .argv = (const char *const *)(call->is_undo ? hook->undo.argv : hook->exec.argv),
        .env = env.items,
        .folder = "/",
        .input = call->input,
        .output_cap = HOOK_OUTPUT_MAX,
        .deadline = clock_deadline(hook->timeout_ms),
        .grace_ms = GRACE_MS,
        .cancel = cancel,
    };
    struct err err = ERR_INIT;
    *ret = (struct hook_outcome){.end = HOOK_OK};
    if (capture_run(&job, &capture, &err)) {
        ret->end = HOOK_NOT_STARTED;
        ret->why = text_clean_line(err.text);
        ret->output = mem_strdup("");
        return;
    }
    struct buf output = {0};
    text_add_clean(&output, buf_text(&capture.output), capture.output.length);
    ret->output = buf_take(&output);
    ret->output_bytes = capture.output_bytes;
    ret->took_ms = capture.took_ms;
    judge(&capture, hook, ret);
}

void hook_outcome_release(struct hook_outcome *outcome)
{
    free(outcome->why);
    free(outcome->output);
}
