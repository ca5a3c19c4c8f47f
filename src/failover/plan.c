/* SPDX-License-Identifier: Apache-2.0
 * The rules of a failover; see plan.h. First match wins; each state ends with 'always'. */
#include "failover/plan.h"

#include "base/invariant.h"
#include "base/scope.h"

static bool always(const struct failover_view *view)
{
    (void)view;
    return true;
}

static bool done(const struct failover_view *view)
{
    return view->is_done;
}

static bool must_stop(const struct failover_view *view)
{
    return view->must_stop;
}

/* Once a candidate may have been open, its writes count: the only way is forward. */
static bool may_turn_back(const struct failover_view *view)
{
    return view->must_stop && !view->was_opening;
}

static bool may_turn_back_now(const struct failover_view *view)
{
    return may_turn_back(view) && view->is_released;
}

static bool gathered(const struct failover_view *view)
{
    return view->is_gathered;
}

static bool appointed(const struct failover_view *view)
{
    return view->is_appointed && view->candidate == CANDIDATE_UNTOUCHED;
}

static bool may_open_now(const struct failover_view *view)
{
    return appointed(view) && view->is_over;
}

static bool is_open(const struct failover_view *view)
{
    return view->candidate == CANDIDATE_OPEN;
}

static bool is_closed(const struct failover_view *view)
{
    return view->candidate == CANDIDATE_CLOSED;
}

/* Only the process that recorded it knows that nothing was sent. */
static bool may_open(const struct failover_view *view)
{
    return appointed(view) && !view->is_inherited;
}

static bool followed(const struct failover_view *view)
{
    return view->is_followed;
}

static bool past_deadline(const struct failover_view *view)
{
    return view->now >= view->deadline;
}

static bool cannot_record(const struct failover_view *view)
{
    return view->has_record_failed && past_deadline(view);
}

/* clang-format off */
static const struct failover_rule rules[] = {
    {SHARD_SERVING,    done,              SHARD_SERVING,    FAILOVER_FINISH,  "it has another primary"},
    {SHARD_SERVING,    must_stop,         SHARD_SERVING,    FAILOVER_FINISH,  "stopped before anything was done"},
    {SHARD_SERVING,    cannot_record,     SHARD_SERVING,    FAILOVER_GIVE_UP, "the store does not take the new state"},
    {SHARD_SERVING,    always,            SHARD_FENCING,    FAILOVER_GATHER,  "the primary is lost"},

    {SHARD_FENCING,    cannot_record,     SHARD_FENCING,    FAILOVER_GIVE_UP, "the store does not take the new state"},
    {SHARD_FENCING,    may_turn_back_now, SHARD_SERVING,    FAILOVER_FINISH,  "stopped; the lost primary is still the shard's"},
    {SHARD_FENCING,    may_turn_back,     SHARD_FENCING,    FAILOVER_RELEASE, "stopped before a candidate could open"},
    {SHARD_FENCING,    may_open_now,      SHARD_OPENING,    FAILOVER_OPEN,    "the candidate has everything, and who acknowledges"},
    {SHARD_FENCING,    past_deadline,     SHARD_FENCING,    FAILOVER_GIVE_UP, "nobody could be made the primary"},
    {SHARD_FENCING,    appointed,         SHARD_FENCING,    FAILOVER_WAIT,    "the lost primary may still be permitted to serve"},
    {SHARD_FENCING,    gathered,          SHARD_FENCING,    FAILOVER_APPOINT, "there is a candidate"},
    {SHARD_FENCING,    always,            SHARD_FENCING,    FAILOVER_GATHER,  "there is no candidate yet"},

    {SHARD_OPENING,    cannot_record,     SHARD_OPENING,    FAILOVER_GIVE_UP, "the store does not take the new state"},
    {SHARD_OPENING,    is_open,           SHARD_REPOINTING, FAILOVER_FOLLOW,  "the candidate is open: publish it"},
    {SHARD_OPENING,    is_closed,         SHARD_FENCING,    FAILOVER_GATHER,  "the candidate is confirmed closed"},
    {SHARD_OPENING,    past_deadline,     SHARD_OPENING,    FAILOVER_GIVE_UP, "whether the candidate is open cannot be known"},
    {SHARD_OPENING,    may_open,          SHARD_OPENING,    FAILOVER_OPEN,    "the opening was not sent yet"},
    {SHARD_OPENING,    always,            SHARD_OPENING,    FAILOVER_CONFIRM, "an opening may be under way"},

    {SHARD_REPOINTING, cannot_record,     SHARD_REPOINTING, FAILOVER_GIVE_UP, "the store does not take the new state"},
    {SHARD_REPOINTING, followed,          SHARD_SERVING,    FAILOVER_FINISH,  "the others follow the new primary"},
    {SHARD_REPOINTING, past_deadline,     SHARD_REPOINTING, FAILOVER_GIVE_UP, "writable, but not all servers follow"},
    {SHARD_REPOINTING, always,            SHARD_REPOINTING, FAILOVER_FOLLOW,  "the others do not follow yet"},

    {SHARD_PREPARING,   always,           SHARD_PREPARING,   FAILOVER_GIVE_UP, "a switchover is moving it"},
    {SHARD_FROZEN,      always,           SHARD_FROZEN,      FAILOVER_GIVE_UP, "a switchover is moving it"},
    {SHARD_PROMOTING,   always,           SHARD_PROMOTING,   FAILOVER_GIVE_UP, "a switchover is moving it"},
    {SHARD_REDIRECTING, always,           SHARD_REDIRECTING, FAILOVER_GIVE_UP, "a switchover is moving it"},
    {SHARD_UNDOING,     always,           SHARD_UNDOING,     FAILOVER_GIVE_UP, "a switchover is moving it"},
};
/* clang-format on */

const struct failover_rule *failover_rules(size_t *ret_count)
{
    *ret_count = ARRAY_SIZE(rules);
    return rules;
}

const struct failover_rule *failover_plan(const struct failover_view *view)
{
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        if (rules[i].state == view->state && rules[i].guard(view))
            return &rules[i];
    INVARIANT(!"every state ends with 'always'");
    return NULL;
}

const char *failover_guard_name(const struct failover_rule *rule)
{
    static const struct {
        bool (*guard)(const struct failover_view *view);
        const char *name;
    } names[] = {
        {always, "always"},
        {done, "done"},
        {must_stop, "must stop"},
        {may_turn_back, "may turn back"},
        {may_turn_back_now, "may turn back now"},
        {gathered, "gathered"},
        {appointed, "appointed"},
        {may_open_now, "may open now"},
        {is_open, "candidate is open"},
        {is_closed, "candidate is closed"},
        {may_open, "may open"},
        {followed, "followed"},
        {past_deadline, "past deadline"},
        {cannot_record, "cannot record"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (names[i].guard == rule->guard)
            return names[i].name;
    return "?";
}

const char *failover_action_name(enum failover_action action)
{
    static const char *const names[] = {FAILOVER_ACTION_TABLE(TABLE_TEXT)};
    INVARIANT((unsigned)action < FAILOVER_ACTIONS);
    return names[action];
}
