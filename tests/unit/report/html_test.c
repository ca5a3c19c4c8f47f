/* SPDX-License-Identifier: Apache-2.0
 * The HTML report: from JSON of every kind that the store may hold. How it looks is for eyes. */
#include "report/html.h"

#include "base/mem.h"
#include "base/scope.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* after the above */
#include <cmocka.h>

enum { MANY = 2000, PAGE_MAX_BYTES = 2000 * 1000 };

static char *page_of(const char *json)
{
    AUTO(buf_release) struct buf page = {0};
    struct err err = ERR_INIT;
    if (report_html_format(json, &page, &err))
        fail_msg("%s", err.text);
    return buf_take(&page);
}

static size_t count_of(const char *text, const char *word)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        count++;
    return count;
}

static void expect(const char *page, const char *wanted)
{
    if (!strstr(page, wanted))
        fail_msg("'%s' is not in %s", wanted, page);
}

static void expect_not(const char *page, const char *unwanted)
{
    if (strstr(page, unwanted))
        fail_msg("'%s' is in %s", unwanted, page);
}

static json_t *head(const char *result)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:{s:i, s:i}, s:f, s:s}", "run",
                     "20261122-221502-0411f", "kind", "switchover", "result", result, "from",
                     "west", "to", "east", "by", "mara@ops-1", "ordered",
                     "2026-11-22T22:15:02.041Z", "began", "2026-11-22T22:15:03.388Z", "resumed", 0,
                     "promise", "rto_ms", 30000, "rpo_ms", 5000, "took_ms", 160.0, "measured_by",
                     "probe");
}

static json_t *span(const char *phase, double from, double to)
{
    return json_pack("{s:s, s:f, s:f}", "phase", phase, "from_ms", from, "to_ms", to);
}

/* Moved, its freeze at 'at' ms. */
static json_t *shard(const char *name, double at)
{
    json_t *timeline =
        json_pack("[o, o, o, o, o, o]", span("prepare", at - 40, at), span("freeze", at, at + .7),
                  span("promote", at + .7, at + 1.4), span("publish", at + 1.4, at + 2),
                  span("redirect", at + 2, at + 22), span("verify", at + 22, at + 55));
    json_t *phases =
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "prepare", 40.0, "freeze", .7, "promote",
                  .7, "publish", .6, "redirect", 20.0, "verify", 33.0, "undo", 0.0);
    return json_pack("{s:s, s:s, s:i, s:s, s:f, s:f, s:f, s:i, s:o, s:i, s:o}", "name", name,
                     "result", "moved", "epoch", 3, "primary", "10.20.0.1:3306", "write_outage_ms",
                     2.4, "baseline_gap_ms", .9, "critical_ms", 2.0, "critical_statements", 5,
                     "phases_ms", phases, "lost_transactions", 0, "timeline", timeline);
}

/* Takes both. */
static char *page_with(json_t *report, json_t *shards)
{
    json_object_set_new(report, "shards", shards);
    AUTO_FREE char *json = json_dumps(report, JSON_COMPACT);
    json_decref(report);
    return page_of(json);
}

static void set_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, json_string(text));
}

static void a_run_says_who_when_and_what(void **state UNUSED)
{
    AUTO_FREE char *page = page_with(head("done"), json_pack("[o]", shard("orders-0", 50)));
    expect(page, "<h1>west → east</h1>");
    expect(page, "✓ done</b> Every shard serves at east.");
    expect(page, "mara@ops-1");
    expect(page, "2026-11-22 22:15:03 UTC");
    expect_not(page, "22:15:02 UTC"); /* ordered: told of a resumed run only */
    expect(page, "160&nbsp;ms");
    expect(page, "<dt>p99</dt><dd>2.4&nbsp;ms");
    expect(page, "None: every shard simply moved");
    expect(page, "<details open>");
    expect(page, "<title>orders-0: moved, outage 2.4&nbsp;ms</title>");
    assert_int_equal(count_of(page, "class=\"v\""), 0);
}

static void the_page_needs_nothing_beside_it(void **state UNUSED)
{
    static const char *const from_elsewhere[] = {"<script", "src=",  "href=", "url(",
                                                 "@import", "http:", "https:"};
    AUTO_FREE char *page = page_with(head("done"), json_pack("[o]", shard("orders-0", 50)));
    for (size_t i = 0; i < ARRAY_SIZE(from_elsewhere); i++)
        expect_not(page, from_elsewhere[i]);
    expect(page, "default-src 'none'");
}

