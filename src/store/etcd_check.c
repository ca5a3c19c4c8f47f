/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be wrong with the way into an etcd, found before it stands in the way of a move: each
 * member by itself, and the permissions of the user that we log in as. What a role allows is asked
 * by transactions that can never succeed: etcd checks what they would do before it compares.
 */
#include "store/etcd.h"

#include "base/mem.h"
#include "base/scope.h"

enum { GLANCE_MS = 1000 /* beside the look at each, which one that hangs makes long */ };

static void release_member(struct store_member *member)
{
    free(member->name);
    free(member->problem);
    free(member->advice);
}

void store_health_release(struct store_health *health)
{
    for (size_t i = 0; i < health->count; i++)
        release_member(&health->members[i]);
    free(health->members);
    *health = (struct store_health){0};
}

/* ---- members ---- */

/* By an answer for which it needs a majority: whose disk hangs, or who is cut off from the others,
 * answers what it has at once. */
static void choose_member(struct etcd_store *etcd, const char *key)
{
    AUTO(buf_release) struct buf body = {0};
    struct etcd_member ignored[ETCD_MEMBERS_MAX];
    buf_add(&body, "{\"keys_only\":true,");
    etcd_add_bytes(&body, "key", key);
    buf_add(&body, "}");
    struct etcd_call call = {
        .path = "/v3/kv/range", .body = buf_text(&body), .deadline = clock_deadline(GLANCE_MS)};
    etcd_ask_each(etcd->client, &call, ignored);
}

static void find_leader(struct etcd_store *etcd, struct store_health *ret)
{
    struct etcd_member members[ETCD_MEMBERS_MAX];
    struct etcd_call call = {.path = "/v3/maintenance/status",
                             .body = "{}",
                             .deadline = clock_deadline(GLANCE_MS),
                             .is_alone = true};
    etcd_ask_each(etcd->client, &call, members);
    for (size_t i = 0; i < ret->count; i++)
        ret->members[i].leads = members[i].leads;
}

static void look_at_members(struct etcd_store *etcd, nsec deadline, struct store_health *ret)
{
    AUTO_FREE char *key = etcd__key(etcd, "open");
    AUTO(buf_release) struct buf body = {0};
    struct etcd_member members[ETCD_MEMBERS_MAX];
    buf_add(&body, "{\"serializable\":true,\"keys_only\":true,"); /* one member's own answer */
    etcd_add_bytes(&body, "key", key);
    buf_add(&body, "}");
    struct etcd_call call = {
        .path = "/v3/kv/range", .body = buf_text(&body), .deadline = deadline, .is_alone = true};
    etcd_ask_each(etcd->client, &call, members);
    choose_member(etcd, key);
    ret->count = etcd_client_count(etcd->client);
    ret->members = mem_zalloc(ret->count * sizeof(*ret->members));
    for (size_t i = 0; i < ret->count; i++) {
        const struct err *err = &members[i].err;
        ret->members[i] = (struct store_member){
            .name = mem_strdup(members[i].name),
            .status = err->status,
            .problem = err->status ? mem_strdup(err->text) : NULL,
            .advice = err->status && err->hint[0] ? mem_strdup(err->hint) : NULL,
            .certificate_end_s = members[i].certificate_end_s,
        };
    }
    find_leader(etcd, ret);
}

/* ---- permissions ---- */

static void add_span(struct buf *body, const char *prefix)
{
    AUTO_FREE char *end = mem_printf("%s\x7f", prefix);
    etcd_add_bytes(body, "key", prefix);
    buf_add(body, ",");
    etcd_add_bytes(body, "range_end", end);
}

/* No version is below 0. */
static void build_question(struct buf *body, const char *prefix, bool is_write)
{
    buf_add(body, "{\"compare\":[{\"target\":\"VERSION\",\"result\":\"LESS\",\"version\":\"0\",");
    etcd_add_bytes(body, "key", prefix);
    buf_printf(body, "}],\"success\":[{\"request_%s\":{", is_write ? "delete_range" : "range");
    add_span(body, prefix);
    buf_add(body, "}}]}");
}

static enum status check_permission(struct etcd_store *etcd, struct http_line *line,
                                    const char *prefix, bool is_write, nsec deadline,
                                    struct err *err)
{
    AUTO(buf_release) struct buf body = {0};
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    struct err found = ERR_INIT;
    build_question(&body, prefix, is_write);
    struct etcd_call call = {.path = "/v3/kv/txn", .body = buf_text(&body), .deadline = deadline};
    enum status status = etcd_ask(etcd->client, line, &call, &answer, NULL, &found);
    if (!status)
        return ST_OK;
    *err = found;
    if (status != ST_DENIED || !etcd_client_user(etcd->client))
        return status;
    err_set(err, ST_DENIED, "the role of '%s' in etcd does not let it %s all below '%s'",
            etcd_client_user(etcd->client), is_write ? "write" : "read", prefix);
    return err_hint(err, "etcdctl role grant-permission ROLE readwrite '%s' --prefix", prefix);
}

/* ---- both ---- */

enum status etcd__check(struct store *store, nsec deadline, struct store_health *ret,
                        struct err *err)
{
    struct etcd_store *etcd = (struct etcd_store *)store;
    struct http_line *line = http_line_new();
    const char *const prefixes[] = {etcd->prefix, etcd->guard_prefix};
    enum status status = ST_OK;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(prefixes) && !status; i++)
        status = check_permission(etcd, line, prefixes[i / 2], i % 2, deadline, err);
    http_line_free(line);
    look_at_members(etcd, deadline, ret);
    ret->lets_all_in = etcd_client_is_open(etcd->client);
    return status;
}
