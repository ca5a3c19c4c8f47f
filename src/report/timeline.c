/* SPDX-License-Identifier: Apache-2.0
 * The timeline of the HTML report: a row a shard, what it did when since the run began, and beside
 * it, much enlarged, what its clients waited for, counted from its freeze. Rows get thin and names
 * sparse as shards get many. The drawings are stretched to the page's width by the browser, so
 * names and figures stand outside them, as text. */
#include "report/page.h"

#include "base/scope.h"
#include "base/stats.h"

#include <math.h>
#include <string.h>

enum {
    UNITS = 10000,  /* the width of a drawing; some 700 px on a screen */
    BAR_UNITS = 14, /* the least that shows */
    OUTAGE_UNITS = 40,
    EDGE_UNITS = 150, /* says at the right edge that it goes on */
    CHUNK_PX = 300,   /* a drawing; paper is cut between two */
    RUN_TICKS = 6,
    ZOOM_TICKS = 4,
    LETTER_PX = 7,
    FIGURES_MAX = 40, /* rows with the outage in figures */
    HOVER_MAX = 400   /* rows that light up */
};

/* px of a row, by the number of rows; and of what is in it. */
static const struct look {
    size_t up_to;
    int row, bar_top, bar, outage_top, outage, names_every;
    bool is_thin; /* no room for the outage below the bar: it shows from behind it */
} looks[] = {
    {12, 28, 5, 13, 20, 3, 1, false}, {40, 18, 3, 9, 13, 2, 1, false},
    {120, 10, 1, 6, 8, 1, 2, false},  {400, 5, 0, 4, 0, 4, 10, true},
    {1000, 4, 0, 3, 0, 3, 20, true},  {SIZE_MAX, 2, 0, 2, 0, 2, 50, true},
};

struct strip {
    const struct page *page;
    const struct look *look;
    double run_end, zoom_end;     /* ms at the right edges */
    bool is_run_cut, is_zoom_cut; /* something goes on beyond */
    int names_px;
};

/* One of the two drawings of a row. */
struct window {
    double origin, end; /* ms */
    bool is_zoom;
};

/* ---- what to show ---- */

static bool is_critical(enum move_phase phase)
{
    return phase == PHASE_FREEZE || phase == PHASE_PROMOTE || phase == PHASE_PUBLISH ||
           phase == PHASE_UNDO || (phase >= PHASE_FENCE && phase <= PHASE_OPEN);
}

/* Its colour in the style sheet. A failover has its own phases, and the same colours. */
static char class_of(enum move_phase phase)
{
    static const char classes[MOVE_PHASES] = {
        [PHASE_FENCE] = 'b', [PHASE_DRAIN] = 'a', [PHASE_ELECT] = 'f',
        [PHASE_WAIT] = 'g',  [PHASE_OPEN] = 'c',  [PHASE_FOLLOW] = 'e',
    };
    return classes[phase] ? classes[phase] : (char)('a' + phase);
}

/* Until when the clients of the shard were concerned, from its freeze on. */
static double concern_of(const struct page_shard *shard)
{
    double until = fmax(shard->outage, 0);
    for (size_t i = 0; i < shard->span_count; i++)
        if (is_critical(shard->spans[i].phase))
            until = fmax(until, shard->spans[i].to - shard->frozen);
    return until;
}

/* A shard that took very long must not flatten all others: what goes on beyond the edge is marked.
 */
static void choose_zoom(struct strip *strip)
{
    AUTO(stats_release) struct stats stats = {0};
    for (size_t i = 0; i < strip->page->count; i++)
        if (strip->page->shards[i].frozen >= 0)
            stats_add(&stats, concern_of(&strip->page->shards[i]));
    double most = stats_percentile(&stats, 100), usual = stats_percentile(&stats, 75);
    strip->is_zoom_cut = most > 6 * usual;
    strip->zoom_end = fmax(strip->is_zoom_cut ? 3 * usual : most, 0.1) * 1.04;
}

static void choose_run(struct strip *strip)
{
    double usual = 0;
    for (size_t i = 0; i < strip->page->count; i++) {
        const struct page_shard *shard = &strip->page->shards[i];
        if (shard->span_count > 0 && shard->result == MOVE_MOVED)
            usual = fmax(usual, shard->spans[shard->span_count - 1].to);
    }
    strip->is_run_cut = usual > 0 && strip->page->end > 2 * usual;
    strip->run_end = strip->is_run_cut ? 1.25 * usual : strip->page->end;
}

