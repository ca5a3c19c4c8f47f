/* SPDX-License-Identifier: Apache-2.0
 * The parts of the HTML report in words: the shards that did not simply move, those with the same
 * story told once; and the table of all shards. */
#include "report/page.h"

#include "base/mem.h"
#include "base/scope.h"

#include <stdlib.h>
#include <string.h>

/* Bounds, so that a run in which everything went wrong still makes a page that opens. */
enum { STORIES_MAX = 200, NAMES_MAX = 24, TEXT_MAX_BYTES = 2000, OPEN_MAX = 100 };

/* ---- findings ---- */

/* The worst first. */
static const int severities[MOVE_RESULTS] = {
    [MOVE_STUCK] = 0, [MOVE_PENDING] = 1, [MOVE_FENCED] = 2,  [MOVE_UNDONE] = 3,
    [MOVE_MOVED] = 4, [MOVE_STOPPED] = 5, [MOVE_ABORTED] = 6, [MOVE_ALREADY_THERE] = 7,
};

static int compare_stories(const struct page_shard *a, const struct page_shard *b)
{
    int order = severities[a->result] - severities[b->result];
    order = order ? order : strcmp(a->said, b->said);
    order = order ? order : strcmp(a->error, b->error);
    order = order ? order : strcmp(a->cause, b->cause);
    order = order ? order : strcmp(a->hint, b->hint);
    order = order ? order : strcmp(a->notes, b->notes);
    order = order ? order : strcmp(a->doubt, b->doubt);
    return order ? order : (a->lost > b->lost) - (a->lost < b->lost);
}

static int by_story(const void *left, const void *right)
{
    const struct page_shard *a = *(const struct page_shard *const *)left;
    const struct page_shard *b = *(const struct page_shard *const *)right;
    int order = compare_stories(a, b);
    return order ? order : (a > b) - (a < b); /* of one array: as in the report */
}

static void add_capped(struct buf *out, const char *text)
{
    size_t length = strlen(text);
    bool is_long = length > TEXT_MAX_BYTES;
    if (is_long)
        for (length = TEXT_MAX_BYTES; (text[length] & 0xc0) == 0x80; length--)
            ;
    page_text_bytes(out, text, length);
    if (is_long)
        buf_add(out, " … (all of it: --json)");
}

static void add_line(struct buf *out, const char *class_name, const char *label, const char *text)
{
    if (!text[0])
        return;
    buf_printf(out, "<div class=\"%s\"><dt>%s</dt><dd>", class_name, label);
    add_capped(out, text);
    buf_add(out, "</dd></div>");
}

/* What the result's word means, where nothing else says it. */
static const char *meaning_of(const struct page *page, const struct page_shard *shard)
{
    if (shard->error[0])
        return "";
    if (shard->result == MOVE_ABORTED)
        return page->is_failover ? "called off: no other server was opened"
                                 : "called off: it serves at its old home";
    return shard->result == MOVE_STOPPED ? "the run stopped before it: it serves at its old home"
                                         : "";
}

static void add_story(const struct page *page, const struct page_shard *const *shards, size_t count,
                      struct buf *out)
{
    const struct page_shard *first = shards[0];
    buf_printf(out, "<article class=\"%s\"><h3><b class=\"badge %s\">%s ",
               page_class(first->result), page_class(first->result), page_sign(first->result));
    page_text(out, first->said);
    buf_add(out, "</b>");
    if (count > 1)
        buf_printf(out, " %zu shards:", count);
    for (size_t i = 0; i < count && i < NAMES_MAX; i++) {
        buf_add(out, i ? ", <bdi>" : " <bdi>");
        page_text(out, shards[i]->name);
        buf_add(out, "</bdi>");
    }
    if (count > NAMES_MAX)
        buf_printf(out, " and %zu more", count - NAMES_MAX);
    buf_add(out, "</h3><dl>");
    add_line(out, "why", "why", first->error[0] ? first->error : meaning_of(page, first));
    add_line(out, "note", "began with", first->cause);
    add_line(out, "next", "next", first->hint);
    if (first->doubt[0]) {
        AUTO_FREE char *doubt = mem_printf("not known: %s", first->doubt);
        add_line(out, "why", "lost", doubt);
    }
    add_line(out, "note", "note", first->notes);
    if (first->lost > 0)
        buf_printf(out, "<div class=\"why\"><dt>lost</dt><dd>%lld transaction%s</dd></div>",
                   (long long)first->lost, first->lost == 1 ? "" : "s");
    buf_add(out, "</dl></article>");
}

