/* SPDX-License-Identifier: Apache-2.0
 * The rules of a shard's move; see shard.h. First match wins; each state ends with 'always'. */
#include "move/shard.h"

#include "base/invariant.h"
#include "base/scope.h"

static bool always(const struct shard_view *view)
{
    (void)view;
    return true;
}

static bool at_target(const struct shard_view *view)
{
    return view->is_at_target;
}

static bool must_stop(const struct shard_view *view)
{
    return view->must_stop;
}

static bool inherited(const struct shard_view *view)
{
    return view->is_inherited;
}

static bool prepared(const struct shard_view *view)
{
    return view->is_prepared;
}

static bool new_is_open(const struct shard_view *view)
{
    return view->new_primary == NEW_OPEN;
}

static bool new_is_closed(const struct shard_view *view)
{
    return view->new_primary == NEW_CLOSED;
}

static bool may_promote(const struct shard_view *view)
{
    return view->old_primary == OLD_FROZEN && view->new_primary == NEW_UNTOUCHED &&
           !view->must_stop && !view->is_inherited;
}

/* Only this process could have sent a promote statement, and it did not. */
static bool new_is_untouched(const struct shard_view *view)
{
    return view->new_primary == NEW_UNTOUCHED && !view->is_inherited;
}

static bool past_deadline(const struct shard_view *view)
{
    return view->now >= view->deadline;
}

/* Its region was fenced meanwhile, or its permission withdrawn: a failover has the word. */
static bool refused(const struct shard_view *view)
{
    return view->is_refused;
}

static bool cannot_record(const struct shard_view *view)
{
    return refused(view) || (view->has_record_failed && past_deadline(view));
}

static bool verified(const struct shard_view *view)
{
    return view->is_redirected && view->is_verified;
}

static bool redirected(const struct shard_view *view)
{
    return view->is_redirected;
}

/* Whoever did that has the word: nothing is opened beside it. */
static bool moved_on(const struct shard_view *view)
{
    return view->is_moved_on;
}

static bool old_is_open(const struct shard_view *view)
{
    return view->old_primary == OLD_OPEN;
}

