/* SPDX-License-Identifier: Apache-2.0
 * What servers have of each other's transactions; see ahead.h. A sequence number alone does not
 * tell: the writes of a primary that was replaced by hand may be below the numbers of the other
 * one, so it also counts who wrote them. */
#include "roles/ahead.h"

#include "base/mem.h"
#include "base/scope.h"
#include "wire/gtid.h"

static bool parse(const struct server_observation *server, const char *text, struct gtid_set *ret)
{
    struct err ignored = ERR_INIT;
    return gtid_set_parse_text(server->flavour->gtid, text ? text : "", ret, &ignored) == ST_OK;
}

/* Writes of its own below the primary's numbers, as a primary that crashed has them. Of a server
 * that receives nothing: the primary was asked at the same time, and one that replicates may know
 * more. */
static bool has_foreign_writes(const struct server_observation *primary,
                               const struct server_observation *server, struct buf *words)
{
    AUTO(gtid_set_release) struct gtid_set own = {0}, known = {0};
    return parse(server, server->state.binlog_state, &own) &&
           parse(primary, primary->state.binlog_state, &known) &&
           gtid_set_find_errant(&own, &known, GTID_BY_SERVER, words);
}

static bool contains(const struct gtid_set *set, const struct gtid_entry *entry)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->items[i].domain == entry->domain && set->items[i].server == entry->server &&
            set->items[i].last >= entry->last)
            return true;
    return false;
}

/* Whoever got its last transaction from the primary's history has nothing else. It has not when
 * another server was opened by hand meanwhile: that one's writes may have lower numbers than what
 * the primary has. The primary's own writes go on, so only their numbers count. */
static bool has_other_history(const struct server_observation *primary, const struct gtid_set *last,
                              struct buf *words)
{
    AUTO(gtid_set_release) struct gtid_set logged = {0}, applied = {0};
    if (last->flavour != GTID_MARIADB || !parse(primary, primary->state.binlog_state, &logged) ||
        !parse(primary, primary->state.applied, &applied))
        return false;
    for (size_t i = 0; i < last->count; i++) {
        const struct gtid_entry *entry = &last->items[i];
        if (entry->server == (uint32_t)primary->state.server_id || contains(&logged, entry) ||
            contains(&applied, entry))
            continue;
        buf_printf(words, "%u-%u-%llu", (unsigned)entry->domain, (unsigned)entry->server,
                   (unsigned long long)entry->last);
        return true;
    }
    return false;
}

bool roles_is_ahead(const struct shard_observation *shard, const struct server_observation *primary,
                    const struct server_observation *server, struct buf *words)
{
    const char *later = shard->later_position;
    AUTO_FREE char *whole = roles_whole_position(server);
    const char *const texts[] = {whole, server->state.channels > 0 ? server->state.received : ""};
    AUTO(gtid_set_release) struct gtid_set has = {0};
    if (!parse(primary, later ? later : primary->state.position, &has)) {
        buf_printf(words, "the position of %s does not read", primary->server->name);
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        AUTO(gtid_set_release) struct gtid_set own = {0};
        if (!texts[i] || !parse(server, texts[i], &own)) {
            buf_add(words, "its position does not read");
            return true;
        }
        if (gtid_set_find_errant(&own, &has, GTID_BY_DOMAIN, words) ||
            has_other_history(primary, &own, words))
            return true;
    }
    return server->state.channels == 0 && has_foreign_writes(primary, server, words);
}

static unsigned long long last_of(const struct gtid_set *set, const struct gtid_entry *like)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->items[i].domain == like->domain && set->items[i].server == like->server)
            return set->items[i].last;
    return 0;
}

bool roles_find_tail(const struct server_observation *primary,
                     const struct server_observation *server, struct buf *words)
{
    AUTO(gtid_set_release) struct gtid_set own = {0}, known = {0};
    size_t before = words->length;
    if (!parse(server, server->state.binlog_state, &own) ||
        !parse(primary, primary->state.binlog_state, &known) || own.flavour != GTID_MARIADB)
        return false;
    for (size_t i = 0; i < own.count; i++) {
        const struct gtid_entry *entry = &own.items[i];
        unsigned long long last = entry->last, common = last_of(&known, entry);
        if (entry->server != (uint32_t)server->state.server_id || last <= common)
            continue;
        buf_add(words, words->length > before ? ", " : "");
        if (last > common + 1)
            buf_printf(words, "%u-%u-%llu to ", (unsigned)entry->domain, (unsigned)entry->server,
                       common + 1);
        buf_printf(words, "%u-%u-%llu", (unsigned)entry->domain, (unsigned)entry->server, last);
    }
    return words->length > before;
}

bool roles_has_only_tail(const struct server_observation *primary,
                         const struct server_observation *server)
{
    const char *const texts[] = {server->state.binlog_state, server->state.applied};
    AUTO(gtid_set_release) struct gtid_set known = {0};
    if (server->status || server->state.channels > 0 ||
        !parse(primary, primary->state.binlog_state, &known))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        AUTO(gtid_set_release) struct gtid_set has = {0};
        if (!parse(server, texts[i], &has) || has.flavour != GTID_MARIADB)
            return false;
        for (size_t j = 0; j < has.count; j++)
            if (has.items[j].server != (uint32_t)server->state.server_id &&
                !contains(&known, &has.items[j]))
                return false;
    }
    return true;
}

char *roles_whole_position(const struct server_observation *server)
{
    AUTO(gtid_set_release) struct gtid_set logged = {0}, applied = {0};
    AUTO(buf_release) struct buf text = {0};
    if (!parse(server, server->state.position, &logged) ||
        !parse(server, server->state.applied, &applied))
        return NULL;
    for (size_t i = 0; i < applied.count; i++) {
        const struct gtid_entry *own = gtid_set_find_domain(&logged, applied.items[i].domain);
        if (!own)
            buf_printf(&text, "%s%u-%u-%llu", text.length ? "," : "", applied.items[i].domain,
                       applied.items[i].server, (unsigned long long)applied.items[i].last);
    }
    for (size_t i = 0; i < logged.count; i++) {
        const struct gtid_entry *last = gtid_set_find_domain(&logged, logged.items[i].domain);
        const struct gtid_entry *from = gtid_set_find_domain(&applied, logged.items[i].domain);
        if (last != &logged.items[i])
            continue; /* one entry a domain */
        if (from && from->last > last->last)
            last = from;
        buf_printf(&text, "%s%u-%u-%llu", text.length ? "," : "", last->domain, last->server,
                   (unsigned long long)last->last);
    }
    return buf_take(&text);
}
