/* SPDX-License-Identifier: Apache-2.0
 * Which member is asked next when one was of no use. */
#include "base/mem.h"
#include "base/scope.h"
#include "etcd/internal.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static size_t current(struct etcd_client *client)
{
    struct etcd_errand errand;
    etcd_errand_init(client, "/v3/kv/range", &errand);
    size_t member = errand.member;
    etcd_errand_release(&errand);
    return member;
}

static struct etcd_client *three(void)
{
    struct etcd_client *client = etcd_client_new(NULL);
    for (int i = 0; i < 3; i++)
        etcd_client_add(client, "10.0.0.1:2379", strlen("10.0.0.1:2379"));
    return client;
}

static void the_next_one_is_asked(void **state UNUSED)
{
    struct etcd_client *client = three();
    for (size_t i = 0; i < 6; i++) { /* all fail alike */
        assert_int_equal(current(client), i % 3);
        etcd_client_leave(client, i % 3, true);
    }
    etcd_client_free(client);
}

/* A member without a leader says so at once, and will be the first to have one; whoever is silent
 * costs time. */
static void one_that_refuses_is_asked_before_one_that_is_silent(void **state UNUSED)
{
    struct etcd_client *client = three();
    etcd_client_leave(client, 0, true);
    etcd_client_leave(client, 1, true);
    etcd_client_leave(client, 2, false);
    assert_int_equal(current(client), 0);
    etcd_client_leave(client, 0, false); /* it was slow then, and answers now */
    for (int i = 0; i < 6; i++) {
        assert_int_equal(current(client), i % 2 ? 0 : 2);
        etcd_client_leave(client, current(client), false);
    }
    etcd_client_free(client);
}

/* Else whoever is slow once costs the time that the one takes that is gone. */
static void one_that_is_gone_is_asked_last(void **state UNUSED)
{
    struct etcd_client *client = three();
    etcd_client_leave(client, 0, true);
    etcd_client_leave(client, 0, true); /* by another thread, which had begun to ask it before */
    assert_int_equal(current(client), 1);
    etcd_client_leave(client, 1, true);
    assert_int_equal(current(client), 2);
    etcd_client_leave(client, 2, true);
    assert_int_equal(current(client), 1);
    for (int i = 0; i < 6; i++) /* but it is asked again, as the others may be gone now */
        etcd_client_leave(client, current(client), true);
    etcd_client_leave(client, 1, true);
    etcd_client_leave(client, 2, true);
    assert_int_equal(current(client), 0);
    etcd_client_free(client);
}

/* By the way to it, not by its answer, which takes as long at the leader, far away. */
static void nearest_that_answers_is_gone_to(void **state UNUSED)
{
    struct etcd_client *client = three();
    static const nsec ways_ms[] = {20, 1, 18};
    for (size_t i = 0; i < 3; i++)
        etcd__note_distance(client, i, ways_ms[i] * NSEC_PER_MS);
    etcd__go_nearest(client);
    assert_int_equal(current(client), 1);
    assert_true(etcd_client_is_far(client, 0));
    assert_false(etcd_client_is_far(client, 1));
    etcd_client_leave(client, 1, true);
    assert_int_equal(current(client), 2);
    assert_false(etcd_client_is_far(client, 0)); /* a little nearer is chance */
    etcd__go_nearest(client);
    assert_int_equal(current(client), 2); /* the nearest does not answer */
    etcd_client_free(client);
}

/* It has little patience, and takes others along only to a member that has answered it. */
static void hasty_request_that_nobody_answers_sends_no_other_one_away(void **state UNUSED)
{
    struct etcd_client *client = etcd_client_new(NULL);
    struct http_line *line = http_line_new();
    struct etcd_answer answer = {0};
    struct err err = ERR_INIT;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(at);
    int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(silent, (struct sockaddr *)&at, length), 0);
    assert_int_equal(listen(silent, 8), 0);
    assert_int_equal(getsockname(silent, (struct sockaddr *)&at, &length), 0);
    AUTO_FREE char *name = mem_printf("127.0.0.1:%d", ntohs(at.sin_port));
    etcd_client_add(client, name, strlen(name));
    for (int i = 0; i < 2; i++) /* where nobody is */
        etcd_client_add(client, "127.0.0.1:1", strlen("127.0.0.1:1"));
    struct etcd_call call = {
        .path = "/v3/kv/txn", .body = "{}", .deadline = clock_deadline(400), .is_hasty = true};
    assert_int_not_equal(etcd_ask(client, line, &call, &answer, NULL, &err), ST_OK);
    for (size_t i = 0; i < 3; i++)
        assert_true(atomic_load(&client->failures[i]) > 0); /* each was asked */
    assert_int_equal(current(client), 0);
    close(silent);
    http_line_free(line);
    etcd_client_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_one_is_asked),
        cmocka_unit_test(one_that_refuses_is_asked_before_one_that_is_silent),
        cmocka_unit_test(one_that_is_gone_is_asked_last),
        cmocka_unit_test(nearest_that_answers_is_gone_to),
        cmocka_unit_test(hasty_request_that_nobody_answers_sends_no_other_one_away),
    };
    return cmocka_run_group_tests_name("etcd/client", tests, NULL, NULL);
}
