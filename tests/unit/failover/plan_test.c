/* SPDX-License-Identifier: Apache-2.0
 * The plan of a failover, over every view there can be: it is total, every row can be reached, and
 * what makes it safe holds whatever else is true. */
#include "failover/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { BITS = 11 };

/* The view with this number; all views are 0 .. view_count() - 1. */
static struct failover_view view_at(unsigned number)
{
    struct failover_view view = {.deadline = 10};
    bool *bits[BITS] = {&view.is_done,
                        &view.is_inherited,
                        &view.must_stop,
                        &view.was_opening,
                        &view.is_gathered,
                        &view.is_appointed,
                        &view.is_followed,
                        &view.is_released,
                        &view.is_over,
                        &view.has_record_failed,
                        NULL};
    for (unsigned i = 0; i < BITS; i++, number /= 2)
        if (bits[i])
            *bits[i] = number % 2;
        else
            view.now = number % 2 ? 11 : 1;
    view.candidate = (enum candidate)(number % CANDIDATES);
    number /= CANDIDATES;
    view.state = (enum shard_state)(number % SHARD_STATES);
    return view;
}

static unsigned view_count(void)
{
    return (1u << BITS) * CANDIDATES * SHARD_STATES;
}

typedef bool broken_fn(const struct failover_view *view, const struct failover_rule *rule);

static void assert_never(broken_fn *is_broken)
{
    for (unsigned i = 0; i < view_count(); i++) {
        struct failover_view view = view_at(i);
        const struct failover_rule *rule = failover_plan(&view);
        if (is_broken(&view, rule))
            fail_msg("view %u: %s -> %s: %s", i, shard_state_name(view.state),
                     shard_state_name(rule->next), rule->why);
    }
}

static void every_view_has_a_rule_of_its_own_state(void **state)
{
    (void)state;
    for (unsigned i = 0; i < view_count(); i++) {
        struct failover_view view = view_at(i);
        assert_int_equal(failover_plan(&view)->state, view.state);
    }
}

static void every_row_is_the_answer_to_some_view(void **state)
{
    (void)state;
    size_t count = 0;
    const struct failover_rule *rules = failover_rules(&count);
    assert_true(count <= 30);
    for (size_t row = 0; row < count; row++) {
        bool is_used = false;
        for (unsigned i = 0; i < view_count() && !is_used; i++) {
            struct failover_view view = view_at(i);
            is_used = failover_plan(&view) == &rules[row];
        }
        if (!is_used)
            fail_msg("row %zu is dead: %s", row, rules[row].why);
        assert_string_not_equal(failover_guard_name(&rules[row]), "?");
    }
}

static bool opens_rashly(const struct failover_view *view, const struct failover_rule *rule)
{
    return rule->action == FAILOVER_OPEN && (rule->next != SHARD_OPENING || !view->is_appointed ||
                                             (view->state == SHARD_FENCING && !view->is_over) ||
                                             view->candidate != CANDIDATE_UNTOUCHED ||
                                             (view->state == SHARD_OPENING && view->is_inherited));
}

static void only_an_appointed_candidate_that_nobody_else_may_open_is_opened(void **state)
{
    (void)state;
    assert_never(opens_rashly);
}

static bool leaves_opening_rashly(const struct failover_view *view,
                                  const struct failover_rule *rule)
{
    bool is_left = view->state == SHARD_OPENING && rule->next != SHARD_OPENING;
    return is_left && !(rule->next == SHARD_REPOINTING && view->candidate == CANDIDATE_OPEN) &&
           !(rule->next == SHARD_FENCING && view->candidate == CANDIDATE_CLOSED);
}

static void another_candidate_needs_the_first_one_confirmed_closed(void **state)
{
    (void)state;
    assert_never(leaves_opening_rashly);
}

static bool turns_back_rashly(const struct failover_view *view, const struct failover_rule *rule)
{
    bool is_back = view->state == SHARD_FENCING && rule->next == SHARD_SERVING;
    return is_back && (view->was_opening || !view->must_stop || !view->is_released);
}

static void there_is_no_way_back_once_a_candidate_may_have_been_open(void **state)
{
    (void)state;
    assert_never(turns_back_rashly);
}

static bool goes_back_after_publish(const struct failover_view *view,
                                    const struct failover_rule *rule)
{
    return view->state == SHARD_REPOINTING && rule->next != SHARD_REPOINTING &&
           rule->next != SHARD_SERVING;
}

static void what_is_published_stays(void **state)
{
    (void)state;
    assert_never(goes_back_after_publish);
}

static bool touches_a_switchover(const struct failover_view *view, const struct failover_rule *rule)
{
    bool is_ours = view->state == SHARD_SERVING || view->state >= SHARD_FENCING;
    return !is_ours && (rule->action != FAILOVER_GIVE_UP || rule->next != view->state);
}

static void a_shard_that_a_switchover_moves_is_left_alone(void **state)
{
    (void)state;
    assert_never(touches_a_switchover);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_view_has_a_rule_of_its_own_state),
        cmocka_unit_test(every_row_is_the_answer_to_some_view),
        cmocka_unit_test(only_an_appointed_candidate_that_nobody_else_may_open_is_opened),
        cmocka_unit_test(another_candidate_needs_the_first_one_confirmed_closed),
        cmocka_unit_test(there_is_no_way_back_once_a_candidate_may_have_been_open),
        cmocka_unit_test(what_is_published_stays),
        cmocka_unit_test(a_shard_that_a_switchover_moves_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
