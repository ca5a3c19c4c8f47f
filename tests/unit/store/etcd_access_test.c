/* SPDX-License-Identifier: Apache-2.0
 * The way into a real etcd: certificates that are wrong in each way, passwords, tokens that end,
 * roles that do not allow enough. */
#include "etcd_test.h"

#include <poll.h>

static struct members members;
static int prefix_number;

enum { PLENTY_MS = 10000, TOKEN_TTL_MS = 2000 };

struct scene {
    char prefix[16], url[160];
    struct store *store;
};

static int set_up_access(void **state)
{
    struct scene *scene = mem_zalloc(sizeof(*scene));
    snprintf(scene->prefix, sizeof(scene->prefix), "a%d", prefix_number++);
    members_url(&members, 0, scene->prefix, scene->url);
    if (!members.pids[0])
        member_start(&members, 0);
    EXPECT_OK(store_open(scene->url, &members.secure.access, soon(), &scene->store, &trouble));
    become_root(&members.secure);
    *state = scene;
    return 0;
}

static int tear_down_access(void **state)
{
    struct scene *scene = *state;
    store_close(scene->store);
    free(scene);
    return 0;
}

/* Refused for good: told at once, not at the deadline. */
static void expect_refusal(const char *url, const struct store_access *access, enum status wanted,
                           const char *words)
{
    struct store *store = NULL;
    struct err err = ERR_INIT;
    nsec began = clock_now();
    enum status status = store_open(url, access, clock_deadline(PLENTY_MS), &store, &err);
    expect_status(status, wanted, &err);
    if (!strstr(err.text, words) || !err.hint[0])
        fail_msg("'%s' is not in: %s (%s)", words, err.text, err.hint);
    assert_null(strstr(err.text, "n0t"));
    assert_null(strstr(err.hint, "n0t"));
    assert_true(clock_now() - began < PLENTY_MS / 2 * NSEC_PER_MS);
}

static char *in_folder(const char *name)
{
    return mem_printf("%s/%s", members.directory, name);
}

/* ---- certificates ---- */

static void authority_that_did_not_sign_is_named(void **state)
{
    const struct scene *scene = *state;
    AUTO(certificate_authority_freep) struct certificate_authority *other = NULL;
    AUTO_FREE char *path = in_folder("other.pem");
    EXPECT_OK(certificate_authority_new("other", SECURE_DAYS, &other, &trouble));
    write_authority(other, path);
    struct http_tls tls = members.secure.tls;
    struct store_access access = members.secure.access;
    tls.ca = path;
    access.tls = &tls;
    expect_refusal(scene->url, &access, ST_UNTRUSTED, "nobody in our 'ca' has signed");
    tls.ca = "/nowhere/ca.pem";
    struct store *store = NULL;
    expect_status(store_open(scene->url, &access, soon(), &store, &trouble), ST_UNTRUSTED,
                  &trouble);
    assert_non_null(strstr(trouble.text, "/nowhere/ca.pem"));
}

static void member_of_another_name_is_refused_unless_names_do_not_count(void **state)
{
    struct scene *scene = *state;
    char url[64];
    snprintf(url, sizeof(url), "etcd://localhost:%d/%s", members.client[0], scene->prefix);
    expect_refusal(url, &members.secure.access, ST_UNTRUSTED, "for another name");
    struct http_tls tls = members.secure.tls;
    struct store_access access = members.secure.access;
    tls.verify = false;
    access.tls = &tls;
    struct store *store = NULL;
    EXPECT_OK(store_open(url, &access, soon(), &store, &trouble));
    store_close(store);
}

/* A client certificate made for the test. */
static void expect_client_refused(const struct scene *scene,
                                  const struct certificate_authority *authority,
                                  const struct certificate_request *request, const char *words)
{
    AUTO_FREE char *cert = in_folder("odd.pem"), *key = in_folder("odd.key");
    struct http_tls tls = members.secure.tls;
    struct store_access access = members.secure.access;
    issue(authority, members.directory, "odd", request);
    tls.cert = cert;
    tls.key = key;
    access.tls = &tls;
    expect_refusal(scene->url, &access, ST_UNTRUSTED, words);
}

