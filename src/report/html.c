/* SPDX-License-Identifier: Apache-2.0
 * The HTML report, put together: what was ordered and what came of it, the promise, the outage, the
 * timeline, the findings, all shards. Says what it does not know instead of guessing. */
#include "report/html.h"

#include "base/scope.h"
#include "report/page.h"

#include <stdio.h>
#include <string.h>

static const char none[] = "not in this report";

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

/* ---- head ---- */

static const struct result {
    const char *name, *class_name, *sign, *sentence;
} results[] = {
    {"done", "ok", "✓", "Every shard serves at "},
    {"aborted", "back", "■", "Stopped on demand. No shard is in between."},
    {"failed", "back", "✕", "Some shards did not move. No shard is in between."},
    {"stuck", "bad", "!", "Some shards wait for an operator."},
    {"running", "back", "…", "Not finished: this is what is known so far."},
    {NULL, "bad", "?", ""},
};

static const struct result *find_result(const char *name)
{
    const struct result *at = results;
    while (at->name && strcmp(at->name, name) != 0)
        at++;
    return at;
}

static void add_fact(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "<div><dt>%s</dt><dd>", name);
    page_text(out, value[0] ? value : none);
    buf_add(out, "</dd></div>");
}

/* "2026-11-22T22:15:02.123Z" as people write it. */
static void add_time(struct buf *out, const char *name, const char *wall)
{
    char text[48] = "";
    if (strlen(wall) >= 20 && wall[10] == 'T')
        snprintf(text, sizeof(text), "%.10s %.8s UTC", wall, wall + 11);
    add_fact(out, name, text[0] ? text : wall);
}

/* A failover has the region in which another server takes over; a move has two. */
static void add_route(const struct page *page, struct buf *out)
{
    if (!page->is_failover || page->leaves_region) {
        page_text(out, page_head(page, "from"));
        buf_add(out, " → ");
    }
    page_text(out, page_head(page, "to"));
}

/* Each line of them is one order. */
static void add_orders(const char *audit, struct buf *out)
{
    if (!audit[0])
        return;
    buf_add(out, "<ul class=\"orders\">");
    for (const char *at = audit; *at; at += *at == '\n') {
        size_t length = strcspn(at, "\n");
        buf_add(out, "<li>");
        page_text_bytes(out, at, length);
        buf_add(out, "</li>");
        at += length;
    }
    buf_add(out, "</ul>");
}

static void add_estimate(const struct page *page, struct buf *out)
{
    if (page->estimate < 0)
        return;
    buf_add(out, ", estimated ");
    page_ms(out, page->estimate);
    if (page->took >= 0 && page->estimate > 0)
        buf_printf(out, " (%+.0f&nbsp;%%)", 100 * (page->took / page->estimate - 1));
}

static void add_waves(const struct page *page, struct buf *out)
{
    if (!page->has_waves)
        return;
    buf_add(out, "<div><dt>Waves</dt><dd>");
    for (size_t from = 0, to = 0; from < page->count; from = to) {
        const char *name = page->shards[from].wave;
        for (to = from; to < page->count && strcmp(page->shards[to].wave, name) == 0; to++)
            ;
        buf_add(out, from ? ", " : "");
        page_text(out, name);
        buf_printf(out, "&nbsp;(%zu)", to - from);
    }
    buf_add(out, "</dd></div>");
}

