/* SPDX-License-Identifier: Apache-2.0
 * Removing the rows of earlier runs. A run under way is marked in the store, by a key that ends
 * with its process: its rows stay, or it would find its own writes lost. */
#include "base/mem.h"
#include "base/scope.h"
#include "load/internal.h"
#include "store/store.h"

enum {
    DELETE_MS = 30000,
    DELETE_ROWS = 5000, /* in one transaction: replicas should not fall behind */
};

static enum status read_marks(const struct load *load, struct buf *ret_others, struct err *err)
{
    AUTO(store_list_release) struct store_list list = {0};
    enum status status = store_list(load->request->store, LOAD_KEYS,
                                    store_deadline(load->request->store, STORE_WORK), &list, err);
    if (status)
        return err_wrap(err, "read which load runs are under way");
    buf_add(ret_others, "''");
    for (size_t i = 0; i < list.count; i++) {
        buf_add(ret_others, ", ");
        sql_quote(ret_others, list.entries[i].key + sizeof(LOAD_KEYS) - 1);
    }
    return ST_OK;
}

static enum status clean_shard(struct load_shard *shard, const char *sql, uint64_t *rows,
                               struct err *err)
{
    struct sql_endpoint at = load__endpoint(shard->load, &shard->spec->servers[shard->target]);
    struct sql_conn *conn = sql_conn_new(&at);
    enum status status = ST_OK;
    for (int64_t deleted = DELETE_ROWS; deleted > 0 && !status;) {
        AUTO(sql_result_release) struct sql_result result = {0};
        status = sql_exec(conn, sql, clock_deadline(DELETE_MS), &result, err);
        deleted = status ? 0 : sql_number(sql_value(&result, 1, 0, 0), 0);
        *rows += (uint64_t)deleted;
    }
    sql_conn_free(conn);
    return status ? err_wrap(err, "shard %s: remove rows of earlier load runs", shard->spec->name)
                  : ST_OK;
}

enum status load_clean(const struct load_request *request, uint64_t *ret_rows, struct err *err)
{
    struct load_report report = {0};
    struct load load = {
        .request = request, .report = &report, .loop = {.epoll_fd = -1, .timer_fd = -1}};
    AUTO(buf_release) struct buf others = {0};
    uint64_t rows = 0;
    enum status status = load__setup(&load, err);
    status = status ? status : read_marks(&load, &others, err);
    AUTO_FREE char *sql = mem_printf("DELETE FROM %s WHERE load_run NOT IN (%s) LIMIT %d; "
                                     "SELECT ROW_COUNT()",
                                     load.table, buf_text(&others), DELETE_ROWS);
    for (size_t i = 0; i < load.shard_count && !status; i++)
        status = clean_shard(&load.shards[i], sql, &rows, err);
    load__release(&load);
    load_report_release(&report);
    if (!status)
        *ret_rows = rows;
    return status;
}
