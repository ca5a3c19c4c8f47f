/* SPDX-License-Identifier: Apache-2.0
 * The parts of a lab that need no server: names, folders, its file, configuration. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"
#include "os/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char folder[] = "/tmp/holdfast-lab-test-XXXXXX";

static int make_folder(void **state UNUSED)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state UNUSED)
{
    return folder_remove(folder, NULL) == ST_OK ? 0 : -1;
}

static void a_word_means_a_server_a_host_or_a_region(void **state UNUSED)
{
    static const struct {
        const char *word, *first;
        size_t count;
    } cases[] = {
        {"s0-west-1", "s0-west-1", 1}, {"s1-east-3", "s1-east-3", 1}, {"west-1", "s0-west-1", 2},
        {"east-3", "s0-east-3", 2},    {"east", "s0-east-1", 6},
    };
    AUTO(lab_freep) struct lab *lab = lab__new("/lab", &(struct lab_shape){.shards = 2});
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(lab_choice_release) struct lab_choice choice = {0};
        assert_int_equal(lab_choose(lab, cases[i].word, &choice, NULL), ST_OK);
        assert_int_equal(choice.count, cases[i].count);
        assert_string_equal(choice.servers[0]->name, cases[i].first);
    }
}

static void with_daemons_a_host_has_its_agent_and_a_region_all_of_its_daemons(void **state UNUSED)
{
    static const struct {
        const char *word;
        size_t servers, daemons;
    } cases[] = {
        {"agent-west-1", 0, 1}, {"keeper-east-3", 0, 1}, {"conductor-west-2", 0, 1},
        {"etcd-witness", 0, 1}, {"witness", 0, 1},       {"west-1", 2, 2},
        {"s0-west-1", 1, 0},    {"east", 6, 9}, /* 3 keepers, 3 agents, 2 conductors, 1 etcd */
    };
    AUTO(lab_freep)
    struct lab *lab = lab__new("/lab", &(struct lab_shape){.shards = 2, .has_daemons = true});
    assert_int_equal(lab->daemon_count, LAB_DAEMONS);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO(lab_choice_release) struct lab_choice choice = {0};
        assert_int_equal(lab_choose(lab, cases[i].word, &choice, NULL), ST_OK);
        assert_int_equal(choice.count, cases[i].servers);
        assert_int_equal(choice.daemon_count, cases[i].daemons);
    }
}

static void without_daemons_their_names_mean_nothing(void **state UNUSED)
{
    static const char *const words[] = {"agent-west-1", "etcd-witness", "witness"};
    AUTO(lab_freep) struct lab *lab = lab__new("/lab", &(struct lab_shape){.shards = 1});
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        AUTO(lab_choice_release) struct lab_choice choice = {0};
        struct err err = ERR_INIT;
        assert_int_equal(lab_choose(lab, words[i], &choice, &err), ST_INVALID);
    }
}

static void words_that_overlap_choose_a_server_once(void **state UNUSED)
{
    AUTO(lab_freep) struct lab *lab = lab__new("/lab", &(struct lab_shape){.shards = 2});
    AUTO(lab_choice_release) struct lab_choice choice = {0};
    assert_int_equal(lab_choose(lab, "s0-west-1", &choice, NULL), ST_OK);
    assert_int_equal(lab_choose(lab, "west", &choice, NULL), ST_OK);
    assert_int_equal(choice.count, 6);
}

static void an_unknown_name_is_refused_with_those_that_exist(void **state UNUSED)
{
    static const char *const words[] = {"s2-west-1", "s0-west-4", "north",
                                        "west-0",    "",          "S0-west-1"};
    AUTO(lab_freep) struct lab *lab = lab__new("/lab", &(struct lab_shape){.shards = 2});
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        AUTO(lab_choice_release) struct lab_choice choice = {0};
        struct err err = ERR_INIT;
        assert_int_equal(lab_choose(lab, words[i], &choice, &err), ST_INVALID);
        assert_non_null(strstr(err.text, words[i]));
        assert_non_null(strstr(err.hint, "s0-west-1 to s1-east-3"));
    }
}

