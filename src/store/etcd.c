/* SPDX-License-Identifier: Apache-2.0
 *
 * The etcd driver: its life cycle, its reads, and its table of functions.
 *
 * Reads are linearizable: the member that is asked confirms with a majority that it is not behind
 * (one exchange of heartbeats with its peers, no disk flush) before it answers. So a leader that
 * was cut off answers nothing, instead of what was true before. In three sites a read therefore
 * costs the way to the member and from there to the nearest other one.
 */
#include "store/etcd.h"

#include "base/mem.h"
#include "base/scope.h"

#include <string.h>

enum { PREFIX_MAX = 64, HOST_MAX = 255, PAGE = 512 };

static struct etcd_store *etcd_of(struct store *store)
{
    return (struct etcd_store *)store;
}

char *etcd__key(const struct etcd_store *etcd, const char *key)
{
    return mem_printf("%s%s", etcd->prefix, key);
}

char *etcd__range_end(const struct etcd_store *etcd, const char *prefix)
{
    return mem_printf("%s%s\x7f", etcd->prefix, prefix);
}

/* ---- reading ---- */

static struct http_line *take_line(struct etcd_store *etcd)
{
    pthread_mutex_lock(&etcd->lock);
    struct etcd_line *idle = etcd->lines;
    if (idle)
        etcd->lines = idle->next;
    pthread_mutex_unlock(&etcd->lock);
    struct http_line *line = idle ? idle->http : http_line_new();
    free(idle);
    return line;
}

static void give_line(struct etcd_store *etcd, struct http_line *line)
{
    struct etcd_line *idle = mem_zalloc(sizeof(*idle));
    pthread_mutex_lock(&etcd->lock);
    *idle = (struct etcd_line){line, etcd->lines};
    etcd->lines = idle;
    pthread_mutex_unlock(&etcd->lock);
}

/* The keys of the store, from etcd's. */
static struct store_entry take_entry(const struct etcd_store *etcd, struct etcd_kv *kv)
{
    struct store_entry entry = {.key = mem_strdup(kv->key + strlen(etcd->prefix)),
                                .value = take_pointer(kv->value),
                                .create_rev = kv->create_rev,
                                .mod_rev = kv->mod_rev,
                                .lease = kv->lease};
    return entry;
}

static bool are_ours(const struct etcd_store *etcd, const struct etcd_answer *answer)
{
    for (size_t i = 0; i < answer->count; i++)
        if (strncmp(answer->kvs[i].key, etcd->prefix, strlen(etcd->prefix)) != 0)
            return false;
    return answer->revision > 0;
}

static enum status check_answer(const struct etcd_store *etcd, const struct etcd_answer *answer,
                                struct err *err)
{
    return are_ours(etcd, answer)
               ? ST_OK
               : err_set(err, ST_IO, "etcd answered with keys that nobody asked for");
}

static void add_entries(const struct etcd_store *etcd, struct etcd_answer *answer,
                        struct store_list *list)
{
    list->entries =
        mem_grow(list->entries, list->count + answer->count + 1, sizeof(*list->entries));
    for (size_t i = 0; i < answer->count; i++)
        list->entries[list->count++] = take_entry(etcd, &answer->kvs[i]);
    list->revision = list->revision ? list->revision : answer->revision;
}

enum status etcd__take_list(const struct etcd_store *etcd, struct etcd_answer *answer,
                            struct store_list *ret, struct err *err)
{
    if (check_answer(etcd, answer, err))
        return err->status;
    add_entries(etcd, answer, ret);
    return ST_OK;
}

struct reading {
    struct etcd_store *etcd;
    struct http_line *line;
    nsec deadline;
};

static enum status range(const struct reading *reading, const struct buf *body,
                         struct etcd_answer *ret_answer, struct err *err)
{
    struct etcd_call call = {
        .path = "/v3/kv/range", .body = buf_text(body), .deadline = reading->deadline};
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    if (etcd_ask(reading->etcd->client, reading->line, &call, &answer, NULL, err))
        return err->status;
    if (check_answer(reading->etcd, &answer, err))
        return err->status;
    *ret_answer = answer;
    answer = (struct etcd_answer){0};
    return ST_OK;
}