/* clang-format off */
static const struct shard_rule rules[] = {
    {SHARD_SERVING,     at_target,        SHARD_SERVING,     ACT_FINISH,   "the home is the wanted region"},
    {SHARD_SERVING,     must_stop,        SHARD_SERVING,     ACT_FINISH,   "stopped; the shard serves at its old home"},
    {SHARD_SERVING,     always,           SHARD_PREPARING,   ACT_PREPARE,  "the move begins"},

    {SHARD_PREPARING,   cannot_record,    SHARD_PREPARING,   ACT_GIVE_UP,  "the store does not take the new state"},
    {SHARD_PREPARING,   inherited,        SHARD_SERVING,     ACT_FINISH,   "a run ended while it prepared: nothing was frozen"},
    {SHARD_PREPARING,   must_stop,        SHARD_SERVING,     ACT_FINISH,   "stopped before the freeze: nothing is to be opened"},
    {SHARD_PREPARING,   prepared,         SHARD_FROZEN,      ACT_NONE,     "services hold their writes"},
    {SHARD_PREPARING,   always,           SHARD_PREPARING,   ACT_PREPARE,  "not prepared yet"},

    {SHARD_FROZEN,      refused,          SHARD_FROZEN,      ACT_GIVE_UP,  "the old primary may not serve"},
    {SHARD_FROZEN,      inherited,        SHARD_UNDOING,     ACT_UNDO,     "a run ended around the freeze"},
    {SHARD_FROZEN,      must_stop,        SHARD_UNDOING,     ACT_UNDO,     "stopped at the freeze"},
    {SHARD_FROZEN,      always,           SHARD_PROMOTING,   ACT_FREEZE,   "the point of no return is recorded: freeze"},

    {SHARD_PROMOTING,   cannot_record,    SHARD_PROMOTING,   ACT_GIVE_UP,  "the store does not take the new state"},
    {SHARD_PROMOTING,   moved_on,         SHARD_SERVING,     ACT_FINISH,   "moved on by hand: neither end is opened"},
    {SHARD_PROMOTING,   new_is_open,      SHARD_REDIRECTING, ACT_REDIRECT, "the new primary is open: publish it"},
    {SHARD_PROMOTING,   may_promote,      SHARD_PROMOTING,   ACT_PROMOTE,  "the old primary is frozen and its position known"},
    {SHARD_PROMOTING,   new_is_untouched, SHARD_UNDOING,     ACT_UNDO,     "stopped before a promote statement was sent"},
    {SHARD_PROMOTING,   new_is_closed,    SHARD_UNDOING,     ACT_UNDO,     "the new primary is confirmed closed"},
    {SHARD_PROMOTING,   past_deadline,    SHARD_PROMOTING,   ACT_GIVE_UP,  "whether the new primary is open cannot be known"},
    {SHARD_PROMOTING,   always,           SHARD_PROMOTING,   ACT_CONFIRM,  "a promote statement may be under way"},

    {SHARD_REDIRECTING, cannot_record,    SHARD_REDIRECTING, ACT_GIVE_UP,  "the store does not take the new state"},
    {SHARD_REDIRECTING, moved_on,         SHARD_SERVING,     ACT_FINISH,   "moved on by hand: the new primary stays closed"},
    {SHARD_REDIRECTING, verified,         SHARD_SERVING,     ACT_FINISH,   "all servers follow the new primary"},
    {SHARD_REDIRECTING, past_deadline,    SHARD_REDIRECTING, ACT_GIVE_UP,  "published at the new home, but the move is not complete"},
    {SHARD_REDIRECTING, redirected,       SHARD_REDIRECTING, ACT_VERIFY,   "look whether all servers follow"},
    {SHARD_REDIRECTING, always,           SHARD_REDIRECTING, ACT_REDIRECT, "the old primary does not follow yet"},

    {SHARD_UNDOING,     cannot_record,    SHARD_UNDOING,     ACT_GIVE_UP,  "the store does not take the new state"},
    {SHARD_UNDOING,     old_is_open,      SHARD_SERVING,     ACT_FINISH,   "the old primary accepts writes again"},
    {SHARD_UNDOING,     moved_on,         SHARD_SERVING,     ACT_FINISH,   "moved on by hand: the old primary stays closed"},
    {SHARD_UNDOING,     past_deadline,    SHARD_UNDOING,     ACT_GIVE_UP,  "the old primary cannot be opened again"},
    {SHARD_UNDOING,     always,           SHARD_UNDOING,     ACT_UNDO,     "the old primary is not open yet"},

    {SHARD_FENCING,     always,           SHARD_FENCING,     ACT_GIVE_UP,  "a failover seeks another primary"},
    {SHARD_OPENING,     always,           SHARD_OPENING,     ACT_GIVE_UP,  "a failover opens another primary"},
    {SHARD_REPOINTING,  always,           SHARD_REPOINTING,  ACT_GIVE_UP,  "a failover points servers to another primary"},
};
/* clang-format on */

const struct shard_rule *shard_rules(size_t *ret_count)
{
    *ret_count = ARRAY_SIZE(rules);
    return rules;
}

const struct shard_rule *shard_plan(const struct shard_view *view)
{
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        if (rules[i].state == view->state && rules[i].guard(view))
            return &rules[i];
    INVARIANT(!"every state ends with 'always'");
    return NULL;
}

const char *shard_guard_name(const struct shard_rule *rule)
{
    static const struct {
        bool (*guard)(const struct shard_view *view);
        const char *name;
    } names[] = {
        {always, "always"},
        {at_target, "at target"},
        {must_stop, "must stop"},
        {inherited, "inherited"},
        {prepared, "prepared"},
        {new_is_open, "new is open"},
        {new_is_closed, "new is closed"},
        {may_promote, "may promote"},
        {new_is_untouched, "new is untouched"},
        {past_deadline, "past deadline"},
        {refused, "refused"},
        {cannot_record, "cannot record"},
        {verified, "verified"},
        {redirected, "redirected"},
        {old_is_open, "old is open"},
        {moved_on, "moved on"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (names[i].guard == rule->guard)
            return names[i].name;
    return "?";
}

const char *shard_action_name(enum shard_action action)
{
    static const char *const names[] = {
#define X(name, text) text,
        SHARD_ACTION_TABLE(X)
#undef X
    };
    INVARIANT((unsigned)action < ARRAY_SIZE(names));
    return names[action];
}

const char *shard_new_name(enum shard_new value)
{
    static const char *const names[] = {
#define X(name, text) text,
        SHARD_NEW_TABLE(X)
#undef X
    };
    INVARIANT((unsigned)value < ARRAY_SIZE(names));
    return names[value];
}

const char *shard_old_name(enum shard_old value)
{
    static const char *const names[] = {
#define X(name, text) text,
        SHARD_OLD_TABLE(X)
#undef X
    };
    INVARIANT((unsigned)value < ARRAY_SIZE(names));
    return names[value];
}