static void every_server_has_an_address_and_an_id_of_its_own(void **state UNUSED)
{
    AUTO(lab_freep)
    struct lab *lab = lab__new("/lab", &(struct lab_shape){.shards = LAB_SHARDS_MAX});
    for (size_t i = 0; i < lab->server_count; i++)
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(lab->servers[i].host, lab->servers[j].host);
            assert_int_not_equal(lab->servers[i].server_id, lab->servers[j].server_id);
        }
}

static void every_daemon_has_addresses_that_nobody_else_has(void **state UNUSED)
{
    const char *hosts[LAB_SHARDS_MAX * LAB_SHARD_SERVERS + 2 * LAB_DAEMONS];
    size_t count = 0;
    AUTO(lab_freep)
    struct lab *lab =
        lab__new("/lab", &(struct lab_shape){.shards = LAB_SHARDS_MAX, .has_daemons = true});
    for (size_t i = 0; i < lab->server_count; i++)
        hosts[count++] = lab->servers[i].host;
    for (size_t i = 0; i < lab->daemon_count; i++) {
        if (lab->daemons[i].host[0])
            hosts[count++] = lab->daemons[i].host;
        if (lab->daemons[i].peer_host[0])
            hosts[count++] = lab->daemons[i].peer_host;
    }
    assert_int_equal(count, lab->server_count + 2 * 3 + 4);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(hosts[i], hosts[j]);
}

static void only_commands_of_this_lab_are_its_processes(void **state UNUSED)
{
#define WORDS(text) text, sizeof(text)
    static const struct {
        const char *words;
        size_t length;
        bool is_ours;
    } cases[] = {
        {WORDS("mariadbd\0--defaults-file=/lab/servers/s0-west-1/my.cnf"), true},
        {WORDS("etcd\0--name=x\0--data-dir=/lab/etcd/west"), true},
        {WORDS("/bin/holdfast\0conductor\0--fleet\0/lab/holdfast.yaml\0--name\0west-1"), true},
        {WORDS("sh\0/x\0agent\0--fleet\0/lab/holdfast.yaml\0--host\0west-1"), true},
        {WORDS("holdfast\0lab\0keep\0west-1\0--dir\0/lab"), true},
        {WORDS("mariadbd\0--defaults-file=/lab2/servers/s0-west-1/my.cnf"), false},
        {WORDS("etcd\0--data-dir=/lab"), false},
        {WORDS("holdfast\0status\0--fleet\0/lab/holdfast.yaml"), false},
        {WORDS("holdfast\0conductor\0--fleet\0/lab2/holdfast.yaml"), false},
        {WORDS("holdfast\0lab\0keep\0west-1\0--dir\0/lab2"), false},
        {WORDS("holdfast\0lab\0join\0--dir\0/lab"), true},
        {WORDS("holdfast\0lab\0join\0--dir\0/lab2"), false},
        {WORDS("nsenter\0--net=/lab/net/west\0mariadbd\0--defaults-file=/lab/servers/x"), true},
        {WORDS("holdfast\0lab\0down\0--dir\0/lab"), false},
        {WORDS("less\0/lab/holdfast.yaml"), false},
        {WORDS("holdfast\0agent"), false},
        {"agent", 5, false},
        {"", 0, false},
    };
    AUTO(lab_freep)
    struct lab *lab = lab__new("/lab", &(struct lab_shape){.shards = 1, .has_daemons = true});
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(lab__is_command(lab, cases[i].words, cases[i].length), cases[i].is_ours);
}

