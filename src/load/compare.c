/* SPDX-License-Identifier: Apache-2.0
 * The judgement: what each server holds against what the writers remember. Sums first; only where
 * they do not match, rows are read. A fault counts once a shard, however many servers show it. */
#include "load/verify.h"

#include "base/mem.h"
#include "base/scope.h"
#include "load/audit.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE_ROWS = 20000,
    LOOK_AGAIN_MS = 100,     /* for rows that are still on their way */
    EXCEPTION_RANGES = 1000, /* in one statement; with more, all rows are read */
};

static struct shard_memory *memory_of(struct verify *verify, const struct subject *subject)
{
    return &verify->memories[load__shard_index(subject)];
}

/* --- faults ---------------------------------------------------------------------------------- */

struct finder { /* the context of an audit's sink */
    struct verify *verify;
    struct subject *subject;
    size_t writer;
};

static bool is_first_sight(struct finder *finder, enum load_fault fault, uint64_t number)
{
    uint64_t taken = finder->subject->shard->writers[finder->writer].ledger.taken;
    struct shard_memory *memory = memory_of(finder->verify, finder->subject);
    unsigned char **bits = &memory->seen[finder->writer * LOAD_FAULTS + fault];
    if (!*bits)
        *bits = mem_zalloc(taken / 8 + 1);
    unsigned char mask = (unsigned char)(1u << (number & 7));
    bool was_seen = (*bits)[number >> 3] & mask;
    (*bits)[number >> 3] |= mask;
    return !was_seen;
}

static void on_fault(void *context, enum load_fault fault, uint64_t number, uint64_t copies)
{
    struct finder *finder = context;
    struct subject *subject = finder->subject;
    struct load_report *report = finder->verify->load->report;
    bool is_ours = finder->writer < report->writers &&
                   number <= subject->shard->writers[finder->writer].ledger.taken;
    subject->report->faults[fault]++;
    if (!is_ours)
        subject->outside[fault]++;
    else if (is_first_sight(finder, fault, number))
        subject->shard->report->faults[fault]++;
    if (report->finding_count < LOAD_FINDINGS_MAX)
        VEC_PUSH(report->findings, report->finding_count, report->finding_capacity,
                 ((struct load_finding){fault, subject->shard->spec->name, subject->report->name,
                                        finder->writer, number, copies}));
}

/* One number that a server has and that the ledger does not call acknowledged. */
static void see_exception(struct finder *finder, uint64_t number, uint64_t copies)
{
    const struct ledger *ledger = &finder->subject->shard->writers[finder->writer].ledger;
    struct audit audit = {.ledger = ledger, .sink = on_fault, .context = finder};
    audit_exception(&audit, number, copies);
    struct shard_memory *memory = memory_of(finder->verify, finder->subject);
    if (ledger_find(ledger, number) == LEDGER_UNKNOWN)
        VEC_PUSH(memory->sightings, memory->count, memory->capacity,
                 ((struct sighting){finder->writer, number, finder->subject->server}));
}

/* --- reading rows ---------------------------------------------------------------------------- */

static uint64_t number_at(const struct sql_result *result, size_t row, size_t column, size_t set)
{
    const char *text = sql_value(result, set, row, column);
    return text ? strtoull(text, NULL, 10) : 0;
}

static void walk_page(struct finder *finder, struct audit *audit, const struct sql_result *page)
{
    for (size_t row = 0; row < sql_rows(page, 0); row++) {
        uint64_t number = number_at(page, row, 0, 0), copies = number_at(page, row, 1, 0);
        if (ledger_find(audit->ledger, number) == LEDGER_UNKNOWN)
            see_exception(finder, number, 1); /* only the sighting: the walk judges its copies */
        audit_row(audit, number, copies);
    }
}

/* Every row of one writer on one server, in pages by ascending number. */
static void walk_writer(struct finder *finder)
{
    struct subject *subject = finder->subject;
    const struct load *load = finder->verify->load;
    struct audit audit = {.ledger = &subject->shard->writers[finder->writer].ledger,
                          .sink = on_fault,
                          .context = finder};
    for (bool is_first = true, is_more = true; is_more; is_first = false) {
        AUTO(buf_release) struct buf sql = {0};
        AUTO(sql_result_release) struct sql_result page = {0};
        struct err err = ERR_INIT;
        buf_printf(&sql,
                   "SELECT seq, COUNT(*) FROM %s WHERE load_run = '%s' AND writer = %zu AND "
                   "seq %s %" PRIu64 " GROUP BY seq ORDER BY seq LIMIT %d",
                   load->table, load->report->run, finder->writer, is_first ? ">=" : ">",
                   audit.seen, PAGE_ROWS);
        if (sql_exec(subject->conn, sql.data, clock_deadline(SUM_MS), &page, &err)) {
            load__give_up(subject, err.text);
            return;
        }
        walk_page(finder, &audit, &page);
        is_more = sql_rows(&page, 0) == PAGE_ROWS;
    }
    audit_end(&audit);
}