static void add_head(const struct page *page, struct buf *out)
{
    const struct result *result = find_result(page_head(page, "result"));
    buf_add(out, "<header><p class=\"eyebrow\">Holdfast ");
    page_text(out, page_head(page, "kind"));
    buf_add(out, page->is_failover && !page->leaves_region ? " in</p><h1>" : "</p><h1>");
    add_route(page, out);
    buf_printf(out, "</h1><p class=\"outcome\"><b class=\"badge %s\">%s ", result->class_name,
               result->sign);
    page_text(out, page_head(page, "result"));
    buf_printf(out, "</b> %s", result->sentence);
    if (result == results) {
        page_text(out, page_head(page, "to"));
        buf_add(out, ".");
    }
    buf_add(out, "</p>");
    if (page_head(page, "stopped")[0]) {
        buf_add(out, "<p class=\"stopped\">Stopped: ");
        page_text(out, page_head(page, "stopped"));
        buf_add(out, "</p>");
    }
    buf_add(out, "<dl class=\"facts\">");
    add_fact(out, "Run", page_head(page, "run"));
    add_fact(out, "Ordered by", page_head(page, "by"));
    if (page_head(page, "reason")[0])
        add_fact(out, "Reason", page_head(page, "reason"));
    if (page->is_resumed)
        add_time(out, "Ordered", page_head(page, "ordered"));
    add_time(out, page->is_resumed ? "Resumed" : "Began", page_head(page, "began"));
    buf_add(out, "<div><dt>Took</dt><dd>");
    page_ms(out, page->took);
    if (page->since_ordered >= 0) {
        buf_add(out, " since it was resumed, ");
        page_ms(out, page->since_ordered);
        buf_add(out, " since it was ordered");
    }
    add_estimate(page, out);
    buf_add(out, "</dd></div><div><dt>Shards</dt><dd>");
    page_count(out, (long long)page->count);
    buf_add(out, "</dd></div>");
    add_waves(page, out);
    buf_add(out, "</dl>");
    add_orders(page_head(page, "audit"), out);
    buf_add(out, "</header>\n");
}

/* ---- the promise ---- */

struct tally {
    size_t by_result[MOVE_RESULTS];
    size_t stuck_closed; /* stuck, and not known to accept writes */
    size_t unmeasured;   /* perhaps frozen, but not measured */
    size_t over;         /* longer than the promised time */
    size_t losers;       /* shards with lost transactions */
    size_t proven;       /* of a failover: nothing acknowledged was lost */
    size_t bounded;      /* the same: it is known how much at most */
    double bound;        /* the largest of these, in ms */
    long long lost;
    const struct page_shard *worst; /* the longest outage; NULL: none is known */
};

/* As measured, or what it was at least. */
static double outage_of(const struct page_shard *shard)
{
    return shard->outage >= 0 ? shard->outage : shard->at_least;
}

/* Of a run that was resumed, another process may have frozen any shard. */
static bool is_unmeasured(const struct page *page, const struct page_shard *shard)
{
    bool was_frozen = shard->result == MOVE_MOVED || shard->phases[PHASE_FREEZE] > 0 ||
                      (page->is_resumed && shard->result != MOVE_ALREADY_THERE);
    bool is_over = page->rto >= 0 && outage_of(shard) > page->rto;
    return shard->outage < 0 && was_frozen && shard->result != MOVE_STUCK && !is_over;
}

static struct tally count_up(const struct page *page)
{
    struct tally tally = {0};
    for (size_t i = 0; i < page->count; i++) {
        const struct page_shard *shard = &page->shards[i];
        tally.by_result[shard->result]++;
        tally.stuck_closed += shard->result == MOVE_STUCK && !shard->is_writable;
        tally.unmeasured += is_unmeasured(page, shard);
        tally.over += page->rto >= 0 && outage_of(shard) > page->rto;
        tally.losers += shard->lost > 0;
        tally.lost += shard->lost > 0 ? shard->lost : 0;
        bool is_bounded = shard->result == MOVE_MOVED && shard->doubt[0] && shard->loss_bound >= 0;
        tally.proven += shard->result == MOVE_MOVED && !shard->doubt[0];
        tally.bounded += is_bounded;
        tally.bound =
            is_bounded && shard->loss_bound > tally.bound ? shard->loss_bound : tally.bound;
        if (outage_of(shard) >= 0 && (!tally.worst || outage_of(shard) > outage_of(tally.worst)))
            tally.worst = shard;
    }
    return tally;
}

enum verdict { KEPT, BROKEN, UNKNOWN };