static void client_certificates_that_are_not_accepted_are_told_apart(void **state)
{
    const struct scene *scene = *state;
    AUTO(certificate_authority_freep) struct certificate_authority *other = NULL;
    EXPECT_OK(certificate_authority_new("other", SECURE_DAYS, &other, &trouble));
    struct certificate_request expired = {NULL, NULL, -1}, good = {NULL, NULL, 1},
                               named = {"holdfast", NULL, 1};
    const struct certificate_authority *ours = members.secure.authority;
    expect_client_refused(scene, ours, &expired, "does not accept our certificate");
    expect_client_refused(scene, other, &good, "does not accept our certificate");
    expect_client_refused(scene, ours, &named, "takes no certificate with a CN");
    struct http_tls tls = members.secure.tls;
    struct store_access access = members.secure.access;
    tls.cert = tls.key = NULL;
    access.tls = &tls;
    expect_refusal(scene->url, &access, ST_UNTRUSTED, "certificate");
}

static void port_without_tls_is_not_spoken_to_in_clear_text(void **state UNUSED)
{
    char url[64];
    snprintf(url, sizeof(url), "etcd://127.0.0.1:%d", members.peer[0]);
    expect_refusal(url, &members.secure.access, ST_UNTRUSTED, "it offers no TLS");
}

static void clear_text_to_a_member_with_tls_fails(void **state)
{
    const struct scene *scene = *state;
    struct store *store = NULL;
    struct err err = ERR_INIT;
    assert_true(store_open(scene->url, NULL, clock_deadline(1000), &store, &err) != ST_OK);
    assert_non_null(strstr(err.text, "waited 1.0 s for etcd to read"));
}

/* ---- passwords and tokens ---- */

static void wrong_password_is_refused_and_not_shown(void **state)
{
    const struct scene *scene = *state;
    AUTO(secret_release) struct secret wrong = {0};
    struct store_access access = members.secure.access;
    secret_set(&wrong, "n0t this", 8);
    access.password = &wrong;
    access.password_file = NULL;
    expect_refusal(scene->url, &access, ST_DENIED, "log in as 'holdfast'");
    access.user = "nobody";
    expect_refusal(scene->url, &access, ST_DENIED, "log in as 'nobody'");
    access.user = NULL;
    expect_refusal(scene->url, &access, ST_DENIED, "user name is empty");
}

static void change_password(const char *password)
{
    AUTO_FREE char *body = mem_printf("{\"name\":\"holdfast\",\"password\":\"%s\"}", password);
    gateway_do(&members.secure, "/v3/auth/user/changepw", body);
}

/* Setting a password ends all tokens of its user; a restart alone replays the log-ins. */
static void end_tokens(void)
{
    become_root(&members.secure);
    change_password("n0t \\\"in\\\" a log\\\\");
}

static void password_may_be_changed_under_an_open_store(void **state)
{
    struct scene *scene = *state;
    put(scene->store, "a", "1");
    change_password("second"); /* which ends the token, too */
    expect_status(put_if(scene->store, NULL, "a", "2", 0, NULL), ST_DENIED, &trouble);
    write_text(members.secure.password_file, "second\n", 7);
    put(scene->store, "a", "3");
    expect_entry(scene->store, "a", "3");
    change_password("n0t \\\"in\\\" a log\\\\");
    write_text(members.secure.password_file, SECURE_PASSWORD "\n", sizeof(SECURE_PASSWORD));
    expect_entry(scene->store, "a", "3");
}

/* Nothing but time ends it. */
static void token_that_has_expired_is_renewed(void **state)
{
    struct scene *scene = *state;
    put(scene->store, "a", "1");
    poll(NULL, 0, 2 * TOKEN_TTL_MS);
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    gateway(&members.secure, "/v3/auth/user/list", "{}", &answer); /* root's, as old as ours */
    assert_int_equal(answer.error, 16);
    put(scene->store, "a", "2");
    expect_entry(scene->store, "a", "2");
}