static enum status get(struct store *store, const char *key, nsec deadline,
                       struct store_entry *ret_entry, struct err *err)
{
    struct etcd_store *etcd = etcd_of(store);
    AUTO_FREE char *full = etcd__key(etcd, key);
    AUTO(buf_release) struct buf body = {0};
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    buf_add(&body, "{");
    etcd_add_bytes(&body, "key", full);
    buf_add(&body, "}");
    struct reading reading = {etcd, take_line(etcd), deadline};
    enum status status = etcd__settle(etcd, reading.line, deadline, err);
    status = status ? status : range(&reading, &body, &answer, err);
    give_line(etcd, reading.line);
    if (status)
        return status;
    if (!answer.count)
        return err_set(err, ST_NOT_FOUND, "'%s' does not exist in the store", key);
    *ret_entry = take_entry(etcd, &answer.kvs[0]);
    return ST_OK;
}

/* Pages, all from the revision of the first. */
static enum status read_page(const struct reading *reading, const char *from, const char *end,
                             struct store_list *list, bool *ret_has_more, struct err *err)
{
    AUTO(buf_release) struct buf body = {0};
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    buf_printf(&body, "{\"limit\":\"%d\",\"revision\":\"%lld\",", PAGE, (long long)list->revision);
    etcd_add_bytes(&body, "key", from);
    buf_add(&body, ",");
    etcd_add_bytes(&body, "range_end", end);
    buf_add(&body, "}");
    if (range(reading, &body, &answer, err))
        return err->status;
    add_entries(reading->etcd, &answer, list);
    *ret_has_more = answer.has_more && answer.count;
    return ST_OK;
}

static enum status read_list(const struct reading *reading, const char *prefix,
                             struct store_list *list, struct err *err)
{
    AUTO_FREE char *from = etcd__key(reading->etcd, prefix);
    AUTO_FREE char *end = etcd__range_end(reading->etcd, prefix);
    for (bool has_more = true; has_more;) {
        if (read_page(reading, from, end, list, &has_more, err))
            return err->status;
        if (list->count > STORE_LIST_MAX)
            return err_set(err, ST_INVALID, "more than %d keys begin with '%s'", STORE_LIST_MAX,
                           prefix);
        if (has_more) { /* keys are printable: this is the next that can be */
            free(from);
            from =
                mem_printf("%s%s\x01", reading->etcd->prefix, list->entries[list->count - 1].key);
        }
    }
    return ST_OK;
}

static enum status list(struct store *store, const char *prefix, nsec deadline,
                        struct store_list *ret_list, struct err *err)
{
    struct etcd_store *etcd = etcd_of(store);
    struct reading reading = {etcd, take_line(etcd), deadline};
    enum status status = etcd__settle(etcd, reading.line, deadline, err);
    do { /* again when the history was compacted between two pages */
        AUTO(store_list_release) struct store_list found = {0};
        if (status && status != ST_COMPACTED)
            break;
        status = read_list(&reading, prefix, &found, err);
        if (!status) {
            *ret_list = found;
            found = (struct store_list){0};
        }
    } while (status == ST_COMPACTED);
    give_line(etcd, reading.line);
    return status;
}

/* Its history is etcd's own matter (--auto-compaction-mode); ours is to keep the guards alive. */
static enum status maintain(struct store *store, nsec deadline, struct err *err)
{
    struct etcd_store *etcd = etcd_of(store);
    struct http_line *line = take_line(etcd);
    enum status status = etcd__guards_refresh(etcd, line, deadline, err);
    give_line(etcd, line);
    return status;
}

/* ---- life cycle ---- */

static void release(struct etcd_store *etcd)
{
    while (etcd->lines) {
        struct etcd_line *line = etcd->lines;
        etcd->lines = line->next;
        http_line_free(line->http);
        free(line);
    }
    etcd_client_free(etcd->client);
    free(etcd->prefix);
    free(etcd->guard_prefix);
    pthread_cond_destroy(&etcd->work_changed);
    pthread_cond_destroy(&etcd->writers_idle);
    pthread_mutex_destroy(&etcd->lock);
    free(etcd);
}