static void add_stories(const struct page *page, const struct page_shard **shards, size_t count,
                        struct buf *out)
{
    size_t told = 0, at = 0;
    for (; at < count && told < STORIES_MAX; told++) {
        size_t next = at + 1;
        while (next < count && compare_stories(shards[at], shards[next]) == 0)
            next++;
        add_story(page, &shards[at], next - at, out);
        at = next;
    }
    if (at < count)
        buf_printf(out, "<p>And %zu more shards: <code>holdfast report RUN --json</code>.</p>",
                   count - at);
}

void page_findings(const struct page *page, struct buf *out)
{
    AUTO_FREE const struct page_shard **shards = mem_zalloc((page->count + 1) * sizeof(*shards));
    size_t count = 0;
    for (size_t i = 0; i < page->count; i++)
        if (!page_is_plain(&page->shards[i]))
            shards[count++] = &page->shards[i];
    buf_add(out, "<section class=\"findings\"><h2>Findings</h2>");
    if (count == 0)
        buf_add(out, page->count ? "<p>None: every shard simply moved, or was there already.</p>"
                                 : "<p>The run had no shards.</p>");
    qsort(shards, count, sizeof(*shards), by_story);
    add_stories(page, shards, count, out);
    buf_add(out, "</section>\n");
}

/* ---- all shards ---- */

/* A phase that did not happen took 0. */
static void add_cell(struct buf *out, double ms)
{
    if (ms > 0)
        buf_printf(out, "<td>%.1f", ms);
    else
        buf_add(out, "<td>–");
}

/* End tags that HTML lets one leave out are left out: there may be thousands of rows. */
static void add_table_row(const struct page *page, const struct page_shard *shard, struct buf *out)
{
    buf_add(out, "<tr><th>");
    page_text(out, shard->name);
    buf_printf(out, "<td class=\"%s\">%s ", page_class(shard->result), page_sign(shard->result));
    page_text(out, shard->said);
    buf_add(out, "<td>");
    page_text(out, shard->primary);
    if (shard->outage < 0 && shard->at_least >= 0)
        buf_printf(out, "<td>&gt;%.1f", shard->at_least);
    else
        add_cell(out, shard->outage);
    if (!page->is_failover)
        add_cell(out, shard->before);
    for (size_t i = 0; i < page->phase_count; i++)
        add_cell(out, shard->phases[page->phases[i]]);
    if (shard->lost >= 0)
        buf_printf(out, "<td>%lld", (long long)shard->lost);
    else
        buf_add(out, shard->doubt[0] ? "<td>?" : "<td>–");
    if (page->has_waves) {
        buf_add(out, "<td>");
        page_text(out, shard->wave);
    }
    buf_add(out, "\n");
}

void page_table(const struct page *page, struct buf *out)
{
    if (page->count == 0)
        return;
    bool is_open = page->count <= OPEN_MAX;
    buf_printf(out, "<section><details%s><summary><h2>All shards</h2> ", is_open ? " open" : "");
    page_count(out, (long long)page->count);
    buf_add(out, ", times in ms</summary><div class=\"wide\" tabindex=\"0\"><table "
                 "class=\"shards\"><thead><tr>"
                 "<th>shard<th>result<th>primary<th>outage");
    buf_add(out, page->is_failover ? "" : "<th>before");
    for (size_t i = 0; i < page->phase_count; i++)
        buf_printf(out, "<th>%s", move_phase_name(page->phases[i]));
    buf_printf(out, "<th>lost%s</thead><tbody>\n", page->has_waves ? "<th>wave" : "");
    for (size_t i = 0; i < page->count; i++)
        add_table_row(page, &page->shards[i], out);
    buf_add(out, "</tbody></table></div></details></section>\n");
}