static const struct look *choose_look(size_t count)
{
    size_t i = 0;
    while (count > looks[i].up_to)
        i++;
    return &looks[i];
}

static int choose_names_px(const struct page *page)
{
    size_t longest = 4;
    for (size_t i = 0; i < page->count; i++) {
        size_t length = strlen(page->shards[i].name);
        longest = length > longest ? length : longest;
    }
    return 12 + LETTER_PX * (longest < 22 ? (int)longest : 22);
}

/* ---- axes ---- */

static double tick_step(const struct window *window)
{
    return page_nice_above(window->end / (window->is_zoom ? ZOOM_TICKS : RUN_TICKS));
}

static void add_axis(const struct window *window, struct buf *out)
{
    double step = tick_step(window);
    buf_add(out, "<svg width=\"100%\" height=\"20\" aria-hidden=\"true\">");
    for (int i = 0; i * step <= window->end; i++) {
        double x = 100 * i * step / window->end;
        buf_printf(out, "<text class=\"%s%s\" x=\"%.2f%%\" y=\"14\">",
                   i == 0   ? ""
                   : x > 88 ? "end" /* a phone has no room beside the drawing */
                            : "mid",
                   i % 2 ? " odd" : "", x);
        if (i * step >= 1000)
            page_count(out, llround(i * step));
        else
            buf_printf(out, "%g", i * step);
        buf_add(out, "</text>");
    }
    buf_add(out, "</svg>");
}

static void add_grid(const struct window *window, int height, struct buf *out)
{
    double step = tick_step(window);
    buf_add(out, "<path class=\"grid\" d=\"");
    for (int i = 0; i * step <= window->end; i++)
        buf_printf(out, "M%ld 0v%d", lround(UNITS * i * step / window->end), height);
    buf_add(out, "\"/>");
}

/* ---- rows ---- */

static long unit_of(const struct window *window, double ms)
{
    return lround(UNITS * fmin(fmax((ms - window->origin) / window->end, 0), 1));
}

struct bar {
    char class_name;
    double from, to;
    long least; /* units */
    int top, height;
};

static void add_bar(const struct window *window, const struct bar *bar, struct buf *out)
{
    long from = unit_of(window, bar->from), to = unit_of(window, bar->to);
    if (from >= UNITS)
        from = UNITS - bar->least;
    if (to < from + bar->least)
        to = from + bar->least;
    buf_printf(out, "<path class=\"%c\" d=\"M%ld %dH%ldv%dH%ldz\"/>", bar->class_name, from,
               bar->top, to, bar->height, from);
}

/* What clients wait for is drawn over the rest: it must be seen however short it is. */
static void add_phases(const struct strip *strip, const struct page_shard *shard,
                       const struct window *window, int y, struct buf *out)
{
    for (int critical = window->is_zoom; critical <= 1; critical++)
        for (size_t i = 0; i < shard->span_count; i++) {
            const struct page_span *span = &shard->spans[i];
            if (is_critical(span->phase) != critical || span->from > window->origin + window->end ||
                span->to < window->origin)
                continue;
            struct bar bar = {class_of(span->phase),    span->from,      span->to, BAR_UNITS,
                              y + strip->look->bar_top, strip->look->bar};
            add_bar(window, &bar, out);
        }
}

/* The outage is known by its length only; it is drawn from the freeze on. */
static void add_outage(const struct strip *strip, const struct page_shard *shard,
                       const struct window *window, int y, struct buf *out)
{
    double before = fmax(shard->phases[PHASE_DETECT], 0); /* of a failover: before its order */
    if (shard->outage < 0 || shard->frozen < 0)
        return;
    bool is_behind = window->is_zoom && strip->look->is_thin;
    struct bar bar = {is_behind ? 'p' : 'o',
                      shard->frozen,
                      shard->frozen + fmax(shard->outage - before, 0),
                      window->is_zoom ? BAR_UNITS : OUTAGE_UNITS,
                      y + strip->look->outage_top,
                      strip->look->outage};
    add_bar(window, &bar, out);
}

static void add_edge(const struct strip *strip, const struct page_shard *shard,
                     const struct window *window, int y, struct buf *out)
{
    double until = window->is_zoom     ? shard->frozen + concern_of(shard)
                   : shard->span_count ? shard->spans[shard->span_count - 1].to
                                       : 0;
    if (until > window->origin + window->end)
        buf_printf(out, "<path class=\"v\" d=\"M%d %dh%dv%dh-%dz\"/>", UNITS - EDGE_UNITS, y,
                   EDGE_UNITS, strip->look->row, EDGE_UNITS);
}