static void close_store(struct store *store)
{
    struct etcd_store *etcd = etcd_of(store);
    etcd__writers_stop(etcd);
    etcd__guards_close(etcd);
    release(etcd);
}

static const struct store_driver driver = {
    .close = close_store,
    .maintain = maintain,
    .check = etcd__check,
    .get = get,
    .list = list,
    .submit = etcd__submit,
    .watch_open = etcd__watch_open,
    .watch_next = etcd__watch_next,
    .watch_fd = etcd__watch_fd,
    .watch_close = etcd__watch_close,
};

static struct etcd_store *new_store(const struct store_access *access)
{
    struct etcd_store *etcd = mem_zalloc(sizeof(*etcd));
    struct etcd_access theirs = {0};
    if (access)
        theirs = (struct etcd_access){access->tls, access->user, access->password,
                                      access->password_file};
    etcd->base = (struct store){&driver, true};
    etcd->client = etcd_client_new(&theirs);
    etcd->last = &etcd->first;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&etcd->work_changed, &attributes);
    pthread_cond_init(&etcd->writers_idle, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&etcd->lock, NULL);
    return etcd;
}

/* HOST:PORT, where HOST may be [an IPv6 address]. */
static bool is_member(const char *text, size_t length)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    size_t host =
        *text == '[' ? strspn(text + 1, "0123456789abcdefABCDEF:.") + 2 : strspn(text, name);
    if (host > HOST_MAX || host >= length || (*text == '[' && text[host - 1] != ']') || !host ||
        text[host] != ':')
        return false;
    size_t digits = strspn(text + host + 1, "0123456789");
    long port = strtol(text + host + 1, NULL, 10);
    return digits && host + 1 + digits == length && port > 0 && port < 65536;
}

static enum status refuse(const char *what, struct err *err)
{
    err_set(err, ST_INVALID, "%s", what);
    return err_hint(err, "write etcd://HOST:PORT,HOST:PORT,HOST:PORT or the same with /PREFIX");
}

static enum status read_members(struct etcd_store *etcd, const char *members, struct err *err)
{
    static const char in_prefix[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *at = members, *slash = strchr(members, '/');
    const char *prefix = slash ? slash + 1 : "holdfast";
    size_t length = strcspn(at, ",/");
    for (;; at += length + 1, length = strcspn(at, ",/")) {
        if (!is_member(at, length) || etcd_client_count(etcd->client) == ETCD_MEMBERS_MAX)
            return refuse("not a list of HOST:PORT", err);
        etcd_client_add(etcd->client, at, length);
        if (at[length] != ',')
            break;
    }
    if (!*prefix || strlen(prefix) > PREFIX_MAX || strspn(prefix, in_prefix) != strlen(prefix))
        return refuse("the prefix must be 1 to 64 of a-z A-Z 0-9 . _ -", err);
    etcd->prefix = mem_printf("%s/", prefix);
    etcd->guard_prefix = mem_printf("%s!guard/", prefix);
    return ST_OK;
}

/* A first look, so that a wrong address is found here and not in the middle of a move. */
static enum status look(struct etcd_store *etcd, nsec deadline, struct err *err)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    struct err found = ERR_INIT;
    enum status status = get(&etcd->base, "open", deadline, &entry, &found);
    if (!status || status == ST_NOT_FOUND)
        return ST_OK;
    *err = found;
    return status;
}

enum status store__etcd_check(const char *members, struct err *err)
{
    struct etcd_store *etcd = new_store(NULL);
    enum status status = read_members(etcd, members, err);
    release(etcd);
    return status;
}

enum status store__etcd_open(const char *members, const struct store_access *access, nsec deadline,
                             struct store **ret_store, struct err *err)
{
    struct etcd_store *etcd = new_store(access);
    enum status status = read_members(etcd, members, err);
    status = status ? status : look(etcd, deadline, err);
    if (status) {
        release(etcd);
        return status;
    }
    *ret_store = &etcd->base;
    return ST_OK;
}