static void open_verdict(struct buf *out, const char *name, double promised, enum verdict verdict)
{
    static const struct {
        const char *class_name, *words;
    } looks[] = {[KEPT] = {"ok", "✓ kept"},
                 [BROKEN] = {"bad", "✕ broken"},
                 [UNKNOWN] = {"back", "? not known"}};
    buf_printf(out, "<div class=\"card\"><h3>%s", name);
    if (promised >= 0)
        buf_printf(out, " <span>%g&nbsp;%s</span>", promised < 1000 ? promised : promised / 1000,
                   promised < 1000 ? "ms" : "s");
    buf_printf(out, "</h3><p><b class=\"badge %s\">%s</b></p><p>", looks[verdict].class_name,
               looks[verdict].words);
}

static void add_rto(const struct page *page, const struct tally *tally, struct buf *out)
{
    bool is_broken = tally->over || tally->stuck_closed;
    bool is_untimed = page->is_failover && !page->is_timed; /* the loss was before the order */
    bool is_known = page->rto >= 0 && tally->unmeasured == 0 && !is_untimed;
    open_verdict(out, "RTO", page->rto,
                 page->rto < 0 ? UNKNOWN
                 : is_broken   ? BROKEN
                 : is_known    ? KEPT
                               : UNKNOWN);
    if (page->rto < 0)
        buf_printf(out, "The promise is %s. ", none);
    if (tally->over)
        buf_printf(out, "%zu shard%s took longer. ", tally->over, plural(tally->over));
    if (tally->stuck_closed)
        buf_printf(out, "%zu stuck shard%s may refuse writes until an operator acts. ",
                   tally->stuck_closed, plural(tally->stuck_closed));
    if (tally->unmeasured)
        buf_printf(out, "The outage of %zu shard%s was not measured. ", tally->unmeasured,
                   plural(tally->unmeasured));
    if (is_untimed)
        buf_add(out, "When the primary was lost is not known here. ");
    if (tally->worst) {
        buf_add(out, is_untimed ? "Longest, from the order only: " : "Longest outage: ");
        if (tally->worst->outage < 0)
            buf_add(out, "at least ");
        page_ms(out, outage_of(tally->worst));
        buf_add(out, ", at <bdi>");
        page_text(out, tally->worst->name);
        buf_add(out, "</bdi>.");
    } else if (tally->unmeasured == 0 && tally->stuck_closed == 0) {
        buf_add(out, "No shard was closed for writes.");
    }
    buf_add(out, "</p></div>");
}

/* A failover counts nothing: its election knows that nothing acknowledged is lost, or does not. */
static void add_rpo_of_failover(const struct page *page, const struct tally *tally, struct buf *out)
{
    size_t doubtful = tally->by_result[MOVE_MOVED] - tally->proven - tally->bounded;
    bool is_known = tally->proven > 0 && tally->proven == page->count;
    bool is_within = tally->proven + tally->bounded == page->count && tally->bound <= page->rpo;
    open_verdict(out, "RPO", page->rpo,
                 (is_known || is_within) && page->count > 0 && page->rpo >= 0 ? KEPT : UNKNOWN);
    if (page->rpo < 0)
        buf_printf(out, "The promise is %s. ", none);
    if (tally->proven) {
        buf_add(out, "No acknowledged write is lost");
        if (!is_known)
            buf_printf(out, " at %zu shard%s", tally->proven, plural(tally->proven));
        buf_add(out, ": every replica of the region answered, and the new primary has all that "
                     "they had received. ");
    }
    if (tally->bounded) {
        buf_printf(out, "%zu shard%s lost acknowledged writes of at most ", tally->bounded,
                   plural(tally->bounded));
        page_ms(out, tally->bound);
        buf_add(out, ". ");
    }
    if (doubtful)
        buf_printf(out, "What %zu shard%s lost is not known: see the findings. ", doubtful,
                   plural(doubtful));
    if (page->count > tally->by_result[MOVE_MOVED])
        buf_printf(out, "%zu did not get another primary.",
                   page->count - tally->by_result[MOVE_MOVED]);
    buf_add(out, "</p></div>");
}

