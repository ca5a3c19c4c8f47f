/* SPDX-License-Identifier: Apache-2.0
 * The part of the HTML report about the write outage: its percentiles, and a plot of how it is
 * spread over the shards. Outages stand upwards on a logarithmic axis, the longest waits just
 * before the moves hang below: what the disks do anyway. */
#include "report/page.h"

#include "base/scope.h"
#include "base/stats.h"

#include <math.h>

enum { BINS = 60, UNIT_PX = 9, SIDE_PX = 96, MARK_PX = 15, AXIS_PX = 20 };

static const double percents[] = {50, 90, 99, 100};
static const char *const percent_names[] = {"p50", "p90", "p99", "max"};

struct spread {
    struct stats outages, befores;
    double low, high; /* the ends of the axis */
    size_t up[BINS], down[BINS];
    double unit;                 /* px that one shard is high */
    double base, up_px, down_px; /* where the axis is; how high the two sides are */
};

static void spread_release(struct spread *spread)
{
    stats_release(&spread->outages);
    stats_release(&spread->befores);
}

/* Where on the axis, from 0 to 1. */
static double place(const struct spread *spread, double ms)
{
    if (ms <= spread->low)
        return 0;
    return fmin(log(ms / spread->low) / log(spread->high / spread->low), 1);
}

/* Returns the fullest bin. */
static size_t count_bins(const struct spread *spread, const struct stats *stats, size_t *bins)
{
    size_t fullest = 0;
    for (size_t i = 0; i < stats->count; i++) {
        size_t bin = (size_t)(place(spread, stats->samples[i]) * BINS);
        bin = bin < BINS ? bin : BINS - 1;
        bins[bin]++;
        fullest = bins[bin] > fullest ? bins[bin] : fullest;
    }
    return fullest;
}

static void spread_fill(struct spread *spread, const struct page *page)
{
    for (size_t i = 0; i < page->count; i++) {
        if (page->shards[i].outage >= 0)
            stats_add(&spread->outages, page->shards[i].outage);
        if (page->shards[i].outage >= 0 && page->shards[i].before >= 0)
            stats_add(&spread->befores, page->shards[i].before);
    }
    double least = stats_percentile(&spread->outages, 0);
    double most = stats_percentile(&spread->outages, 100);
    if (spread->befores.count > 0) {
        least = fmin(least, stats_percentile(&spread->befores, 0));
        most = fmax(most, stats_percentile(&spread->befores, 100));
    }
    spread->low = page_nice_below(fmax(least, 0.1));
    spread->high = page_nice_above(fmax(most, 2 * spread->low));
    size_t up = count_bins(spread, &spread->outages, spread->up);
    size_t down = count_bins(spread, &spread->befores, spread->down);
    spread->unit = fmin(UNIT_PX, SIDE_PX / fmax((double)(up > down ? up : down), 1));
    spread->up_px = spread->unit * (double)up;
    spread->down_px = spread->unit * (double)down;
    spread->base = MARK_PX * (double)ARRAY_SIZE(percents) + 6 + spread->up_px;
}

static void add_bars(const struct spread *spread, const size_t *bins, bool is_up, struct buf *out)
{
    for (size_t i = 0; i < BINS; i++) {
        double height = spread->unit * (double)bins[i];
        if (bins[i])
            buf_printf(out,
                       "<rect class=\"%s\" x=\"%.2f%%\" y=\"%.1f\" width=\"%.2f%%\" "
                       "height=\"%.1f\"/>",
                       is_up ? "up" : "down", 100.0 * (double)i / BINS,
                       is_up ? spread->base - height : spread->base + 1, 90.0 / BINS, height);
    }
}