static void the_folder_is_that_of_the_option_else_of_the_environment(void **state UNUSED)
{
    static const struct {
        const char *option, *lab, *state, *home, *expected;
    } cases[] = {
        {"/proc/o", "/proc/l", "/proc/s", "/proc/h", "/proc/o"},
        {"/proc/o/", NULL, NULL, NULL, "/proc/o"},
        {NULL, "/proc/l", "/proc/s", "/proc/h", "/proc/l"},
        {NULL, "", "/proc/s", "/proc/h", "/proc/s/holdfast/lab"},
        {NULL, NULL, "relative", "/proc/h", "/proc/h/.local/state/holdfast/lab"},
        {NULL, NULL, NULL, "/proc/h", "/proc/h/.local/state/holdfast/lab"},
        {"/proc/./sys/../x", NULL, NULL, NULL, "/proc/x"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *names[] = {"HOLDFAST_LAB", "XDG_STATE_HOME", "HOME"};
        const char *values[] = {cases[i].lab, cases[i].state, cases[i].home};
        for (size_t j = 0; j < ARRAY_SIZE(names); j++) {
            if (values[j])
                setenv(names[j], values[j], 1);
            else
                unsetenv(names[j]);
        }
        AUTO_FREE char *dir = NULL;
        assert_int_equal(lab_folder(cases[i].option, &dir, NULL), ST_OK);
        assert_string_equal(dir, cases[i].expected);
    }
}

static void without_a_home_the_folder_has_to_be_named(void **state UNUSED)
{
    struct err err = ERR_INIT;
    AUTO_FREE char *dir = NULL;
    unsetenv("HOLDFAST_LAB");
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    assert_int_equal(lab_folder(NULL, &dir, &err), ST_INVALID);
    assert_non_null(strstr(err.hint, "--dir"));
    assert_int_equal(lab_folder("/tmp/a\"b", &dir, &err), ST_INVALID);
}

static void what_is_stored_is_read_back(void **state UNUSED)
{
    AUTO(lab_freep)
    struct lab *lab = lab__new(folder, &(struct lab_shape){.shards = 3}), *again = NULL;
    lab->port = 23306;
    lab->mariadbd = mem_strdup("/usr/sbin/mariadbd");
    assert_int_equal(process_identify(getpid(), &lab->servers[4].process, NULL), ST_OK);
    assert_int_equal(lab__store(lab, NULL), ST_OK);
    assert_int_equal(lab_open(folder, &again, NULL), ST_OK);
    assert_int_equal(again->server_count, 18);
    assert_int_equal(again->port, 23306);
    assert_string_equal(again->mariadbd, "/usr/sbin/mariadbd");
    assert_true(process_is_alive(&again->servers[4].process));
    assert_int_equal(again->servers[5].process.pid, 0);
    assert_int_equal(lab_running(again), 1);
}

static void daemons_are_stored_and_agents_are_who_their_keepers_say(void **state UNUSED)
{
    AUTO(lab_freep)
    struct lab *lab = lab__new(folder, &(struct lab_shape){.shards = 1, .has_daemons = true}),
               *again = NULL;
    struct process self;
    char text[PROCESS_TEXT_MAX];
    lab->mariadbd = mem_strdup("/usr/sbin/mariadbd");
    assert_int_equal(process_identify(getpid(), &self, NULL), ST_OK);
    struct lab_daemon *last = &lab->daemons[LAB_DAEMONS - 1];
    assert_int_equal(last->kind, LAB_AGENT);
    AUTO_FREE char *path = lab__agent_identity(lab, last), *run = lab__path(lab, "run");
    process_format(&self, text);
    assert_int_equal(folder_make(run, 0700, NULL), ST_OK);
    assert_int_equal(file_write_unsynced(path, text, strlen(text), NULL), ST_OK);
    lab->daemons[2].process = self;
    lab->policy = (struct lab_policy){3000, AUTOMATIC_REGION};
    assert_int_equal(lab__store(lab, NULL), ST_OK);
    assert_int_equal(lab_open(folder, &again, NULL), ST_OK);
    assert_int_equal(lab_running(again), 2);
    assert_int_equal(again->policy.ttl_ms, 3000);
    assert_int_equal(again->policy.automatic, AUTOMATIC_REGION);
    assert_string_equal(lab_daemon_state(&again->daemons[2]), "up");
    assert_string_equal(lab_daemon_state(&again->daemons[LAB_DAEMONS - 1]), "up");
    assert_string_equal(lab_daemon_state(&again->daemons[0]), "down");
    assert_int_equal(folder_remove(run, NULL), ST_OK);
}

static void the_network_is_stored_and_is_a_process_of_no_region(void **state UNUSED)
{
    const struct lab_shape shape = {.shards = 1, .network = {true, 30, 2, 1000, 50}};
    AUTO(lab_freep) struct lab *lab = lab__new(folder, &shape), *again = NULL;
    AUTO(lab_choice_release) struct lab_choice west = {0};
    AUTO(lab_choice_release) struct lab_choice wan = {0};
    struct err err = ERR_INIT;
    lab->mariadbd = mem_strdup("/usr/sbin/mariadbd");
    assert_int_equal(lab__store(lab, NULL), ST_OK);
    assert_int_equal(lab_open(folder, &again, NULL), ST_OK);
    assert_false(again->has_daemons);
    assert_true(again->network.is_netns);
    assert_int_equal(again->network.rtt_ms, 30);
    assert_int_equal(again->network.jitter_ms, 2);
    assert_int_equal(again->network.loss_ppm, 1000);
    assert_int_equal(again->network.mbit_s, 50);
    assert_int_equal(lab_choose(again, "west", &west, NULL), ST_OK);
    assert_int_equal(west.daemon_count, 0);
    assert_int_equal(lab_choose(again, "wan", &wan, NULL), ST_OK);
    assert_int_equal(wan.daemon_count, 1);
    assert_int_equal(wan.count, 0);
    assert_int_equal(lab_choose(again, "", &wan, &err), ST_INVALID);
}

static void a_region_is_unplugged_when_all_its_ways_are_cut(void **state UNUSED)
{
    const struct lab_shape shape = {.shards = 1, .network = {.is_netns = true}};
    AUTO(lab_freep) struct lab *lab = lab__new(folder, &shape);
    AUTO_FREE char *net = lab__path(lab, "net");
    struct err err = ERR_INIT;
    struct lab_cuts cuts;
    assert_int_equal(lab__network_make(lab, NULL), ST_OK);
    assert_int_equal(lab_cut(lab, 0, 1, true, NULL), ST_OK);
    lab_cuts(lab, &cuts);
    assert_true(cuts.is_cut[0][1] && !cuts.is_cut[1][0] && !lab_is_unplugged(&cuts, 0));
    assert_int_equal(lab_cut(lab, 0, LAB_SITES, true, NULL), ST_OK);
    lab_cuts(lab, &cuts);
    assert_true(lab_is_unplugged(&cuts, 0) && !lab_is_unplugged(&cuts, 1) && !cuts.is_cut[1][2]);
    assert_int_equal(lab_cut(lab, 0, LAB_SITES, false, NULL), ST_OK);
    lab_cuts(lab, &cuts);
    assert_false(cuts.is_cut[0][1] || cuts.is_cut[2][0]);
    assert_int_equal(lab_cut(lab, 1, 1, true, &err), ST_INVALID);
    assert_int_equal(folder_remove(net, NULL), ST_OK);
}

static void a_damaged_file_is_refused_with_its_path(void **state UNUSED)
{
    static const char *const texts[] = {
        "",
        "{",
        "{}",
        "[]",
        "{\"format\":2,\"port\":1,\"shards\":1,\"mariadbd\":\"\",\"servers\":[]}",
        "{\"format\":1,\"port\":1,\"shards\":1,\"mariadbd\":\"\",\"servers\":[]}",
        "{\"format\":1,\"port\":1,\"shards\":100000000,\"mariadbd\":\"\",\"servers\":[]}",
        "{\"format\":1,\"port\":1,\"shards\":1,\"mariadbd\":\"\",\"servers\":[],\"daemons\":7}",
        "{\"format\":1,\"port\":-1,\"shards\":1,\"mariadbd\":\"\",\"servers\":[]}",
    };
    AUTO_FREE char *path = mem_printf("%s/lab.json", folder);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        AUTO(lab_freep) struct lab *lab = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(file_write_unsynced(path, texts[i], strlen(texts[i]), NULL), ST_OK);
        assert_int_equal(lab_open(folder, &lab, &err), ST_INVALID);
        assert_non_null(strstr(err.text, path));
    }
    assert_int_equal(folder_remove(path, NULL), ST_OK);
}