static void add_rpo(const struct page *page, const struct tally *tally, struct buf *out)
{
    size_t stuck = tally->by_result[MOVE_STUCK];
    open_verdict(out, "RPO", page->rpo,
                 page->rpo < 0 ? UNKNOWN
                 : tally->lost ? BROKEN
                 : stuck       ? UNKNOWN
                               : KEPT);
    if (page->rpo < 0)
        buf_printf(out, "The promise is %s. ", none);
    page_count(out, tally->lost);
    buf_printf(out, " transaction%s lost", tally->lost == 1 ? "" : "s");
    if (tally->lost)
        buf_printf(out,
                   " on %zu shard%s: written at the old primary after its final position. A "
                   "planned move must lose none.",
                   tally->losers, plural(tally->losers));
    else if (stuck)
        buf_add(out, " so far; what stuck shards have is seen when they are resumed.");
    else
        buf_add(out, ".");
    buf_add(out, "</p></div>");
}

static void add_tally(const struct page *page, const struct tally *tally, struct buf *out)
{
    static const enum move_result order[] = {MOVE_MOVED,   MOVE_ALREADY_THERE, MOVE_UNDONE,
                                             MOVE_ABORTED, MOVE_STOPPED,       MOVE_STUCK,
                                             MOVE_FENCED,  MOVE_PENDING};
    buf_add(out, "<div class=\"card\"><h3>Shards <span>");
    page_count(out, (long long)page->count);
    buf_add(out, "</span></h3><div class=\"share\" aria-hidden=\"true\">");
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        if (tally->by_result[order[i]])
            buf_printf(out, "<i class=\"%s\" style=\"flex-grow:%zu\"></i>", page_class(order[i]),
                       tally->by_result[order[i]]);
    buf_add(out, "</div><ul>");
    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        if (!tally->by_result[order[i]])
            continue;
        buf_printf(out, "<li><b class=\"%s\">%s</b> ", page_class(order[i]), page_sign(order[i]));
        page_count(out, (long long)tally->by_result[order[i]]);
        buf_printf(out, " %s</li>",
                   order[i] == MOVE_PENDING ? "other" : move_result_name(order[i]));
    }
    buf_add(out, "</ul></div>");
}

static void add_promise(const struct page *page, struct buf *out)
{
    struct tally tally = count_up(page);
    buf_add(out, "<section><h2>The promise</h2><div class=\"cards\">");
    add_rto(page, &tally, out);
    if (page->is_failover)
        add_rpo_of_failover(page, &tally, out);
    else
        add_rpo(page, &tally, out);
    add_tally(page, &tally, out);
    buf_add(out, "</div></section>\n");
}

/* ---- the page ---- */

enum status report_html_format(const char *json, struct buf *out, struct err *err)
{
    AUTO(page_release) struct page page = {0};
    enum status status = page_load(&page, json, err);
    if (status)
        return status;
    buf_add(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                 "<meta name=\"color-scheme\" content=\"light dark\">"
                 "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                 "style-src 'unsafe-inline'\"><title>");
    add_route(&page, out);
    buf_add(out, ": ");
    page_text(out, page_head(&page, "result"));
    buf_add(out, ", run ");
    page_text(out, page_head(&page, "run"));
    buf_printf(out, "</title><style>%s</style></head>\n<body><main>\n", page_style);
    add_head(&page, out);
    add_promise(&page, out);
    page_spread(&page, out);
    page_findings(&page, out);
    page_hooks(&page, out);
    page_timeline(&page, out);
    page_table(&page, out);
    buf_add(out, "<footer>Holdfast " HOLDFAST_VERSION ". The same for programs: <code>holdfast "
                 "report ");
    page_text(out, page_head(&page, "run"));
    buf_add(out, " --json</code></footer>\n</main></body></html>\n");
    return ST_OK;
}