static void many_threads_outlive_the_end_of_their_token(void **state)
{
    struct scene *scene = *state;
    struct store_pending *pending[32];
    put(scene->store, "a", "1");
    end_tokens();
    for (size_t i = 0; i < ARRAY_SIZE(pending); i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%zu", i);
        struct store_op op = {STORE_PUT, key, "1", 0};
        EXPECT_OK(store_txn_start(scene->store, &(struct store_txn){NULL, 0, &op, 1}, soon(),
                                  &pending[i], &trouble));
    }
    for (size_t i = 0; i < ARRAY_SIZE(pending); i++) {
        struct store_txn_result result = {0};
        EXPECT_OK(store_txn_wait(pending[i], soon(), &result, &trouble));
        store_pending_free(pending[i]);
    }
}

/* ---- roles ---- */

static void expect_missing(struct scene *scene, const char *words)
{
    AUTO(store_health_release) struct store_health health = {0};
    struct err err = ERR_INIT;
    expect_status(store_check(scene->store, soon(), &health, &err), ST_DENIED, &err);
    if (!strstr(err.text, words) || !strstr(err.hint, "etcdctl role grant-permission"))
        fail_msg("'%s' is not in: %s (%s)", words, err.text, err.hint);
}

static void permission_that_is_missing_is_named(void **state)
{
    struct scene *scene = *state;
    char from[32], end[32], guard[32], words[64];
    snprintf(from, sizeof(from), "%s/", scene->prefix);
    snprintf(end, sizeof(end), "%s/\x7f", scene->prefix);
    snprintf(guard, sizeof(guard), "%s!guard/\x7f", scene->prefix);
    AUTO(store_health_release) struct store_health health = {0};
    EXPECT_OK(store_check(scene->store, soon(), &health, &trouble));
    int64_t before = put(scene->store, "a", "1");
    forbid(&members.secure, "!", "\x7f");
    allow(&members.secure, "READ", from, end);
    expect_status(put_if(scene->store, NULL, "a", "2", 0, NULL), ST_DENIED, &trouble);
    snprintf(words, sizeof(words), "write all below '%s/'", scene->prefix);
    expect_missing(scene, words);
    allow(&members.secure, "READWRITE", from, end);
    snprintf(words, sizeof(words), "read all below '%s!guard/'", scene->prefix);
    expect_missing(scene, words);
    forbid(&members.secure, from, end);
    expect_missing(scene, "read all below");
    allow(&members.secure, "READWRITE", "!", "\x7f");
    assert_int_equal(put(scene->store, "a", "3"), before + 1); /* asking changed nothing */
}

static void log_ins_may_be_switched_on_under_an_open_store(void **state)
{
    struct scene *scene = *state;
    gateway_do(&members.secure, "/v3/auth/disable", "{}");
    struct store *early = NULL;
    EXPECT_OK(store_open(scene->url, &members.secure.access, soon(), &early, &trouble));
    put(early, "a", "1");
    AUTO(store_health_release) struct store_health open = {0}, shut = {0};
    EXPECT_OK(store_check(early, soon(), &open, &trouble));
    assert_true(open.lets_all_in);
    secure_demand_login(&members.secure);
    put(early, "a", "2");
    EXPECT_OK(store_check(early, soon(), &shut, &trouble));
    assert_false(shut.lets_all_in);
    store_close(early);
}

/* ---- watches ---- */

static void watch_logs_in_anew_when_its_token_has_ended(void **state)
{
    struct scene *scene = *state;
    int64_t start = put(scene->store, "a", "1");
    struct store_watch *watch = NULL;
    EXPECT_OK(store_watch_open(scene->store, "", start, &watch, &trouble));
    AUTO(store_changes_release) struct store_changes first = {0}, second = {0};
    put(scene->store, "a", "2");
    EXPECT_OK(store_watch_next(watch, soon(), &first, &trouble));
    assert_string_equal(first.items[0].entry.value, "2");
    struct store *other = NULL; /* so that only the watch itself can renew its token */
    end_tokens();
    member_end(&members, 0);
    member_start(&members, 0);
    EXPECT_OK(store_open(scene->url, &members.secure.access, soon(), &other, &trouble));
    put(other, "a", "3");
    EXPECT_OK(store_watch_next(watch, soon(), &second, &trouble));
    assert_string_equal(second.items[0].entry.value, "3");
    store_watch_close(watch);
    store_close(other);
}