static void hostile_text_stays_text(void **state UNUSED)
{
    static const char evil[] = "</title><script>alert(1)</script><b \"x\" 'y' &amp;\x01\x1b[2J"
                               "\xe2\x80\xae\xe2\x81\xa6\xc2\x85";
    static const char *const in_head[] = {"run", "kind", "result",  "from",
                                          "to",  "by",   "ordered", "began"};
    static const char *const in_shard[] = {"name",       "result", "primary", "error",
                                           "began_with", "hint",   "notes"};
    json_t *report = head("done"), *victim = shard("x", 50);
    json_object_set_new(report, "resumed", json_true());
    for (size_t i = 0; i < ARRAY_SIZE(in_head); i++)
        set_text(report, in_head[i], evil);
    for (size_t i = 0; i < ARRAY_SIZE(in_shard); i++)
        set_text(victim, in_shard[i], evil);
    AUTO_FREE char *page = page_with(report, json_pack("[o]", victim));
    expect_not(page, "<script");
    expect_not(page, "<b \"x\"");
    expect(page, "&lt;script&gt;alert(1)&lt;/script&gt;&lt;b &quot;x&quot; &#39;y&#39; &amp;amp;");
    static const char *const unseen[] = {"\x01", "\x1b", "\xe2\x80\xae", "\xe2\x81\xa6",
                                         "\xc2\x85"};
    for (size_t i = 0; i < ARRAY_SIZE(unseen); i++)
        expect_not(page, unseen[i]);
}

static void tags_are_closed(void **state UNUSED)
{
    static const char *const tags[][2] = {
        {"<div", "</div>"},         {"<svg ", "</svg>"}, {"<g>", "</g>"},
        {"<section", "</section>"}, {"<p ", "</p>"},     {"<span", "</span>"},
        {"<article", "</article>"}, {"<dl", "</dl>"}};
    json_t *bad = shard("orders-1", 60);
    set_text(bad, "result", "undone");
    set_text(bad, "error", "freeze: no");
    AUTO_FREE char *page =
        page_with(head("failed"), json_pack("[o, o]", shard("orders-0", 50), bad));
    for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
        size_t opened = count_of(page, tags[i][0]);
        if (strcmp(tags[i][0], "<p ") == 0)
            opened += count_of(page, "<p>");
        assert_int_equal(opened, count_of(page, tags[i][1]));
    }
}

static void a_run_without_shards_is_a_page(void **state UNUSED)
{
    AUTO_FREE char *page = page_with(head("done"), json_array());
    expect(page, "The run had no shards.");
    expect(page, "No write outage was measured");
    expect_not(page, "<table");
    expect_not(page, "nan");
}

static json_t *not_begun(const char *name)
{
    json_t *waiting = shard(name, 50);
    set_text(waiting, "result", "aborted");
    json_object_set_new(waiting, "write_outage_ms", json_null());
    json_object_set_new(waiting, "baseline_gap_ms", json_null());
    json_object_set_new(waiting, "critical_ms", json_null());
    json_object_set_new(waiting, "timeline", json_array());
    json_object_set_new(json_object_get(waiting, "phases_ms"), "freeze", json_real(0));
    return waiting;
}

static void shards_with_the_same_story_are_told_together(void **state UNUSED)
{
    AUTO_FREE char *page =
        page_with(head("aborted"), json_pack("[o, o, o]", not_begun("orders-0"),
                                             shard("orders-1", 50), not_begun("orders-2")));
    expect(page, "■ aborted</b> Stopped on demand.");
    expect(page, "2 shards: <bdi>orders-0</bdi>, <bdi>orders-2</bdi>");
    assert_int_equal(count_of(page, "<article"), 1);
    assert_int_equal(count_of(page, "✓ kept"), 2); /* nobody was closed for longer */
}

static void an_older_report_says_what_it_lacks(void **state UNUSED)
{
    static const char *const newer[] = {"by", "ordered", "began", "resumed", "promise"};
    json_t *report = head("done"), *old = shard("orders-0", 50);
    for (size_t i = 0; i < ARRAY_SIZE(newer); i++)
        json_object_del(report, newer[i]);
    json_object_del(old, "timeline");
    AUTO_FREE char *page = page_with(report, json_pack("[o]", old));
    expect(page, "There is no timeline in this report");
    expect(page, "<dt>Ordered by</dt><dd>not in this report");
    expect(page, "The promise is not in this report. Longest outage: 2.4&nbsp;ms");
    assert_int_equal(count_of(page, "? not known"), 2);
    expect(page, "<td>0.7<td>0.7<td>0.6<td>20.0<td>33.0<td>–<td>0");
}

