/* SPDX-License-Identifier: Apache-2.0
 * Inside report/ only: what the parts of the HTML report share. The report's JSON is read once
 * into a 'struct page' that is tolerant (a report may be of another version, and is not trusted:
 * what is missing or of the wrong type is "not known"); the parts append HTML to a buffer. */
#ifndef HOLDFAST_REPORT_PAGE_H
#define HOLDFAST_REPORT_PAGE_H

#include "base/buf.h"
#include "base/err.h"
#include "move/move.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct page_span {
    enum move_phase phase;
    double from, to; /* ms since the run began */
};

/* Times are in ms; -1: not known. Texts are never NULL, and not escaped. */
struct page_shard {
    const char *name, *wave, *primary, *error, *cause, *hint, *notes;
    const char *doubt;       /* of a failover: why it is not known that nothing was lost */
    const char *said;        /* the result in the report's words */
    enum move_result result; /* MOVE_PENDING: a word that this version does not know */
    double outage, at_least, before, critical;
    double phases[MOVE_PHASES];
    json_int_t lost;  /* -1: not known */
    bool is_writable; /* of a stuck one: seen at the end; else not known to be */
    struct page_span *spans;
    size_t span_count, span_capacity;
    double loss_bound; /* ms of acknowledged writes that are lost, at most; -1: not known */
    double frozen;     /* where the first freeze begins, or the failover */
};

struct page {
    json_t *report;
    struct page_shard *shards;
    size_t count;
    double took, since_ordered, estimate, rto, rpo;
    double end;                    /* of the time axis */
    const enum move_phase *phases; /* of its kind, as they follow each other */
    size_t phase_count;
    bool is_failover;   /* in a region, or ... */
    bool leaves_region; /* ... from one that is lost to another */
    bool is_timed;      /* its outages are from the loss on, not from the order */
    bool has_waves, has_timeline, is_probed, is_resumed;
};

MUST_CHECK enum status page_load(struct page *ret, const char *json, struct err *err);
void page_release(struct page *page);

/* A string of the report's head; "" when it has none. */
const char *page_head(const struct page *page, const char *key);
/* Did the shard simply move, or was it there already? Plain: and there is nothing to say. */
bool page_is_simple(const struct page_shard *shard);
bool page_is_plain(const struct page_shard *shard);
/* A class of the style sheet for the result: "ok", "back", "bad"; and a sign, for those who do not
 * see colours. */
const char *page_class(enum move_result result);
const char *page_sign(enum move_result result);

/* Text made safe for content and for quoted attributes: markup is escaped, control characters and
 * those that turn the direction of writing are replaced. */
void page_text(struct buf *out, const char *text);
void page_text_bytes(struct buf *out, const char *text, size_t length);
void page_count(struct buf *out, long long number); /* "12,345" */
void page_ms(struct buf *out, double ms);           /* "2.4 ms", "31.5 s", or a dash */

/* ---- the parts: a file each, but for the last two in report_findings.c ---- */
void page_spread(const struct page *page, struct buf *out);
void page_timeline(const struct page *page, struct buf *out);
void page_hooks(const struct page *page, struct buf *out);
void page_findings(const struct page *page, struct buf *out);
void page_table(const struct page *page, struct buf *out);
extern const char page_style[];

/* The largest of 1, 2 and 5 times a power of ten that is at most (or the smallest at least) x. */
double page_nice_below(double x);
double page_nice_above(double x);

#endif
