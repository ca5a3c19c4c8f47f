/* SPDX-License-Identifier: Apache-2.0
 * When beats were sent at the latest; see pulse.h.
 *
 * The arithmetic. Every boot clock runs within 5 % of true time. Beat k, stamp s_k, was sent before
 * the watcher's clock said v_k. Beat h of the same process, stamp s_h >= s_k, was sent
 * (s_h - s_k) / 0.95 of true time after k at most, so when the watcher's clock said
 * v_k + (s_h - s_k) * 1.05 / 0.95 at most; one with s_h < s_k was sent before k. As this is linear,
 * one anchor, the newest stamp with its least bound, stands for all that went into it.
 *
 * A machine that was stopped without its clock's knowledge has stamps that are too early from then
 * on (docs/permission.md, "Clocks"). So an anchor does not live for ever: 'newer' is made of what
 * was seen since PULSE_MEMORY at most, then becomes 'older', and is gone after another one. */
#include "permit/pulse.h"

#include "base/mem.h"

#include <jansson.h>
#include <string.h>

#define PULSE_MEMORY (10 * NSEC_PER_SEC)
#define STAMP_MAX ((int64_t)1 << 60) /* 36 years after boot */

enum { VALUE_MAX = 1024, FAST = 21, SLOW = 19 }; /* 1.05 / 0.95 */

/* ---- what a beat says ---- */

char *permit_pulse_encode(const char *who, const char *granter, nsec sent)
{
    json_t *object = json_pack("{s:s, s:I}", "by", who, "wall_us",
                               (json_int_t)clock_wall_us()); /* these two for people */
    if (object && sent != INT64_MIN) {
        json_object_set_new(object, "granter", json_string(granter));
        json_object_set_new(object, "sent_ns", json_integer(sent));
    }
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text ? text : mem_strdup("{}");
}

struct stamp {
    char granter[PERMIT_GRANTER_MAX];
    int64_t ns;
};

static bool read_stamp(const json_t *object, struct stamp *ret)
{
    const json_t *granter = json_object_get(object, "granter");
    const json_t *sent = json_object_get(object, "sent_ns");
    size_t length = json_string_length(granter);
    if (!json_is_integer(sent) || length == 0 || length >= sizeof(ret->granter))
        return false;
    ret->ns = json_integer_value(sent);
    memcpy(ret->granter, json_string_value(granter), length + 1);
    return ret->ns > 0 && ret->ns <= STAMP_MAX;
}

static bool parse_stamp(const char *value, struct stamp *ret)
{
    size_t length = strnlen(value, VALUE_MAX + 1);
    json_t *object =
        length <= VALUE_MAX ? json_loadb(value, length, JSON_REJECT_DUPLICATES, NULL) : NULL;
    bool is_good = read_stamp(object, ret);
    json_decref(object);
    return is_good;
}

bool permit_pulse_is_later(const char *value, const char *than)
{
    struct stamp stamp, before;
    return !parse_stamp(value, &stamp) || !parse_stamp(than, &before) ||
           strcmp(stamp.granter, before.granter) != 0 || stamp.ns > before.ns;
}

/* ---- anchors ---- */

/* What a span of another clock is at most on this one. */
static nsec at_most(int64_t span)
{
    return span > 0 ? span + (span * (FAST - SLOW) + SLOW - 1) / SLOW : 0;
}

static nsec earlier(nsec a, nsec b)
{
    return a < b ? a : b;
}

static nsec bound_of(const struct permit_anchor *anchor, int64_t stamp, nsec seen)
{
    return anchor->stamp ? earlier(seen, anchor->by + at_most(stamp - anchor->stamp)) : seen;
}

static void learn(struct permit_anchor *anchor, int64_t stamp, nsec seen)
{
    nsec by = bound_of(anchor, stamp, seen);
    if (stamp > anchor->stamp)
        *anchor = (struct permit_anchor){stamp, by};
}

static struct permit_pulse_granter *find_granter(struct permit_pulse *pulse, const char *name)
{
    struct permit_pulse_granter *oldest = &pulse->granters[0];
    for (size_t i = 0; i < PERMIT_PULSE_GRANTERS; i++) {
        struct permit_pulse_granter *granter = &pulse->granters[i];
        if (strcmp(granter->name, name) == 0)
            return granter;
        if (granter->name[0] == '\0' || granter->at < oldest->at)
            oldest = granter;
        if (granter->name[0] == '\0')
            break;
    }
    *oldest = (struct permit_pulse_granter){0};
    memcpy(oldest->name, name, strlen(name) + 1);
    return oldest;
}

/* When the beat was sent at the latest; and what it tells of later ones. */
static nsec hear(struct permit_pulse *pulse, const char *value, nsec now)
{
    struct stamp stamp;
    if (!parse_stamp(value, &stamp))
        return now;
    struct permit_pulse_granter *granter = find_granter(pulse, stamp.granter);
    if (now - granter->since >= PULSE_MEMORY) {
        granter->older = granter->newer;
        granter->newer = (struct permit_anchor){0};
        granter->since = now;
    }
    nsec by =
        earlier(bound_of(&granter->older, stamp.ns, now), bound_of(&granter->newer, stamp.ns, now));
    learn(&granter->newer, stamp.ns, now);
    granter->at = now;
    return by;
}

/* ---- the region ---- */

/* A later beat that was sent earlier takes nothing back: the one before it lasts on. */
static void note(struct permit_pulse *pulse, int64_t revision, nsec by, nsec now)
{
    pulse->sent_by = pulse->is_known && pulse->sent_by > by ? pulse->sent_by : by;
    pulse->revision = revision;
    pulse->heard = now;
    pulse->is_known = true;
}

void permit_pulse_on_change(struct permit_pulse *pulse, int64_t revision, const char *value,
                            nsec now)
{
    if (revision <= pulse->newest)
        return;
    note(pulse, value ? revision : 0, value ? hear(pulse, value, now) : now, now);
    pulse->newest = revision;
}

void permit_pulse_on_reading(struct permit_pulse *pulse, int64_t revision, const char *value,
                             nsec now)
{
    int64_t found = value ? revision : 0;
    bool is_old = found != 0 && found < pulse->revision;
    if (is_old || (pulse->is_known && found == pulse->revision))
        return;
    if (value)
        hear(pulse, value, now);
    note(pulse, found, now, now);
    pulse->newest = found > pulse->newest ? found : pulse->newest;
}

nsec permit_pulse_end(const struct permit_pulse *pulse, const struct permit_term *term)
{
    return pulse->is_known ? pulse->sent_by + term->wait : NSEC_NEVER;
}