/* What of the one shard differs from one that moved, and what becomes of the promise. */
static const struct {
    const char *key, *value; /* JSON; NULL: null */
    const char *result, *said;
} promises[] = {
    {"write_outage_ms", "29999.0", "moved", "✓ kept</b></p><p>Longest outage: 30.0&nbsp;s"},
    {"write_outage_ms", "30001.5", "moved", "✕ broken</b></p><p>1 shard took longer. Longest"},
    {"write_outage_ms", NULL, "moved", "? not known</b></p><p>The outage of 1 shard was not"},
    {"outage_at_least_ms", "30001.5", "undone",
     "✕ broken</b></p><p>1 shard took longer. Longest outage: at least 30.0&nbsp;s"},
    {"outage_at_least_ms", "29999.0", "undone",
     "? not known</b></p><p>The outage of 1 shard was not"},
    {"critical_ms", NULL, "stuck", "✕ broken</b></p><p>1 stuck shard may refuse writes"},
    {"critical_ms", "2.0", "stuck", "✕ broken</b></p><p>1 stuck shard may refuse writes"},
    {"writable", "false", "stuck", "✕ broken</b></p><p>1 stuck shard may refuse writes"},
    {"writable", "true", "stuck", "✓ kept</b></p><p>Longest outage: 2.4&nbsp;ms"},
    {"lost_transactions", "2", "moved", "✕ broken</b></p><p>2 transactions lost on 1 shard"},
    {"lost_transactions", "0", "stuck", "? not known</b></p><p>0 transactions lost so far"},
    {"lost_transactions", "0", "moved", "✓ kept</b></p><p>0 transactions lost."},
};

static void the_promise_is_kept_broken_or_not_known(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(promises); i++) {
        json_t *one = shard("orders-0", 50);
        set_text(one, "result", promises[i].result);
        if (strcmp(promises[i].key, "outage_at_least_ms") == 0)
            json_object_set_new(one, "write_outage_ms", json_null());
        json_object_set_new(one, promises[i].key,
                            promises[i].value ? json_loads(promises[i].value, JSON_DECODE_ANY, NULL)
                                              : json_null());
        AUTO_FREE char *page = page_with(head("done"), json_pack("[o]", one));
        expect(page, promises[i].said);
    }
}

static void waves_are_told_apart(void **state UNUSED)
{
    static const char *const waves[] = {"canary", "wave 2", "wave 2"};
    json_t *report = head("done"), *shards = json_array();
    json_object_set_new(report, "waves", json_integer(2));
    for (size_t i = 0; i < ARRAY_SIZE(waves); i++) {
        json_array_append_new(shards, shard("orders", 50));
        set_text(json_array_get(shards, i), "wave", waves[i]);
    }
    AUTO_FREE char *page = page_with(report, shards);
    expect(page, "<dt>Waves</dt><dd>canary&nbsp;(1), wave 2&nbsp;(2)</dd>");
    assert_int_equal(count_of(page, "<div class=\"wave\">"), 2);
    expect(page, "<th>lost<th>wave</thead>");
    assert_int_equal(count_of(page, "<td>wave 2\n"), 2);
}

static void a_run_that_was_stopped_says_why(void **state UNUSED)
{
    json_t *report = head("failed"), *one = shard("orders-0", 50), *two = shard("orders-1", 50);
    set_text(report, "stopped", "wave canary: 3 % of the writes failed");
    set_text(one, "result", "stopped");
    set_text(two, "result", "aborted");
    AUTO_FREE char *page = page_with(report, json_pack("[o, o]", one, two));
    expect(page, "Stopped: wave canary: 3 % of the writes failed");
    expect(page, "the run stopped before it: it serves at its old home");
    expect(page, "called off: it serves at its old home");
}

static void the_estimate_stands_beside_what_it_took(void **state UNUSED)
{
    json_t *report = head("done");
    json_object_set_new(report, "estimate_ms", json_real(128));
    AUTO_FREE char *page = page_with(report, json_pack("[o]", shard("orders-0", 50)));
    expect(page, "160&nbsp;ms, estimated 128&nbsp;ms (+25&nbsp;%)");
}

