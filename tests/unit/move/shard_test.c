/* SPDX-License-Identifier: Apache-2.0
 * The plan of a shard's move, over every view there can be: it is total, every row can be reached,
 * and what makes it safe holds whatever else is true. */
#include "move/shard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { BITS = 10 };

/* The view with this number; all views are 0 .. view_count() - 1. */
static struct shard_view view_at(unsigned number)
{
    struct shard_view view = {.deadline = 10};
    bool *bits[BITS] = {&view.is_at_target,      &view.is_inherited,
                        &view.must_stop,         &view.is_prepared,
                        &view.is_redirected,     &view.is_verified,
                        &view.has_record_failed, &view.is_moved_on,
                        &view.is_refused,        NULL};
    for (unsigned i = 0; i < BITS; i++, number /= 2)
        if (bits[i])
            *bits[i] = number % 2;
        else
            view.now = number % 2 ? 11 : 1;
    view.old_primary = (enum shard_old)(number % 3);
    number /= 3;
    view.new_primary = (enum shard_new)(number % 4);
    number /= 4;
    view.state = (enum shard_state)(number % SHARD_STATES);
    return view;
}

static unsigned view_count(void)
{
    return (1u << BITS) * 3 * 4 * SHARD_STATES;
}

typedef bool broken_fn(const struct shard_view *view, const struct shard_rule *rule);

static void assert_never(broken_fn *is_broken)
{
    for (unsigned i = 0; i < view_count(); i++) {
        struct shard_view view = view_at(i);
        const struct shard_rule *rule = shard_plan(&view);
        if (is_broken(&view, rule))
            fail_msg("view %u: %s -> %s: %s", i, shard_state_name(view.state),
                     shard_state_name(rule->next), rule->why);
    }
}

static void every_view_has_a_rule_of_its_own_state(void **state)
{
    (void)state;
    for (unsigned i = 0; i < view_count(); i++) {
        struct shard_view view = view_at(i);
        assert_int_equal(shard_plan(&view)->state, view.state);
    }
}

static void every_row_is_the_answer_to_some_view(void **state)
{
    (void)state;
    size_t count = 0;
    const struct shard_rule *rules = shard_rules(&count);
    assert_true(count <= 34); /* a page: more is to be split */
    for (size_t row = 0; row < count; row++) {
        bool is_used = false;
        for (unsigned i = 0; i < view_count() && !is_used; i++) {
            struct shard_view view = view_at(i);
            is_used = shard_plan(&view) == &rules[row];
        }
        if (!is_used)
            fail_msg("row %zu is dead: %s", row, rules[row].why);
    }
}

static bool promotes_rashly(const struct shard_view *view, const struct shard_rule *rule)
{
    return rule->action == ACT_PROMOTE &&
           (rule->next != SHARD_PROMOTING || view->state != SHARD_PROMOTING || view->must_stop ||
            view->old_primary != OLD_FROZEN || view->new_primary != NEW_UNTOUCHED);
}

static void promote_needs_the_recorded_state_a_frozen_old_and_an_untouched_new_primary(void **state)
{
    (void)state;
    assert_never(promotes_rashly);
}

static bool undoes_rashly(const struct shard_view *view, const struct shard_rule *rule)
{
    return view->state == SHARD_PROMOTING && rule->next == SHARD_UNDOING &&
           view->new_primary != NEW_CLOSED &&
           (view->new_primary != NEW_UNTOUCHED || view->is_inherited);
}

/* Confirmed, or never sent a promote statement: which only the process that did not send it knows.
 */
static void past_the_point_of_no_return_only_a_closed_new_primary_is_undone(void **state)
{
    (void)state;
    assert_never(undoes_rashly);
}

static bool publishes_rashly(const struct shard_view *view, const struct shard_rule *rule)
{
    return view->state != SHARD_REDIRECTING && rule->next == SHARD_REDIRECTING &&
           (view->state != SHARD_PROMOTING || view->new_primary != NEW_OPEN);
}

static void only_an_open_new_primary_is_published(void **state)
{
    (void)state;
    assert_never(publishes_rashly);
}

static bool goes_back_after_publish(const struct shard_view *view, const struct shard_rule *rule)
{
    return view->state == SHARD_REDIRECTING && rule->next != SHARD_REDIRECTING &&
           rule->next != SHARD_SERVING;
}

static void what_is_published_is_never_undone(void **state)
{
    (void)state;
    assert_never(goes_back_after_publish);
}

static bool opens_old_elsewhere(const struct shard_view *view, const struct shard_rule *rule)
{
    (void)view;
    return rule->action == ACT_UNDO && rule->next != SHARD_UNDOING;
}

static void the_old_primary_is_opened_only_while_undoing(void **state)
{
    (void)state;
    assert_never(opens_old_elsewhere);
}