static void add_axis(const struct spread *spread, struct buf *out)
{
    double bottom = spread->base + spread->down_px + 4;
    bool has_room = spread->high / spread->low <= 500;
    bool is_wide = spread->high / spread->low > 20; /* too many figures for a phone */
    buf_printf(out, "<line class=\"base\" x1=\"0\" x2=\"100%%\" y1=\"%.1f\" y2=\"%.1f\"/>",
               spread->base + .5, spread->base + .5);
    for (double tick = spread->low; tick <= spread->high * 1.01;
         tick = page_nice_above(tick * 1.01)) {
        double x = 100 * place(spread, tick);
        bool is_power = fabs(log10(tick) - round(log10(tick))) < 1e-6;
        if (!has_room && !is_power)
            continue;
        buf_printf(out,
                   "<line class=\"tick\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%.1f\" y2=\"%.1f\"/>", x,
                   x, spread->base + 1, bottom);
        buf_printf(out, "<text class=\"%s%s\" x=\"%.2f%%\" y=\"%.1f\">%g%s</text>",
                   x < 2    ? ""
                   : x > 98 ? "end"
                            : "mid",
                   is_wide && !is_power && x > 2 ? " odd" : "", x, bottom + 13,
                   tick < 1000 ? tick : tick / 1000, tick < 1000 ? " ms" : " s");
    }
}

static void add_marks(struct spread *spread, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(percents); i++) {
        double ms = stats_percentile(&spread->outages, percents[i]);
        double x = 100 * place(spread, ms), y = MARK_PX * (double)(i + 1) - 3;
        buf_printf(out,
                   "<line class=\"mark\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%.1f\" y2=\"%.1f\"/>"
                   "<text class=\"%s\" x=\"%.2f%%\" dx=\"%d\" y=\"%.1f\">%s</text>",
                   x, x, y - 9, spread->base, x > 70 ? "end" : "", x, x > 70 ? -5 : 5, y,
                   percent_names[i]);
    }
}

static void add_plot(struct spread *spread, struct buf *out)
{
    double height = spread->base + spread->down_px + 4 + AXIS_PX;
    buf_printf(out,
               "<figure><svg class=\"spread\" role=\"img\" width=\"100%%\" height=\"%.0f\" "
               "aria-label=\"How the write outage is spread over %zu shards; the figures are in "
               "the table of all shards.\">",
               height, spread->outages.count);
    add_bars(spread, spread->up, true, out);
    add_bars(spread, spread->down, false, out);
    add_marks(spread, out);
    add_axis(spread, out);
    buf_add(out, "</svg><figcaption><span class=\"key\"><i class=\"up\"></i>write outage of a "
                 "shard</span>");
    if (spread->befores.count > 0)
        buf_add(out, "<span class=\"key\"><i class=\"down\"></i>the longest wait in as long a time "
                     "just before its move: what the disks do anyway</span>");
    buf_add(out, "</figcaption></figure>");
}

void page_spread(const struct page *page, struct buf *out)
{
    AUTO(spread_release) struct spread spread = {0};
    spread_fill(&spread, page);
    buf_add(out, "<section><h2>Write outage</h2>");
    if (spread.outages.count == 0) {
        buf_add(out, "<p>No write outage was measured.</p></section>\n");
        return;
    }
    buf_add(out, "<p class=\"sub\">How long clients could not write to a shard, over ");
    page_count(out, (long long)spread.outages.count);
    buf_printf(out, " shard%s%s", spread.outages.count == 1 ? "" : "s",
               page->is_timed      ? ": from when its primary answered no more."
               : page->is_failover ? ": from the order only, the loss was before it."
               : page->is_probed   ? ", as a client of its own saw it."
                                   : ": freeze to publish as the runner saw it, without a probe.");
    buf_add(out, "</p><dl class=\"tiles\">");
    for (size_t i = 0; i < ARRAY_SIZE(percents); i++) {
        buf_printf(out, "<div><dt>%s</dt><dd>", percent_names[i]);
        page_ms(out, stats_percentile(&spread.outages, percents[i]));
        buf_add(out, "</dd></div>");
    }
    buf_add(out, "</dl>");
    add_plot(&spread, out);
    buf_add(out, "</section>\n");
}