static void configuration_is_role_neutral(void **state UNUSED)
{
    static const char *const lines[] = {
        "\nread_only=1\n",
        "\nskip_slave_start=1\n",
        "\nrpl_semi_sync_master_enabled=0\n",
        "\nrpl_semi_sync_slave_enabled=0\n",
        "\nserver_id=111\n",
        "\ndatadir=\"/my lab/servers/s0-west-1/data\"\n",
    };
    AUTO(lab_freep) struct lab *lab = lab__new("/my lab", &(struct lab_shape){.shards = 1});
    AUTO(buf_release) struct buf config = {0};
    lab__server_options(lab, &lab->servers[0], &config);
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        assert_non_null(strstr(buf_text(&config), lines[i]));
}

static void passwords_are_long_different_and_only_for_the_owner(void **state UNUSED)
{
    AUTO(lab_freep)
    struct lab *lab = lab__new(folder, &(struct lab_shape){.shards = 1}),
               *again = lab__new(folder, &(struct lab_shape){.shards = 1});
    assert_int_equal(lab__passwords_make(lab, NULL), ST_OK);
    assert_int_equal(lab__passwords_load(again, NULL), ST_OK);
    for (size_t i = 0; i < LAB_ACCOUNTS; i++) {
        AUTO_FREE char *path = lab__path(lab, lab__password_file((enum lab_account)i));
        struct stat info;
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
        assert_int_equal(strlen(secret_reveal(&lab->passwords[i])), 24);
        assert_string_equal(secret_reveal(&lab->passwords[i]), secret_reveal(&again->passwords[i]));
        assert_string_not_equal(secret_reveal(&lab->passwords[i]),
                                secret_reveal(&lab->passwords[(i + 1) % LAB_ACCOUNTS]));
    }
}