static void a_note_is_a_finding_and_no_alarm(void **state UNUSED)
{
    json_t *one = shard("orders-0", 50);
    set_text(one, "notes", "its lost primary does not answer\n");
    AUTO_FREE char *page = page_with(head("done"), json_pack("[o]", one));
    expect(page, "<dt>note</dt><dd>its lost primary does not answer");
    expect_not(page, "<path class=\"x\"");
}

static void a_failover_has_its_own_words(void **state UNUSED)
{
    json_t *report = head("done");
    set_text(report, "kind", "failover");
    set_text(report, "from", "east");
    AUTO_FREE char *page = page_with(report, json_pack("[o]", shard("orders-0", 50)));
    expect(page, "Holdfast failover in</p><h1>east</h1>");
    expect(page, "<th>outage<th>detect<th>fence<th>drain<th>elect<th>wait<th>open<th>publish<th>"
                 "follow<th>");
    expect_not(page, "freeze");
}

/* What the one shard says of its loss, and what becomes of the promise. */
static const struct {
    const char *lost, *evidence, *result, *said, *in_table;
} losses[] = {
    {"0", "all answered", "moved", "✓ kept</b></p><p>No acknowledged write is lost: every",
     "<td>0"},
    {"null", "w2 did not answer", "moved",
     "? not known</b></p><p>What 1 shard lost is not known: see the findings. </p>", "<td>?"},
    {"0", NULL, "moved", "? not known</b></p><p>What 1 shard lost is not known", "<td>?"},
    {"null", NULL, "stuck", "? not known</b></p><p>1 did not get another primary.", "<td>–"},
};

static void a_failover_lost_nothing_only_by_its_election(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(losses); i++) {
        json_t *report = head("done"), *one = shard("orders-0", 50);
        set_text(report, "kind", "failover");
        set_text(one, "result", losses[i].result);
        json_object_set_new(one, "lost_transactions",
                            json_loads(losses[i].lost, JSON_DECODE_ANY, NULL));
        if (losses[i].evidence)
            set_text(one, "loss_evidence", losses[i].evidence);
        AUTO_FREE char *page = page_with(report, json_pack("[o]", one));
        AUTO_FREE char *cell = mem_printf("%s\n</tbody>", losses[i].in_table);
        expect(page, losses[i].said);
        expect(page, cell);
        if (strcmp(losses[i].in_table, "<td>?") == 0)
            expect(page, "<dt>lost</dt><dd>not known: ");
    }
}

/* Its outage counts from the order: whether the promise was kept, nobody knows. */
static void a_failover_does_not_call_the_rto_kept(void **state UNUSED)
{
    json_t *report = head("done");
    set_text(report, "kind", "failover");
    AUTO_FREE char *page = page_with(report, json_pack("[o]", shard("orders-0", 50)));
    expect(page, "? not known</b></p><p>When the primary was lost is not known here. Longest, from "
                 "the order "
                 "only: 2.4&nbsp;ms");
}