/* An outage that shows from behind comes before the bars. */
static void add_bars(const struct strip *strip, const struct page_shard *shard,
                     const struct window *window, int y, struct buf *out)
{
    bool is_behind = window->is_zoom && strip->look->is_thin;
    if (is_behind)
        add_outage(strip, shard, window, y, out);
    add_phases(strip, shard, window, y, out);
    if (!is_behind)
        add_outage(strip, shard, window, y, out);
    add_edge(strip, shard, window, y, out);
}

static void add_row(const struct strip *strip, size_t index, int y, struct window *window,
                    struct buf *out)
{
    const struct page_shard *shard = &strip->page->shards[index];
    bool is_simple = page_is_simple(shard);
    if (window->is_zoom)
        window->origin = shard->frozen;
    buf_add(out, "<g><title>");
    page_text(out, shard->name);
    buf_add(out, ": ");
    page_text(out, shard->said);
    if (shard->outage >= 0) {
        buf_add(out, ", outage ");
        page_ms(out, shard->outage);
    }
    buf_add(out, "</title>");
    if (!is_simple || strip->page->count <= HOVER_MAX)
        buf_printf(out, "<path class=\"%c\" d=\"M0 %dh%dv%dH0z\"/>", is_simple ? 'r' : 'x', y,
                   UNITS, strip->look->row);
    if (!window->is_zoom || shard->frozen >= 0)
        add_bars(strip, shard, window, y, out);
    buf_add(out, "</g>");
}

static void add_names(const struct strip *strip, size_t from, size_t to, struct buf *out)
{
    int row = strip->look->row;
    buf_printf(out, "<div class=\"names\" style=\"height:%dpx\">", (int)(to - from) * row);
    for (size_t i = from; i < to; i++) {
        if (i % (size_t)strip->look->names_every != 0)
            continue;
        buf_printf(out, "<span style=\"top:%dpx\">", (int)(i - from) * row + row / 2);
        page_text(out, strip->page->shards[i].name);
        buf_add(out, "</span>");
    }
    buf_add(out, "</div>");
}

/* Beside the row, what there is room for: the outage, or what came of the shard instead. */
static void add_figures(const struct strip *strip, size_t from, size_t to, struct buf *out)
{
    int row = strip->look->row;
    if (strip->page->count > FIGURES_MAX)
        return;
    buf_printf(out, "<div class=\"figures\" style=\"height:%dpx\">", (int)(to - from) * row);
    for (size_t i = from; i < to; i++) {
        const struct page_shard *shard = &strip->page->shards[i];
        buf_printf(out, "<span style=\"top:%dpx\">", (int)(i - from) * row + row / 2);
        if (shard->result != MOVE_MOVED && shard->outage >= 0)
            buf_printf(out, "<b class=\"%s\">%s</b> ", page_class(shard->result),
                       page_sign(shard->result));
        if (shard->result == MOVE_MOVED || shard->outage >= 0)
            page_ms(out, shard->outage);
        else
            page_text(out, shard->said);
        buf_add(out, "</span>");
    }
    buf_add(out, "</div>");
}

static void add_drawing(const struct strip *strip, size_t from, size_t to, struct window *window,
                        struct buf *out)
{
    const struct page_shard *shards = strip->page->shards;
    int row = strip->look->row, height = (int)(to - from) * row;
    buf_printf(out,
               "<svg class=\"bars\" role=\"img\" width=\"100%%\" height=\"%d\" "
               "viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" aria-label=\"",
               height, UNITS, height);
    page_text(out, shards[from].name);
    buf_add(out, " to ");
    page_text(out, shards[to - 1].name);
    buf_add(out, window->is_zoom ? ": what clients waited for, enlarged\">"
                                 : ": phases since the run began\">");
    add_grid(window, height, out);
    for (size_t i = from; i < to; i++)
        add_row(strip, i, (int)(i - from) * row, window, out);
    buf_add(out, "</svg>");
}

static bool begins_wave(const struct page *page, size_t index)
{
    return page->has_waves &&
           (index == 0 || strcmp(page->shards[index].wave, page->shards[index - 1].wave) != 0);
}