static void the_state_is_up_only_when_every_server_answers(void **state UNUSED)
{
    AUTO(lab_freep) struct lab *lab = lab__new("/lab", &(struct lab_shape){.shards = 1});
    struct lab_view views[LAB_SHARD_SERVERS] = {{.role = LAB_ROLE_PRIMARY},
                                                {.role = LAB_ROLE_FENCED}};
    assert_string_equal(lab_state_name(lab, views), "up");
    views[1].role = LAB_ROLE_FROZEN;
    assert_string_equal(lab_state_name(lab, views), "partly");
    views[0].role = LAB_ROLE_DOWN;
    assert_string_equal(lab_state_name(lab, views), "partly");
    for (size_t i = 0; i < LAB_SHARD_SERVERS; i++)
        views[i].role = LAB_ROLE_DOWN;
    assert_string_equal(lab_state_name(lab, views), "down");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_means_a_server_a_host_or_a_region),
        cmocka_unit_test(with_daemons_a_host_has_its_agent_and_a_region_all_of_its_daemons),
        cmocka_unit_test(without_daemons_their_names_mean_nothing),
        cmocka_unit_test(words_that_overlap_choose_a_server_once),
        cmocka_unit_test(an_unknown_name_is_refused_with_those_that_exist),
        cmocka_unit_test(every_server_has_an_address_and_an_id_of_its_own),
        cmocka_unit_test(every_daemon_has_addresses_that_nobody_else_has),
        cmocka_unit_test(only_commands_of_this_lab_are_its_processes),
        cmocka_unit_test(the_folder_is_that_of_the_option_else_of_the_environment),
        cmocka_unit_test(without_a_home_the_folder_has_to_be_named),
        cmocka_unit_test(what_is_stored_is_read_back),
        cmocka_unit_test(daemons_are_stored_and_agents_are_who_their_keepers_say),
        cmocka_unit_test(the_network_is_stored_and_is_a_process_of_no_region),
        cmocka_unit_test(a_region_is_unplugged_when_all_its_ways_are_cut),
        cmocka_unit_test(a_damaged_file_is_refused_with_its_path),
        cmocka_unit_test(configuration_is_role_neutral),
        cmocka_unit_test(passwords_are_long_different_and_only_for_the_owner),
        cmocka_unit_test(the_state_is_up_only_when_every_server_answers),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