/* One that a conductor saw from the loss on, of a region: as far as its bound goes. */
static void a_lost_region_is_measured_from_the_loss_on(void **state UNUSED)
{
    static const struct {
        int64_t rpo;
        const char *said;
    } cases[] = {{5000, "✓ kept"}, {1000, "? not known"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *report = head("done"), *one = shard("orders-0", 50);
        set_text(report, "kind", "failover");
        set_text(report, "measured_by", "conductor");
        json_object_set_new(json_object_get(report, "promise"), "rpo_ms",
                            json_integer(cases[i].rpo));
        set_text(one, "loss_evidence", "w2 did not answer; all until then is there");
        json_object_set_new(one, "lost_transactions", json_null());
        json_object_set_new(one, "loss_bound_ms", json_real(3200));
        AUTO_FREE char *page = page_with(report, json_pack("[o]", one));
        AUTO_FREE char *verdict = mem_printf(
            "%s</b></p><p>1 shard lost acknowledged writes of at most 3,200&nbsp;ms. </p>",
            cases[i].said);
        expect(page, "<h1>west → east</h1>");
        expect(page, verdict);
        expect_not(page, "from the order only");
    }
}

static void one_that_takes_very_long_does_not_flatten_the_others(void **state UNUSED)
{
    json_t *shards = json_array(), *stuck = shard("late", 60);
    for (int i = 0; i < 8; i++)
        json_array_append_new(shards, shard("quick", 50 + i));
    set_text(stuck, "result", "stuck");
    json_array_append_new(json_object_get(stuck, "timeline"), span("undo", 115, 30000));
    json_array_append_new(shards, stuck);
    AUTO_FREE char *page = page_with(head("stuck"), shards);
    expect(page, "goes on far beyond it");
    assert_int_equal(count_of(page, "<path class=\"v\""), 2); /* in both drawings */
}

static void two_thousand_shards_fit_a_page_that_opens(void **state UNUSED)
{
    json_t *shards = json_array();
    for (int i = 0; i < MANY; i++) {
        AUTO_FREE char *name = mem_printf("customer-orders-%04d", i);
        json_t *one = shard(name, 50 + 123.456 * i);
        if (i % 4 == 0) { /* each with a story of its own */
            AUTO_FREE char *error = mem_printf("freeze: %s: %0300d", name, i);
            set_text(one, "result", "undone");
            set_text(one, "error", error);
        }
        json_array_append_new(shards, one);
    }
    AUTO_FREE char *page = page_with(head("failed"), shards);
    assert_true(strlen(page) < PAGE_MAX_BYTES);
    assert_int_equal(count_of(page, "<tr><th>customer-orders-"), MANY);
    assert_int_equal(count_of(page, "px\">customer-orders-"), MANY / 50); /* beside the drawing */
    assert_int_equal(count_of(page, "<article"), 200);
    expect(page, "And 300 more shards");
    expect(page, "<details>"); /* closed */
}

static void what_is_no_report_is_refused(void **state UNUSED)
{
    static const char *const bad[] = {"", "{", "[]", "null", "{\"shards\": 1}", "{\"shards\": {}}"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct buf page = {0};
        struct err err = ERR_INIT;
        assert_int_equal(report_html_format(bad[i], &page, &err), ST_INVALID);
        expect(err.text, "the report in the store does not read");
        assert_null(page.data);
    }
}

static void wrong_types_and_absurd_figures_are_not_known(void **state UNUSED)
{
    AUTO_FREE char *page = page_of(
        "{\"run\": 7, \"took_ms\": \"x\", \"promise\": [], \"shards\": [1, null, {}, {\"name\": [],"
        "\"write_outage_ms\": 1e300, \"baseline_gap_ms\": 0, \"lost_transactions\": -1,"
        "\"timeline\": [1, {}, {\"phase\": \"freeze\", \"from_ms\": 9, \"to_ms\": 3},"
        "{\"phase\": \"freeze\", \"from_ms\": -9, \"to_ms\": 1e300},"
        "{\"phase\": \"nap\", \"from_ms\": 1, \"to_ms\": 2},"
        "{\"phase\": \"freeze\", \"from_ms\": 0, \"to_ms\": 1e300}]}]}");
    expect(page, "All shards</h2> 4");
    expect_not(page, "nan");
    expect_not(page, "inf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_says_who_when_and_what),
        cmocka_unit_test(the_page_needs_nothing_beside_it),
        cmocka_unit_test(hostile_text_stays_text),
        cmocka_unit_test(tags_are_closed),
        cmocka_unit_test(a_run_without_shards_is_a_page),
        cmocka_unit_test(shards_with_the_same_story_are_told_together),
        cmocka_unit_test(an_older_report_says_what_it_lacks),
        cmocka_unit_test(the_promise_is_kept_broken_or_not_known),
        cmocka_unit_test(waves_are_told_apart),
        cmocka_unit_test(a_run_that_was_stopped_says_why),
        cmocka_unit_test(the_estimate_stands_beside_what_it_took),
        cmocka_unit_test(a_note_is_a_finding_and_no_alarm),
        cmocka_unit_test(a_failover_has_its_own_words),
        cmocka_unit_test(a_failover_lost_nothing_only_by_its_election),
        cmocka_unit_test(a_failover_does_not_call_the_rto_kept),
        cmocka_unit_test(a_lost_region_is_measured_from_the_loss_on),
        cmocka_unit_test(one_that_takes_very_long_does_not_flatten_the_others),
        cmocka_unit_test(two_thousand_shards_fit_a_page_that_opens),
        cmocka_unit_test(what_is_no_report_is_refused),
        cmocka_unit_test(wrong_types_and_absurd_figures_are_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