/* Rows of this run under a writer that it never had. */
static void see_stranger(struct finder *finder, const struct audit_sums *sums)
{
    on_fault(finder, LOAD_UNEXPECTED_ROW, sums->lowest, sums->rows);
    finder->subject->report->faults[LOAD_UNEXPECTED_ROW] += sums->rows - 1;
    finder->subject->outside[LOAD_UNEXPECTED_ROW] += sums->rows - 1;
}

/* Set 0: sums of each writer. Set 1: each exception that is there. */
static void read_sums(struct finder *finder, const struct sql_result *result,
                      struct audit_sums *sums, size_t writers)
{
    for (size_t row = 0; row < sql_rows(result, 0); row++) {
        struct audit_sums of = {.rows = number_at(result, row, 1, 0),
                                .distinct = number_at(result, row, 2, 0),
                                .lowest = number_at(result, row, 3, 0),
                                .highest = number_at(result, row, 4, 0)};
        finder->writer = (size_t)number_at(result, row, 0, 0);
        finder->subject->report->rows += of.rows;
        if (finder->writer < writers)
            sums[finder->writer] = of;
        else
            see_stranger(finder, &of);
    }
    for (size_t row = 0; row < sql_rows(result, 1); row++) {
        size_t writer = (size_t)number_at(result, row, 0, 1);
        if (writer < writers) {
            sums[writer].exception_rows += number_at(result, row, 2, 1);
            sums[writer].exception_distinct++;
        }
    }
}

static void see_exceptions(struct finder *finder, const struct sql_result *result)
{
    for (size_t row = 0; row < sql_rows(result, 1); row++)
        if (number_at(result, row, 0, 1) == finder->writer)
            see_exception(finder, number_at(result, row, 1, 1), number_at(result, row, 2, 1));
}

static void on_sums(struct verify *verify, struct subject *subject, struct sql_result *result)
{
    size_t writers = verify->load->request->writers;
    AUTO_FREE struct audit_sums *sums = mem_zalloc((writers + 1) * sizeof(*sums));
    struct finder finder = {verify, subject, 0};
    read_sums(&finder, result, sums, writers);
    for (size_t i = 0; i < writers && subject->report->is_verified; i++) {
        finder.writer = i;
        if (audit_matches(&subject->shard->writers[i].ledger, &sums[i]))
            see_exceptions(&finder, result);
        else
            walk_writer(&finder);
    }
}

/* Appends ' OR (...)' for each range; false when there are too many. */
static bool add_exceptions(const struct load_shard *shard, struct buf *sql)
{
    size_t ranges = 0;
    for (size_t i = 0; i < shard->load->request->writers; i++) {
        const struct ledger *ledger = &shard->writers[i].ledger;
        for (size_t j = 0; j < ledger->count; j++)
            buf_printf(sql, " OR (writer = %zu AND seq BETWEEN %" PRIu64 " AND %" PRIu64 ")", i,
                       ledger->exceptions[j].first, ledger->exceptions[j].last);
        ranges += ledger->count;
        if (ranges > EXCEPTION_RANGES)
            return false;
    }
    return ranges > 0;
}

static void sum_rows(struct verify *verify)
{
    const struct load *load = verify->load;
    for (size_t i = 0; i < verify->count; i++) {
        struct subject *subject = &verify->subjects[i];
        AUTO(buf_release) struct buf sql = {0}, ranges = {0};
        buf_printf(&sql,
                   "SELECT writer, COUNT(*), COUNT(DISTINCT seq), MIN(seq), MAX(seq) FROM %s "
                   "WHERE load_run = '%s' GROUP BY writer",
                   load->table, load->report->run);
        if (add_exceptions(subject->shard, &ranges))
            buf_printf(&sql,
                       "; SELECT writer, seq, COUNT(*) FROM %s WHERE load_run = '%s' AND "
                       "(0%s) GROUP BY writer, seq",
                       load->table, load->report->run, ranges.data);
        load__set_sql(subject, &sql);
    }
    load__ask(verify, clock_deadline(SUM_MS), on_sums);
}