static size_t end_of_chunk(const struct strip *strip, size_t from)
{
    size_t to = from + 1, most = from + (size_t)(CHUNK_PX / strip->look->row);
    while (to < strip->page->count && to < most && !begins_wave(strip->page, to))
        to++;
    return to;
}

static void add_wave(const struct page *page, size_t index, struct buf *out)
{
    if (!begins_wave(page, index))
        return;
    buf_add(out, "<div class=\"wave\">");
    page_text(out, page->shards[index].wave);
    buf_add(out, "</div>");
}

static void add_chunk(const struct strip *strip, size_t from, size_t to, struct buf *out)
{
    struct window run = {0, strip->run_end, false}, zoom = {0, strip->zoom_end, true};
    buf_printf(out, "<div class=\"row axis%s\"><div></div>", from > 0 ? " paper" : "");
    add_axis(&run, out);
    add_axis(&zoom, out);
    buf_add(out, "</div>");
    add_wave(strip->page, from, out);
    buf_add(out, "<div class=\"row\">");
    add_names(strip, from, to, out);
    add_drawing(strip, from, to, &run, out);
    add_drawing(strip, from, to, &zoom, out);
    add_figures(strip, from, to, out);
    buf_add(out, "</div>\n");
}

/* ---- the section ---- */

static void add_legend(const struct strip *strip, struct buf *out)
{
    static const char *const words[MOVE_PHASES] = {
        [PHASE_PREPARE] = "connections, catching up, a calm moment",
        [PHASE_FREEZE] = "old primary closed",
        [PHASE_PROMOTE] = "new primary opens",
        [PHASE_PUBLISH] = "route written: clients write again",
        [PHASE_REDIRECT] = "old primary follows",
        [PHASE_VERIFY] = "all servers looked at",
        [PHASE_UNDO] = "back to the old primary",
        [PHASE_DETECT] = "it is silent, and not known yet to be lost",
        [PHASE_FENCE] = "nobody acknowledges the lost primary any more",
        [PHASE_DRAIN] = "what was received is applied",
        [PHASE_ELECT] = "the new primary has everything, and who acknowledges",
        [PHASE_WAIT] = "until the lost primary surely may not serve",
        [PHASE_OPEN] = "new primary opens",
        [PHASE_FOLLOW] = "the others follow",
    };
    buf_add(out, "<p class=\"legend\">");
    for (size_t i = 0; i < strip->page->phase_count; i++) {
        enum move_phase phase = strip->page->phases[i];
        buf_printf(out, "<span class=\"key\"><i class=\"%c\"></i><b>%s</b> %s</span>",
                   class_of(phase), move_phase_name(phase), words[phase]);
    }
    buf_printf(
        out,
        "<span class=\"key\"><i class=\"o\"></i><b>outage</b> clients cannot write: %s</span>"
        "<span class=\"key\"><i class=\"x\"></i>did not simply move: see the findings</span>",
        strip->page->is_failover ? "drawn from the order on; the loss was before it"
                                 : "as long as measured, drawn from the freeze on");
    if (strip->is_run_cut || strip->is_zoom_cut)
        buf_add(out, "<span class=\"key\"><i class=\"v\"></i>at the right edge: goes on far "
                     "beyond it</span>");
    buf_add(out, "</p>");
}

void page_timeline(const struct page *page, struct buf *out)
{
    if (page->count == 0)
        return;
    buf_add(out, "<section><h2>Timeline</h2>");
    if (!page->has_timeline) {
        buf_add(out, "<p>There is no timeline in this report: it is of an older Holdfast, or was "
                     "too large for the store with it.</p></section>\n");
        return;
    }
    struct strip strip = {
        .page = page, .look = choose_look(page->count), .names_px = choose_names_px(page)};
    choose_run(&strip);
    choose_zoom(&strip);
    add_legend(&strip, out);
    buf_printf(out, "<div class=\"strip%s\" style=\"--names:%dpx\">",
               page->count <= FIGURES_MAX ? " four" : "", strip.names_px);
    buf_printf(out,
               "<div class=\"row titles\"><div></div><div>The run: ms since it %s</div>"
               "<div>Enlarged: ms since each %s</div></div>",
               page->is_resumed ? "was resumed" : "began",
               page->is_failover ? "was begun" : "freeze");
    for (size_t from = 0, to = 0; from < page->count; from = to) {
        to = end_of_chunk(&strip, from);
        add_chunk(&strip, from, to, out);
    }
    buf_add(out, "</div></section>\n");
}