/* 'frozen' is durable before a freeze is sent: until then the old primary is whatever somebody else
 * made of it, and nobody's to open. */
static bool opens_what_it_did_not_freeze(const struct shard_view *view,
                                         const struct shard_rule *rule)
{
    return view->state == SHARD_PREPARING &&
           (rule->action == ACT_UNDO || rule->next == SHARD_UNDOING);
}

static void what_was_never_frozen_is_not_opened(void **state)
{
    (void)state;
    assert_never(opens_what_it_did_not_freeze);
}

static bool opens_beside_another(const struct shard_view *view, const struct shard_rule *rule)
{
    bool has_ends = view->state == SHARD_PROMOTING || view->state == SHARD_REDIRECTING ||
                    (view->state == SHARD_UNDOING && view->old_primary != OLD_OPEN);
    return view->is_moved_on && has_ends && rule->action != ACT_FINISH &&
           rule->action != ACT_GIVE_UP;
}

static void a_shard_that_was_moved_on_by_hand_is_left_alone(void **state)
{
    (void)state;
    assert_never(opens_beside_another);
}

static bool serves_unknown(const struct shard_view *view, const struct shard_rule *rule)
{
    return view->state != SHARD_SERVING && rule->next == SHARD_SERVING &&
           !(view->state == SHARD_UNDOING && view->old_primary == OLD_OPEN) &&
           !(view->is_moved_on && view->state != SHARD_FROZEN) &&
           !(view->state == SHARD_REDIRECTING && view->is_verified) &&
           !(view->state == SHARD_PREPARING && (view->is_inherited || view->must_stop));
}

static void serving_is_only_said_of_a_shard_seen_to_serve_or_never_frozen(void **state)
{
    (void)state;
    assert_never(serves_unknown);
}

static bool starts_although_stopped(const struct shard_view *view, const struct shard_rule *rule)
{
    return view->must_stop && (rule->action == ACT_PREPARE || rule->action == ACT_FREEZE ||
                               rule->action == ACT_PROMOTE);
}

static void an_abort_starts_nothing_new(void **state)
{
    (void)state;
    assert_never(starts_although_stopped);
}

static bool acts_from_inheritance(const struct shard_view *view, const struct shard_rule *rule)
{
    return view->is_inherited && view->state != SHARD_SERVING &&
           (rule->action == ACT_FREEZE || rule->action == ACT_PROMOTE ||
            rule->action == ACT_PREPARE);
}

static void a_successor_goes_back_or_finishes_but_never_continues_a_freeze(void **state)
{
    (void)state;
    assert_never(acts_from_inheritance);
}

static bool opens_what_may_not_serve(const struct shard_view *view, const struct shard_rule *rule)
{
    bool is_between = view->state == SHARD_FROZEN || view->state == SHARD_PROMOTING ||
                      view->state == SHARD_REDIRECTING || view->state == SHARD_UNDOING;
    return view->is_refused && is_between && rule->action != ACT_GIVE_UP;
}

static void a_server_that_may_not_serve_is_neither_opened_nor_published(void **state)
{
    (void)state;
    assert_never(opens_what_may_not_serve);
}

static bool waits_for_ever(const struct shard_view *view, const struct shard_rule *rule)
{
    bool is_waiting = view->state == SHARD_REDIRECTING || view->state == SHARD_UNDOING ||
                      (view->state == SHARD_PROMOTING && view->new_primary == NEW_UNKNOWN);
    return is_waiting && view->now > view->deadline && rule->next == view->state &&
           rule->action != ACT_GIVE_UP;
}

static void past_the_deadline_a_wait_is_handed_to_the_operator(void **state)
{
    (void)state;
    assert_never(waits_for_ever);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_view_has_a_rule_of_its_own_state),
        cmocka_unit_test(every_row_is_the_answer_to_some_view),
        cmocka_unit_test(
            promote_needs_the_recorded_state_a_frozen_old_and_an_untouched_new_primary),
        cmocka_unit_test(past_the_point_of_no_return_only_a_closed_new_primary_is_undone),
        cmocka_unit_test(only_an_open_new_primary_is_published),
        cmocka_unit_test(what_is_published_is_never_undone),
        cmocka_unit_test(the_old_primary_is_opened_only_while_undoing),
        cmocka_unit_test(serving_is_only_said_of_a_shard_seen_to_serve_or_never_frozen),
        cmocka_unit_test(what_was_never_frozen_is_not_opened),
        cmocka_unit_test(a_shard_that_was_moved_on_by_hand_is_left_alone),
        cmocka_unit_test(an_abort_starts_nothing_new),
        cmocka_unit_test(a_successor_goes_back_or_finishes_but_never_continues_a_freeze),
        cmocka_unit_test(a_server_that_may_not_serve_is_neither_opened_nor_published),
        cmocka_unit_test(past_the_deadline_a_wait_is_handed_to_the_operator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
