/* SPDX-License-Identifier: Apache-2.0
 * What becomes of a packet, without a network. */
#include "wan/road.h"

#include "base/scope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { PACKET = 1500, MANY = 100000, MS_US = 1000 };

static const nsec now = 1000 * NSEC_PER_SEC;

static void a_packet_goes_to_the_site_of_its_destination(void **state UNUSED)
{
    static const struct wan_site sites[WAN_SITES] = {
        {.second = 16}, {.second = 17}, {.second = 18}};
    static const struct {
        uint8_t version, first, second;
        size_t length, site;
    } cases[] = {
        {0x45, 127, 16, 20, 0},         {0x45, 127, 18, 60, 2},
        {0x45, 127, 19, 60, WAN_SITES}, {0x45, 10, 16, 60, WAN_SITES},
        {0x60, 127, 16, 60, WAN_SITES}, /* IPv6 */
        {0x45, 127, 16, 19, WAN_SITES}, /* cut short */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t packet[60] = {cases[i].version};
        packet[16] = cases[i].first;
        packet[17] = cases[i].second;
        assert_int_equal(road_site(sites, packet, cases[i].length), cases[i].site);
    }
}

static void a_packet_takes_the_delay_of_its_way(void **state UNUSED)
{
    struct wan_way way = {.delay_us = 15 * MS_US};
    struct road road = {0};
    nsec due = 0;
    assert_true(road_take(&road, &way, PACKET, now, &due));
    assert_int_equal(due, now + 15 * NSEC_PER_MS);
}

static void on_a_way_that_is_cut_all_is_lost(void **state UNUSED)
{
    struct wan_way way = {.is_cut = 1};
    struct road road = {0};
    nsec due = 0;
    assert_false(road_take(&road, &way, PACKET, now, &due));
    way.is_cut = 0;
    assert_true(road_take(&road, &way, PACKET, now, &due));
}

static void jitter_adds_to_the_delay_and_lets_nobody_overtake(void **state UNUSED)
{
    struct wan_way way = {.delay_us = 10 * MS_US, .jitter_us = 5 * MS_US};
    struct road road = {0};
    nsec last = 0, due = 0, longest = 0;
    for (nsec i = 0; i < MANY; i++) {
        nsec sent = now + i * NSEC_PER_MS;
        assert_true(road_take(&road, &way, PACKET, sent, &due));
        assert_true(due >= last && due - sent >= 10 * NSEC_PER_MS && due - sent < 15 * NSEC_PER_MS);
        longest = due - sent > longest ? due - sent : longest;
        last = due;
    }
    assert_true(longest > 14 * NSEC_PER_MS);
}

static void so_many_are_lost_as_is_asked_and_the_same_ones_for_the_same_seed(void **state UNUSED)
{
    struct wan_way way = {.loss_ppm = 20000};
    struct road road = {.seed = 7}, again = {.seed = 7};
    size_t lost = 0;
    nsec due = 0;
    for (int i = 0; i < MANY; i++) {
        bool arrives = road_take(&road, &way, PACKET, now, &due);
        assert_int_equal(arrives, road_take(&again, &way, PACKET, now, &due));
        lost += !arrives;
    }
    assert_in_range(lost, MANY / 50 * 9 / 10, MANY / 50 * 11 / 10);
}

static void a_slow_way_sends_one_after_the_other(void **state UNUSED)
{
    struct wan_way way = {.kbit_s = 12000}; /* 1500 bytes a millisecond */
    struct road road = {0};
    nsec due = 0;
    for (int i = 1; i <= 3; i++) {
        assert_true(road_take(&road, &way, PACKET, now, &due));
        assert_int_equal(due, now + i * NSEC_PER_MS);
    }
    assert_true(road_take(&road, &way, PACKET, now + NSEC_PER_SEC, &due));
    assert_int_equal(due, now + NSEC_PER_SEC + NSEC_PER_MS);
}

static void what_comes_when_the_queue_is_full_is_lost(void **state UNUSED)
{
    struct wan_way way = {.kbit_s = 12000};
    struct road road = {0};
    nsec due = 0;
    int taken = 0;
    while (road_take(&road, &way, PACKET, now, &due))
        taken++;
    assert_int_equal(taken, ROAD_QUEUE_MS + 1);
    assert_true(road_take(&road, &way, PACKET, now + 2 * NSEC_PER_MS, &due));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packet_goes_to_the_site_of_its_destination),
        cmocka_unit_test(a_packet_takes_the_delay_of_its_way),
        cmocka_unit_test(on_a_way_that_is_cut_all_is_lost),
        cmocka_unit_test(jitter_adds_to_the_delay_and_lets_nobody_overtake),
        cmocka_unit_test(so_many_are_lost_as_is_asked_and_the_same_ones_for_the_same_seed),
        cmocka_unit_test(a_slow_way_sends_one_after_the_other),
        cmocka_unit_test(what_comes_when_the_queue_is_full_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