/* --- servers that do not agree on a write of unknown outcome --------------------------------- */

static int compare_sightings(const void *left, const void *right)
{
    const struct sighting *a = left, *b = right;
    if (a->writer != b->writer)
        return a->writer < b->writer ? -1 : 1;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return a->server < b->server ? -1 : a->server > b->server;
}

/* These sightings are of one number: who of the shard's verified servers is not among them? */
static void judge_sightings(struct verify *verify, size_t shard, const struct sighting *sightings,
                            size_t count)
{
    for (size_t i = 0; i < verify->count; i++) {
        struct subject *subject = &verify->subjects[i];
        bool has_it = load__shard_index(subject) != shard || !subject->report->is_verified;
        for (size_t j = 0; j < count && !has_it; j++)
            has_it = sightings[j].server == subject->server;
        struct finder finder = {verify, subject, sightings[0].writer};
        if (!has_it)
            on_fault(&finder, LOAD_DIVERGED_ROW, sightings[0].number, 0);
    }
}

static void compare_servers(struct verify *verify, size_t shard)
{
    struct shard_memory *memory = &verify->memories[shard];
    if (memory->count == 0)
        return;
    qsort(memory->sightings, memory->count, sizeof(*memory->sightings), compare_sightings);
    for (size_t first = 0, next; first < memory->count; first = next) {
        const struct sighting *at = &memory->sightings[first];
        for (next = first + 1; next < memory->count; next++)
            if (memory->sightings[next].writer != at->writer ||
                memory->sightings[next].number != at->number)
                break;
        judge_sightings(verify, shard, at, next - first);
    }
}

/* --- all together ---------------------------------------------------------------------------- */

static void forget_bits(struct verify *verify)
{
    size_t sets = verify->load->request->writers * LOAD_FAULTS;
    for (size_t i = 0; i < verify->load->shard_count; i++) {
        unsigned char **seen = verify->memories[i].seen;
        for (size_t j = 0; j < sets; j++) {
            free(seen[j]);
            seen[j] = NULL;
        }
    }
}

static void forget(struct verify *verify)
{
    forget_bits(verify);
    struct load_report *report = verify->load->report;
    for (size_t i = 0; i < verify->load->shard_count; i++) {
        verify->memories[i].count = 0;
        memset(report->shards[i].faults, 0, sizeof(report->shards[i].faults));
    }
    for (size_t i = 0; i < verify->count; i++) {
        struct subject *subject = &verify->subjects[i];
        memset(subject->outside, 0, sizeof(subject->outside));
        memset(subject->report->faults, 0, sizeof(subject->report->faults));
        subject->report->rows = 0;
    }
    report->finding_count = 0;
}

static bool is_diverged(const struct verify *verify)
{
    for (size_t i = 0; i < verify->load->shard_count; i++)
        if (verify->load->report->shards[i].faults[LOAD_DIVERGED_ROW])
            return true;
    return false;
}

/* A commit that still waits for its acknowledgement is on replicas before it is visible on the
 * primary. Therefore disagreement is looked at again until the deadline. */
void load__compare(struct verify *verify)
{
    for (;;) {
        forget(verify);
        sum_rows(verify);
        for (size_t i = 0; i < verify->load->shard_count; i++)
            compare_servers(verify, i);
        if (!is_diverged(verify) || clock_now() >= verify->deadline)
            return;
        poll(NULL, 0, LOOK_AGAIN_MS);
    }
}

void load__memories_init(struct verify *verify)
{
    const struct load *load = verify->load;
    size_t sets = load->request->writers * LOAD_FAULTS;
    verify->memories = mem_zalloc((load->shard_count + 1) * sizeof(*verify->memories));
    for (size_t i = 0; i < load->shard_count; i++)
        verify->memories[i].seen = mem_zalloc((sets + 1) * sizeof(unsigned char *));
}

void load__memories_free(struct verify *verify)
{
    forget_bits(verify);
    for (size_t i = 0; i < verify->load->shard_count; i++) {
        free(verify->memories[i].seen);
        free(verify->memories[i].sightings);
    }
    free(verify->memories);
}