static void watch_that_is_refused_says_so_and_goes_on_when_it_may(void **state)
{
    struct scene *scene = *state;
    int64_t start = put(scene->store, "a", "1");
    struct store_watch *watch = NULL;
    AUTO(store_changes_release) struct store_changes changes = {0};
    forbid(&members.secure, "!", "\x7f");
    EXPECT_OK(store_watch_open(scene->store, "", start, &watch, &trouble));
    for (int i = 0; i < 2; i++) {
        struct err err = ERR_INIT;
        expect_status(store_watch_next(watch, soon(), &changes, &err), ST_DENIED, &err);
    }
    allow(&members.secure, "READWRITE", "!", "\x7f");
    put(scene->store, "a", "2");
    enum status status = ST_DENIED; /* one more may have been on its way */
    for (int i = 0; i < 3 && status == ST_DENIED; i++)
        status = store_watch_next(watch, soon(), &changes, &trouble);
    expect_status(status, ST_OK, &trouble);
    assert_string_equal(changes.items[0].entry.value, "2");
    store_watch_close(watch);
}

/* ---- each member ---- */

static void each_member_is_looked_at_by_itself(void **state)
{
    struct scene *scene = *state;
    char url[160];
    snprintf(url, sizeof(url), "etcd://127.0.0.1:%d,127.0.0.1:%d,localhost:%d/%s",
             members.client[0], members.peer[0], members.client[0], scene->prefix);
    struct store *store = NULL;
    AUTO(store_health_release) struct store_health health = {0};
    EXPECT_OK(store_open(url, &members.secure.access, soon(), &store, &trouble));
    EXPECT_OK(store_check(store, soon(), &health, &trouble));
    assert_int_equal(health.count, 3);
    assert_int_equal(health.members[0].status, ST_OK);
    int64_t end_s = health.members[0].certificate_end_s - clock_wall_us() / 1000000;
    assert_in_range(end_s, (SECURE_DAYS - 1) * 86400, SECURE_DAYS * 86400);
    assert_int_equal(health.members[1].status, ST_UNTRUSTED);
    assert_non_null(strstr(health.members[1].problem, "it offers no TLS"));
    assert_int_equal(health.members[2].status, ST_UNTRUSTED);
    assert_non_null(strstr(health.members[2].problem, "for another name"));
    assert_non_null(health.members[2].advice);
    store_close(store);
}

static int start_one(void **state UNUSED)
{
    members_start_secure(&members, 1);
    secure_demand_login(&members.secure);
    return 0;
}

static int stop_members(void **state UNUSED)
{
    members_stop(&members);
    return 0;
}

static void etcd_is_not_installed(void **state UNUSED)
{
    print_message("etcd-server is not installed\n");
    skip();
}

#define ACCESS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_access, tear_down_access)

int main(void)
{
    const struct CMUnitTest all[] = {
        ACCESS_TEST(authority_that_did_not_sign_is_named),
        ACCESS_TEST(member_of_another_name_is_refused_unless_names_do_not_count),
        ACCESS_TEST(client_certificates_that_are_not_accepted_are_told_apart),
        ACCESS_TEST(port_without_tls_is_not_spoken_to_in_clear_text),
        ACCESS_TEST(clear_text_to_a_member_with_tls_fails),
        ACCESS_TEST(wrong_password_is_refused_and_not_shown),
        ACCESS_TEST(password_may_be_changed_under_an_open_store),
        ACCESS_TEST(token_that_has_expired_is_renewed),
        ACCESS_TEST(many_threads_outlive_the_end_of_their_token),
        ACCESS_TEST(permission_that_is_missing_is_named),
        ACCESS_TEST(log_ins_may_be_switched_on_under_an_open_store),
        ACCESS_TEST(watch_logs_in_anew_when_its_token_has_ended),
        ACCESS_TEST(watch_that_is_refused_says_so_and_goes_on_when_it_may),
        ACCESS_TEST(each_member_is_looked_at_by_itself),
    };
    const struct CMUnitTest none[] = {cmocka_unit_test(etcd_is_not_installed)};
    return etcd_is_installed() ? cmocka_run_group_tests(all, start_one, stop_members)
                               : cmocka_run_group_tests(none, NULL, NULL);
}
