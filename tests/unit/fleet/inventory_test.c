/* SPDX-License-Identifier: Apache-2.0
 * Units of fleet/inventory: what a good file means, and the exact message for each bad one. */
#include "fleet/inventory.h"

#include "base/mem.h"
#include "base/scope.h"
#include "net/certificate.h"
#include "os/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "inventory_test.h"

/* The same but for the list of hosts, in line 6. */
#define ONE_SHARD(servers)                                                                         \
    HEAD "deployments: [ { name: d, shards: [ { name: s, servers: " servers " } ] } ]\n"
#define HOSTS(hosts) ONE_SHARD("[ { region: west, hosts: " hosts " } ]")

static void good_file_is_read_in_order(UNUSED void **state)
{
    AUTO(inventory_freep) struct inventory *inventory = parse(HEAD SHARDS);
    assert_int_equal(inventory->promise_rto_ms, 30000);
    assert_int_equal(inventory->promise_rpo_ms, 5000);
    assert_int_equal(inventory->region_count, 2);
    assert_string_equal(inventory->regions[1], "east");
    assert_string_equal(inventory->store_url, "file:///var/lib/holdfast");
    assert_string_equal(inventory->credentials.user, "holdfast");
    assert_string_equal(inventory->replication.password_file, "repl.password");
    assert_null(inventory->probe.user);
    assert_int_equal(inventory->shard_count, 1);
    const struct inventory_shard *shard = inventory_find_shard(inventory, "orders-0");
    assert_ptr_equal(shard, &inventory->shards[0]);
    assert_string_equal(shard->deployment, "orders");
    assert_int_equal(shard->server_count, 4);
    assert_string_equal(shard->servers[1].name, "10.0.1.12:3307");
    assert_string_equal(shard->servers[2].name, "10.0.2.11:3306");
    assert_string_equal(shard->servers[3].host, "db-2.example.com");
    assert_int_equal(shard->servers[3].port, 3308);
    assert_int_equal(shard->servers[1].region, 0);
    assert_int_equal(shard->servers[3].region, 1);
    assert_int_equal(shard->servers[3].index, 3);
    assert_null(inventory_find_shard(inventory, "orders-1"));
}

static void policy_and_probe_are_optional_with_defaults(UNUSED void **state)
{
    AUTO(inventory_freep) struct inventory *plain = parse(HEAD SHARDS);
    assert_int_equal(plain->policy.freeze_cap, 0);
    assert_int_equal(plain->policy.freeze_timeout_ms, 500);
    assert_int_equal(plain->policy.move_timeout_ms, 10000);
    assert_int_equal(plain->policy.max_lag_ms, 1000);
    assert_int_equal(plain->policy.hold_down_ms, 60000);
    assert_int_equal(plain->policy.failovers_an_hour, 3);
    AUTO(inventory_freep)
    struct inventory *inventory =
        parse(HEAD "probe: { user: holdfast_probe, password_env: PROBE_PASSWORD }\n"
                   "policy: { freeze_cap: 3, freeze_timeout: 250ms, move_timeout: 1m, "
                   "max_lag: 2s, hold_down: 5s, failovers_an_hour: 0, "
                   "accept: [ super-accounts, disk ] }\n" SHARDS);
    assert_string_equal(inventory->probe.password_env, "PROBE_PASSWORD");
    assert_int_equal(inventory->policy.freeze_cap, 3);
    assert_int_equal(inventory->policy.freeze_timeout_ms, 250);
    assert_int_equal(inventory->policy.move_timeout_ms, 60000);
    assert_int_equal(inventory->policy.max_lag_ms, 2000);
    assert_int_equal(inventory->policy.hold_down_ms, 5000);
    assert_int_equal(inventory->policy.failovers_an_hour, 0);
    assert_int_equal(inventory->policy.accept_count, 2);
    assert_string_equal(inventory->policy.accept[1], "disk");
}

static void keys_may_come_in_any_order(UNUSED void **state)
{
    AUTO(inventory_freep)
    struct inventory *inventory = parse("deployments:\n"
                                        "- shards:\n"
                                        "  - servers: [ { hosts: [ a, b ], region: east } ]\n"
                                        "    name: s\n"
                                        "  name: d\n" HEAD);
    assert_string_equal(inventory->shards[0].deployment, "d");
    assert_string_equal(inventory->shards[0].name, "s");
    assert_int_equal(inventory->shards[0].servers[1].region, 1);
}

static void ignored_servers_stand_behind_the_others(UNUSED void **state)
{
    AUTO(inventory_freep)
    struct inventory *inventory =
        parse(ONE_SHARD("[ { ignore: [ w3 ], region: west, hosts: [ w1, w2 ] },"
                        " { region: east, hosts: [ e1 ], ignore: [ e2, '[::1]' ] } ]"));
    static const char *const names[] = {"w1:3306", "w2:3306", "e1:3306",
                                        "w3:3306", "e2:3306", "[::1]:3306"};
    static const size_t regions[] = {0, 0, 1, 0, 1, 1};
    const struct inventory_shard *shard = &inventory->shards[0];
    assert_int_equal(shard->server_count, 3);
    assert_int_equal(shard->ignored_count, 3);
    for (size_t i = 0; i < inventory_shard_size(shard); i++) {
        assert_string_equal(shard->servers[i].name, names[i]);
        assert_int_equal(shard->servers[i].region, regions[i]);
        assert_int_equal(shard->servers[i].index, i);
    }
}

static void addresses_are_normalised(UNUSED void **state)
{
    AUTO(inventory_freep)
    struct inventory *inventory = parse(HOSTS("[ DB1.Example, '[0:0::1]:3307', '[fe80::A]' ]"));
    const struct inventory_server *servers = inventory->shards[0].servers;
    assert_string_equal(servers[0].name, "db1.example:3306");
    assert_string_equal(servers[1].name, "[::1]:3307");
    assert_string_equal(servers[1].host, "::1");
    assert_string_equal(servers[2].name, "[fe80::a]:3306");
}

static void keys_are_checked_with_file_and_line(UNUSED void **state)
{
    static const struct bad_file files[] = {
        {"prmise: { rto: 30s }\n",
         "holdfast.yaml:1: unknown key 'prmise' (did you mean 'promise'?)"},
        {"\n\nwitness: x\n", "holdfast.yaml:3: unknown key 'witness'"},
        {"promise: { rto: 30s, rpoo: 5s }\n",
         "holdfast.yaml:1: unknown key 'rpoo' (did you mean 'rpo'?)"},
        {HEAD "store: file:///x\n", "holdfast.yaml:6: duplicate key 'store' (first in line 3)"},
        {"promise: { rto: 30s, rto: 5s }\n",
         "holdfast.yaml:1: duplicate key 'rto' (first in line 1)"},
        {"# c\npromise:\n  rto: 30s\n", "holdfast.yaml:3: 'promise' lacks the key 'rpo'"},
        {HEAD, "holdfast.yaml:1: the file lacks the key 'deployments'"},
        {"deployments: []\n", "holdfast.yaml:1: the file lacks the key 'regions'"},
        {HEAD "deployments:\n  - name: a\n",
         "holdfast.yaml:7: an item of 'deployments' lacks the key 'shards'"},
        {HEAD "deployments:\n  - shards:\n    - servers: [ { region: west, hosts: [ a ] } ]\n",
         "holdfast.yaml:8: an item of 'shards' lacks the key 'name'"},
        {ONE_SHARD("[ { hosts: [ a ] } ]"),
         "holdfast.yaml:6: an item of 'servers' lacks the key 'region'"},
        {"[ a, b ]: c\n", "holdfast.yaml:1: a key must be a single word"},
        {"\"pro\\nmise\": c\n",
         "holdfast.yaml:1: unknown key 'pro?mise' (did you mean 'promise'?)"},
    };
    refuse_all(files, ARRAY_SIZE(files));
}

static void kinds_of_values_are_checked(UNUSED void **state)
{
    static const struct bad_file files[] = {
        {"", "holdfast.yaml:1: the file is empty"},
        {"# only a comment\n", "holdfast.yaml:1: the file is empty"},
        {"hello\n", "holdfast.yaml:1: the file must be keys with values, not a single value"},
        {"promise: 30s\n",
         "holdfast.yaml:1: 'promise' must be keys with values, not a single value"},
        {"promise:\nregions: [ a, b ]\n",
         "holdfast.yaml:1: 'promise' must be keys with values, but nothing follows"},
        {"regions: west\n", "holdfast.yaml:1: 'regions' must be a list, not a single value"},
        {"regions: [ [ west ] ]\n",
         "holdfast.yaml:1: an item of 'regions' must be a single value, not a list"},
        {"store: [ a, b ]\n", "holdfast.yaml:1: 'store' must be a single value, not a list"},
        {HEAD "deployments: [ orders ]\n",
         "holdfast.yaml:6: an item of 'deployments' must be keys with values, not a single value"},
        {"regions: []\n", "holdfast.yaml:1: 'regions' must not be empty"},
        {HEAD "deployments: []\n", "holdfast.yaml:6: 'deployments' must not be empty"},
        {HEAD "deployments:\n- name: d\n  shards: []\n",
         "holdfast.yaml:8: 'shards' must not be empty"},
        {ONE_SHARD("[]"), "holdfast.yaml:6: 'servers' must not be empty"},
        {HOSTS("[]"), "holdfast.yaml:6: 'hosts' must not be empty"},
        {"store: ''\n", "holdfast.yaml:1: 'store' must not be empty"},
        {"store: \"a\\tb\"\n", "holdfast.yaml:1: 'store' contains a control character"},
        {"store: \"a\\0b\"\n", "holdfast.yaml:1: 'store' contains a NUL byte"},
    };
    refuse_all(files, ARRAY_SIZE(files));
}

static void values_are_checked(UNUSED void **state)
{
#define DURATION(text) "promise:\n  rto: " text "\n"
#define ACCOUNT(text) "credentials: { " text " }\n"
    static const struct bad_file files[] = {
        {DURATION("30"),
         "holdfast.yaml:2: 'rto': '30' is not a duration; write 500ms, 30s, 5m or 1h"},
        {DURATION("-1s"),
         "holdfast.yaml:2: 'rto': '-1s' is not a duration; write 500ms, 30s, 5m or 1h"},
        {DURATION("1.5s"),
         "holdfast.yaml:2: 'rto': '1.5s' is not a duration; write 500ms, 30s, 5m or 1h"},
        {DURATION("9999999999999999999s"),
         "holdfast.yaml:2: 'rto': '9999999999999999999s' is longer than 168h"},
        {DURATION("169h"), "holdfast.yaml:2: 'rto': '169h' is longer than 168h"},
        {DURATION("0s"), "holdfast.yaml:2: 'rto' must be longer than 0"},
        {"regions: [ west ]\n",
         "holdfast.yaml:1: 'regions' must name exactly 2 core regions, not 1"},
        {"regions: [ a, b, c ]\n",
         "holdfast.yaml:1: 'regions' must name exactly 2 core regions, not 3"},
        {"regions:\n  - west\n  - west\n",
         "holdfast.yaml:3: duplicate region 'west' (first in line 2)"},
        {"regions: [ we/st, east ]\n", "holdfast.yaml:1: an item of 'regions': 'we/st' may only "
                                       "have letters, digits, '_', '.', '-'"},
        {"store: file:data\n",
         "holdfast.yaml:1: 'store': 'file:data' is not like file:///DIRECTORY (absolute), nor like "
         "etcd://HOST:PORT,HOST:PORT,HOST:PORT"},
        {"store: etcd://10.0.0.1\n",
         "holdfast.yaml:1: 'store': 'etcd://10.0.0.1' is not like file:///DIRECTORY (absolute), "
         "nor like etcd://HOST:PORT,HOST:PORT,HOST:PORT"},
        {ACCOUNT("user: a, password: b"),
         "holdfast.yaml:1: a password must not be in this file; use password_file"},
        {ACCOUNT("user: a"),
         "holdfast.yaml:1: 'credentials' lacks the key 'password_file' (or 'password_env')"},
        {ACCOUNT("password_file: a"), "holdfast.yaml:1: 'credentials' lacks the key 'user'"},
        {ACCOUNT("user: a, password_file: b, password_env: C"),
         "holdfast.yaml:1: 'credentials' has both password_file and password_env"},
        {"policy: { freeze_cap: -1 }\n",
         "holdfast.yaml:1: 'freeze_cap': '-1' is not a whole number up to 4294967295"},
        {"policy: { failovers_an_hour: 9 }\n",
         "holdfast.yaml:1: 'failovers_an_hour' may be 8 at most; 0 is without a limit"},
        {"policy: { freeze_timeout: 10s }\n", "holdfast.yaml:1: 'policy': freeze_timeout (10000ms) "
                                              "must be shorter than move_timeout (10000ms)"},
    };
    refuse_all(files, ARRAY_SIZE(files));
}

static void servers_are_checked(UNUSED void **state)
{
    static const struct bad_file files[] = {
        {HOSTS("[ 'a:0' ]"), "holdfast.yaml:6: 'hosts': port '0' is not a number from 1 to 65535"},
        {HOSTS("[ 'a:65536' ]"),
         "holdfast.yaml:6: 'hosts': port '65536' is not a number from 1 to 65535"},
        {HOSTS("[ 'a:' ]"), "holdfast.yaml:6: 'hosts': port '' is not a number from 1 to 65535"},
        {HOSTS("[ 'a:33x' ]"),
         "holdfast.yaml:6: 'hosts': port '33x' is not a number from 1 to 65535"},
        {HOSTS("[ ':3306' ]"), "holdfast.yaml:6: 'hosts': a host has 1 to 253 characters"},
        {HOSTS("[ 10.0.0.256 ]"), "holdfast.yaml:6: 'hosts': '10.0.0.256' is not an IPv4 address"},
        {HOSTS("[ a/b ]"), "holdfast.yaml:6: 'hosts': 'a/b' is not a host name"},
        {HOSTS("[ '::1' ]"),
         "holdfast.yaml:6: 'hosts': '::1': write an IPv6 address as \"[::1]:3306\""},
        {HOSTS("[ '[::1]3306' ]"), "holdfast.yaml:6: 'hosts': '[::1]3306' is not like [::1]:3306"},
        {HOSTS("[ '[::g]:3306' ]"), "holdfast.yaml:6: 'hosts': '::g' is not an IPv6 address"},
        {HOSTS("[ a,\n b, 'A:3306' ]"),
         "holdfast.yaml:7: duplicate server 'a:3306' (first in line 6)"},
        {ONE_SHARD("[ { region: west, ignore: [ a ] } ]"),
         "holdfast.yaml:6: an item of 'servers' lacks the key 'hosts'"},
        {ONE_SHARD("[ { region: west, hosts: [ a ],\n ignore: [] } ]"),
         "holdfast.yaml:7: 'ignore' must not be empty"},
        {ONE_SHARD("[ { region: west, hosts: [ a ],\n ignore: [ a ] } ]"),
         "holdfast.yaml:7: duplicate server 'a:3306' (first in line 6)"},
        {ONE_SHARD("[ { region: west, hosts: [ a ],\n ignore: [ a/b ] } ]"),
         "holdfast.yaml:7: 'ignore': 'a/b' is not a host name"},
        {ONE_SHARD("[ { region: west, hosts: [ a ],\n ignored: [ b ] } ]"),
         "holdfast.yaml:7: unknown key 'ignored' (did you mean 'ignore'?)"},
        {ONE_SHARD("[ { region: wset, hosts: [ a ] } ]"),
         "holdfast.yaml:6: unknown region 'wset'; 'regions' names 'west' and 'east'"},
        {ONE_SHARD("[ { region: wesst, hosts: [ a ] } ]"),
         "holdfast.yaml:6: unknown region 'wesst' (did you mean 'west'?)"},
        {ONE_SHARD("[ { region: west, hosts: [ a ] },\n { region: west, hosts: [ b ] } ]"),
         "holdfast.yaml:7: region 'west' comes twice in this shard (first in line 6)"},
        {HEAD SHARDS
         "      - name: orders-0\n        servers: [ { region: west, hosts: [ x ] } ]\n",
         "holdfast.yaml:13: duplicate shard 'orders-0' (first in line 9)"},
        {HEAD SHARDS "  - name: files\n    shards:\n      - name: orders-0\n        servers: []\n",
         "holdfast.yaml:15: duplicate shard 'orders-0' (first in line 9)"},
        {HEAD SHARDS "      - name: orders-1\n        servers: [ { region: west, hosts: "
                     "[ 10.0.2.11:3306 ] } ]\n",
         "holdfast.yaml:14: duplicate server '10.0.2.11:3306' (first in line 12)"},
        {HEAD SHARDS "  - name: orders\n",
         "holdfast.yaml:13: duplicate deployment 'orders' (first in line 7)"},
    };
    refuse_all(files, ARRAY_SIZE(files));
}

static void only_plain_yaml_is_accepted(UNUSED void **state)
{
    static const struct bad_file files[] = {
        {"a: &x b\n",
         "holdfast.yaml:1: anchors and aliases (& and *) are not supported; write the value out"},
        {"a: b\nc: *x\n",
         "holdfast.yaml:2: anchors and aliases (& and *) are not supported; write the value out"},
        {"a: !!int 5\n", "holdfast.yaml:1: tags (!) are not supported"},
        {"store: file:///x\n---\na: b\n",
         "holdfast.yaml:2: a second document begins here (---); a fleet file has one"},
        {"a: [[[[[[[[[[[[[[[[[[[[\n", "holdfast.yaml:1: nested too deep"},
        {"regions: [ a, b\nstore: x\n",
         "holdfast.yaml:2: invalid YAML: did not find expected ',' or ']' "
         "while parsing a flow sequence that begins in line 1"},
        {"a: b\n\tc: d\n",
         "holdfast.yaml:2: invalid YAML: found a tab character that violates indentation "
         "while scanning a plain scalar that begins in line 1"},
        {"a: b\nc: \x01\n", "holdfast.yaml:2: invalid YAML: control characters are not allowed"},
        {"a: b\n\nc: \xff\n", "holdfast.yaml:3: invalid YAML: invalid leading UTF-8 octet"},
    };
    refuse_all(files, ARRAY_SIZE(files));
}

static void oversized_text_is_refused(UNUSED void **state)
{
    AUTO_FREE char *text = mem_zalloc(INVENTORY_FILE_MAX + 2);
    memset(text, '\n', INVENTORY_FILE_MAX + 1);
    assert_refused(text, "holdfast.yaml: larger than 1048576 bytes");
}

static void unknown_key_comes_with_the_known_ones(UNUSED void **state)
{
    static const char text[] = "promise: { target: 30s }\n";
    struct inventory *inventory = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(inventory_parse(text, strlen(text), "f", &inventory, &err), ST_INVALID);
    assert_string_equal(err.hint, "the keys here are: rto, rpo, rpo_guard");
}

static void hooks_are_programs_for_events(UNUSED void **state)
{
    AUTO(inventory_freep)
    struct inventory *inventory = parse(
        HEAD "hooks:\n"
             "  - { name: drain, events: [ run.before, run.after ], exec: [ /bin/a, -x, \"\" ],\n"
             "      undo: [ /bin/b ], timeout: 5s, required: true }\n"
             "  - { name: tell, events: [ shard.frozen ], exec: [ /bin/c ] }\n" SHARDS);
    assert_int_equal(inventory->hook_count, 2);
    const struct inventory_hook *hook = inventory_find_hook(inventory, "drain");
    assert_int_equal(hook->events, 1U << HOOK_RUN_BEFORE | 1U << HOOK_RUN_AFTER);
    assert_int_equal(hook->exec.count, 3);
    assert_string_equal(hook->exec.argv[2], "");
    assert_null(hook->exec.argv[3]);
    assert_string_equal(hook->undo.argv[0], "/bin/b");
    assert_int_equal(hook->timeout_ms, 5000);
    assert_true(hook->is_required);
    assert_null(inventory->hooks[1].undo.argv);
    assert_int_equal(inventory->hooks[1].timeout_ms, HOOK_TIMEOUT_MS);
    AUTO(buf_release) struct buf once = {0};
    AUTO(buf_release) struct buf twice = {0};
    inventory_write(inventory, &once);
    AUTO(inventory_freep) struct inventory *again = parse(buf_text(&once));
    inventory_write(again, &twice);
    assert_string_equal(buf_text(&once), buf_text(&twice));
    assert_refused(HEAD "hooks: [ { name: a, events: [ run.befor ], exec: [ /a ] } ]\n" SHARDS,
                   "holdfast.yaml:6: unknown event 'run.befor' (did you mean 'run.before'?)");
    assert_refused(HEAD "hooks: [ { name: a, events: [ run.after ], exec: [ a ] } ]\n" SHARDS,
                   "holdfast.yaml:6: 'exec': the program needs its full path, from /");
    assert_refused(HEAD "hooks:\n  - { name: a, events: [ run.after ], exec: [ /a ] }\n"
                        "  - { name: a, events: [ run.after ], exec: [ /a ] }\n" SHARDS,
                   "holdfast.yaml:8: duplicate hook 'a' (first in line 7)");
}

static void permission_has_a_bounded_ttl(UNUSED void **state)
{
    AUTO(inventory_freep) struct inventory *plain = parse(HEAD SHARDS);
    assert_int_equal(plain->permission_ttl_ms, 3000);
    assert_int_equal(plain->host_count, 0);
    static const struct bad_file files[] = {
        {"permission: { ttl: 499ms }\n",
         "holdfast.yaml:1: 'ttl' must be from 500ms to 60s, not 499ms"},
        {"permission: { ttl: 61s }\n",
         "holdfast.yaml:1: 'ttl' must be from 500ms to 60s, not 61000ms"},
        {"permission: {}\n", "holdfast.yaml:1: 'permission' lacks the key 'ttl'"},
        {"permission: { ttl: 2s, margin: 1s }\n", "holdfast.yaml:1: unknown key 'margin'"},
    };
    refuse_all(files, ARRAY_SIZE(files));
    AUTO(inventory_freep)
    struct inventory *least = parse(HEAD "permission: { ttl: 500ms }\n" SHARDS);
    AUTO(inventory_freep)
    struct inventory *most = parse(HEAD "permission: { ttl: 1m }\n" SHARDS);
    assert_int_equal(least->permission_ttl_ms, 500);
    assert_int_equal(most->permission_ttl_ms, 60000);
}

static void a_guarded_rpo_needs_agents_and_conductors(UNUSED void **state)
{
#define GUARDED(promise, rest) "promise: { rto: 30s, " promise " }\n" AFTER_PROMISE SHARDS rest
#define ALL_HOSTS                                                                                  \
    "hosts:\n  - { name: a, region: west, servers: [ 10.0.1.12:3307, 10.0.1.11 ] }\n"              \
    "  - { name: b, region: east, servers: [ db-2.example.com:3308, 10.0.2.11 ] }\n"
#define WEST "conductors:\n  - { name: w, region: west, listen: 127.0.0.1:7420 }\n"
#define EAST "  - { name: e, region: east, listen: 127.0.0.1:7421 }\n"
    static const struct bad_file files[] = {
        {GUARDED("rpo: 499ms, rpo_guard: true", ALL_HOSTS WEST EAST),
         "holdfast.yaml:1: 'rpo_guard' needs an 'rpo' of 500ms or more"},
        {GUARDED("rpo: 1s, rpo_guard: true", ALL_HOSTS WEST),
         "holdfast.yaml:1: 'rpo_guard': region 'east' has none of 'conductors', who would watch "
         "what the other region has"},
        {GUARDED("rpo: 1s, rpo_guard: true",
                 "hosts:\n  - { name: a, region: west, servers: [ 10.0.1.12:3307 ] }\n" WEST EAST),
         "holdfast.yaml:1: 'rpo_guard': server '10.0.1.11:3306' is on none of 'hosts', so that no "
         "agent would close it"},
        {GUARDED("rpo: 1s, rpo_guard: yes please", ""),
         "holdfast.yaml:1: 'rpo_guard': 'yes please' is neither true nor false"},
    };
    refuse_all(files, ARRAY_SIZE(files));
    AUTO(inventory_freep)
    struct inventory *guarded = parse(GUARDED("rpo: 1s, rpo_guard: true", ALL_HOSTS WEST EAST));
    assert_true(guarded->is_rpo_guarded);
    assert_int_equal(inventory_serve_ms(guarded), 1000);
    guarded->promise_rpo_ms = 9000;
    assert_int_equal(inventory_serve_ms(guarded), 3000);
    AUTO(buf_release) struct buf text = {0};
    inventory_write(guarded, &text);
    assert_non_null(strstr(buf_text(&text), "promise: { rto: 30s, rpo: 9s, rpo_guard: true }\n"));
    AUTO(inventory_freep)
    struct inventory *off = parse(GUARDED("rpo: 0ms, rpo_guard: false", ""));
    assert_false(off->is_rpo_guarded);
    assert_int_equal(inventory_serve_ms(off), 3000);
}

static void hosts_name_servers_of_their_region_wherever_they_stand(UNUSED void **state)
{
    AUTO(inventory_freep)
    struct inventory *inventory = parse(
        "hosts:\n"
        "  - { servers: [ 10.0.1.12:3307, 10.0.1.11 ], region: west, name: db-w1 }\n"
        "  - { name: db-e1, region: east, servers: [ DB-2.example.com:3308 ] }\n" HEAD SHARDS);
    assert_int_equal(inventory->host_count, 2);
    const struct inventory_host *host = inventory_find_host(inventory, "db-w1");
    assert_ptr_equal(host, &inventory->hosts[0]);
    assert_int_equal(host->region, 0);
    assert_int_equal(host->place_count, 2);
    assert_string_equal(inventory_host_server(inventory, host, 0)->name, "10.0.1.12:3307");
    assert_string_equal(inventory_host_server(inventory, host, 1)->name, "10.0.1.11:3306");
    assert_true(inventory_host_server(inventory, host, 1)->has_agent);
    host = inventory_find_host(inventory, "db-e1");
    assert_int_equal(host->region, 1);
    assert_string_equal(inventory_host_server(inventory, host, 0)->name, "db-2.example.com:3308");
    assert_null(inventory_find_host(inventory, "db-w2"));
}

static void hosts_are_checked(UNUSED void **state)
{
#define ON_HOSTS(hosts) HEAD SHARDS "hosts:\n" hosts
    static const struct bad_file files[] = {
        {ON_HOSTS("  - { name: a, region: west, servers: [ 10.0.1.13 ] }\n"),
         "holdfast.yaml:14: 'servers': no shard has a server '10.0.1.13:3306'"},
        {ON_HOSTS("  - { name: a, region: east, servers: [ 10.0.1.11 ] }\n"),
         "holdfast.yaml:14: 'servers': server '10.0.1.11:3306' is in region 'west', host 'a' in "
         "'east'"},
        {ON_HOSTS("  - { name: a, region: west, servers: [ 10.0.1.11 ] }\n"
                  "  - { name: b, region: west, servers: [ 10.0.1.12:3307,\n 10.0.1.11:3306 ] }\n"),
         "holdfast.yaml:16: duplicate server of a host '10.0.1.11:3306' (first in line 14)"},
        {ON_HOSTS("  - { name: a, region: west, servers: [ 10.0.1.11 ] }\n"
                  "  - { name: a, region: west, servers: [ 10.0.1.12:3307 ] }\n"),
         "holdfast.yaml:15: duplicate host 'a' (first in line 14)"},
        {ON_HOSTS("  - { name: a, region: weest, servers: [ 10.0.1.11 ] }\n"),
         "holdfast.yaml:14: unknown region 'weest' (did you mean 'west'?)"},
        {ON_HOSTS("  - { name: a/b, region: west, servers: [ 10.0.1.11 ] }\n"),
         "holdfast.yaml:14: 'name': 'a/b' may only have letters, digits, '_', '.', '-'"},
        {ON_HOSTS("  - { name: a, region: west, servers: [ 'x:0' ] }\n"),
         "holdfast.yaml:14: 'servers': port '0' is not a number from 1 to 65535"},
        {ON_HOSTS("  - { name: a, region: west }\n"),
         "holdfast.yaml:14: an item of 'hosts' lacks the key 'servers'"},
        {ON_HOSTS("  - { name: a, region: west, servers: [] }\n"),
         "holdfast.yaml:14: 'servers' must not be empty"},
        {ON_HOSTS("  - { name: a, region: west, servers: 10.0.1.11 }\n"),
         "holdfast.yaml:14: 'servers' must be a list, not a single value"},
        {ON_HOSTS("  - { name: a, region: west, serves: [ 10.0.1.11 ] }\n"),
         "holdfast.yaml:14: unknown key 'serves' (did you mean 'servers'?)"},
        {HEAD SHARDS "hosts: none\n",
         "holdfast.yaml:13: 'hosts' must be a list, not a single value"},
        {HEAD "deployments: [ { name: d, shards: [ { name: s, servers: [ { region: west,"
              " hosts: [ a ], ignore: [ b ] } ] } ] } ]\n"
              "hosts: [ { name: h, region: west, servers: [ b ] } ]\n",
         "holdfast.yaml:7: 'servers': server 'b:3306' is one that shard 's' ignores"},
    };
    refuse_all(files, ARRAY_SIZE(files));
}

static void hosts_of_a_program_are_checked_too(UNUSED void **state)
{
    AUTO(inventory_freep) struct inventory *inventory = parse(HEAD SHARDS);
    struct inventory_host *host = inventory_add_host(inventory, "db-w1", 0);
    struct err err = ERR_INIT;
    assert_int_equal(inventory_add_host_server(inventory, host, "10.0.1.11:3306", &err), ST_OK);
    assert_int_equal(inventory_add_host_server(inventory, host, "10.0.2.11:3306", &err),
                     ST_INVALID);
    assert_int_equal(host->place_count, 1);
}

static void written_inventory_reads_back_the_same(UNUSED void **state)
{
    static const char *const texts[] = {
        HEAD SHARDS,
        HEAD
        "probe: { user: \"o'\\\"\\\\ \\u2028\\u00e9\", password_env: P }\n"
        "policy:\n  freeze_cap: 3\n  freeze_timeout: 250ms\n  move_timeout: 1m\n"
        "  max_lag: 2s\n  hold_down: 5s\n  failovers_an_hour: 0\n  accept: [ disk, '-', '...' ]\n"
        "permission: { ttl: 1500ms }\n"
        "conductors: [ { name: a, region: east, listen: '[0::1]:1' },\n"
        "  { name: b, region: west, listen: h } ]\n"
        "api: { tls: { ca: a, cert: 'b c', key: c }, tokens: [ { name: '-', role: agent, "
        "file: t } ] }\n"
        "hosts: [ { name: '-', region: east, servers: [ '[0::1]:3307', x ] } ]\n" SHARDS
        "  - name: files\n    shards:\n      - name: '-'\n        servers:\n"
        "          - { region: east, hosts: [ '[::1]:3307', x ] }\n"
        "          - { region: west, hosts: [ y ], ignore: [ v, u ] }\n"
        "      - name: b.\n        servers: [ { region: east, hosts: [ z ] } ]\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        AUTO(buf_release) struct buf once = {0}, twice = {0};
        AUTO(inventory_freep) struct inventory *first = parse(texts[i]);
        inventory_write(first, &once);
        AUTO(inventory_freep) struct inventory *second = parse(once.data);
        inventory_write(second, &twice);
        assert_string_equal(once.data, twice.data);
        assert_int_equal(first->shard_count, second->shard_count);
        assert_int_equal(first->permission_ttl_ms, second->permission_ttl_ms);
        assert_int_equal(first->host_count, second->host_count);
        assert_int_equal(first->conductor_count, second->conductor_count);
        assert_int_equal(first->api.token_count, second->api.token_count);
        const struct inventory_shard *shard = &first->shards[first->shard_count - 1];
        const struct inventory_shard *again = &second->shards[first->shard_count - 1];
        assert_string_equal(shard->deployment, again->deployment);
        for (size_t j = 0; j < shard->server_count; j++)
            assert_string_equal(shard->servers[j].name, again->servers[j].name);
        if (first->probe.user)
            assert_string_equal(first->probe.user, second->probe.user);
    }
}

static void written_file_looks_like_the_documented_one(UNUSED void **state)
{
    AUTO(inventory_freep) struct inventory *inventory = parse(HEAD SHARDS);
    AUTO(buf_release) struct buf text = {0};
    inventory_write(inventory, &text);
    assert_string_equal(
        text.data,
        HEAD "deployments:\n  - name: orders\n    shards:\n      - name: orders-0\n"
             "        servers:\n"
             "          - { region: west, hosts: [ 10.0.1.11:3306, 10.0.1.12:3307 ] }\n"
             "          - { region: east, hosts: [ 10.0.2.11:3306, db-2.example.com:3308 ] }\n");
}

/* ---- with files ---- */

struct folder {
    char path[32];
};

static int make_folder(void **state)
{
    struct folder *folder = mem_zalloc(sizeof(*folder));
    snprintf(folder->path, sizeof(folder->path), "/tmp/holdfast-test-XXXXXX");
    *state = folder;
    return mkdtemp(folder->path) ? 0 : -1;
}

static int remove_folder(void **state)
{
    struct folder *folder = *state;
    enum status status = folder_remove(folder->path, NULL);
    free(folder);
    return status == ST_OK ? 0 : -1;
}

static void put(const struct folder *folder, const char *name, const char *text, mode_t mode)
{
    AUTO_FREE char *path = mem_printf("%s/%s", folder->path, name);
    struct err err = ERR_INIT;
    if (file_write(path, text, strlen(text), mode, &err))
        fail_msg("%s", err.text);
}

static void passwords_are_read_beside_the_fleet_file(void **state)
{
    const struct folder *folder = *state;
    put(folder, "f.yaml", HEAD SHARDS, 0644);
    put(folder, "holdfast.password", "s3cret word\n", 0600);
    put(folder, "repl.password", "other", 0640);
    AUTO_FREE char *path = mem_printf("%s/f.yaml", folder->path);
    AUTO(inventory_freep) struct inventory *inventory = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(inventory_load(path, &inventory, &err), ST_OK);
    assert_string_equal(secret_reveal(&inventory->credentials.password), "s3cret word");
    assert_string_equal(secret_reveal(&inventory->replication.password), "other");
    assert_false(secret_is_set(&inventory->probe.password));
    size_t count = 0;
    const char *const *warnings = inventory_warnings(inventory, &count);
    AUTO_FREE char *expected =
        mem_printf("'%s/repl.password' can be read by others than its owner; run: chmod 600 "
                   "'%s/repl.password'",
                   folder->path, folder->path);
    assert_int_equal(count, 1);
    assert_string_equal(warnings[0], expected);
}

#define TLS(words) HEAD "tls: { " words " }\n" SHARDS
#define SERVER_TLS(words) "replication: { user: r, password_file: p,\n  tls: { " words " } }\n"

static void tls_that_protects_nothing_is_refused(void **state UNUSED)
{
    static const struct bad_file files[] = {
        {TLS("ca: a, cert: b"), "holdfast.yaml:6: 'tls' has a 'cert' without a 'key'"},
        {TLS("ca: a, key: b"), "holdfast.yaml:6: 'tls' has a 'key' without a 'cert'"},
        {TLS("cert: a, key: b"),
         "holdfast.yaml:6: 'tls' lacks the key 'ca', which verifying needs"},
        {TLS("ca: a, verify: maybe"),
         "holdfast.yaml:6: 'verify' must be true or false, not 'maybe'"},
        {TLS("ca: a, verfy: true"),
         "holdfast.yaml:6: unknown key 'verfy' (did you mean 'verify'?)"},
        {"credentials: { user: u, password_file: p, tls: { ca: a } }\n",
         "holdfast.yaml:1: 'tls' of our own connections is a key of its own, the same for all "
         "accounts"},
        {SERVER_TLS("ca: ca.pem"), "holdfast.yaml:2: 'ca.pem' must be an absolute path: it is on "
                                   "the database hosts"},
    };
    refuse_all(files, ARRAY_SIZE(files));
}

static void put_certificate(const struct folder *folder, const char *name)
{
    AUTO(certificate_authority_freep) struct certificate_authority *authority = NULL;
    AUTO(buf_release) struct buf cert = {0}, key = {0};
    struct certificate_request request = {.name = name, .days = 10};
    assert_int_equal(certificate_authority_new("ca", 10, &authority, NULL), ST_OK);
    assert_int_equal(certificate_issue(authority, &request, &cert, &key, NULL), ST_OK);
    AUTO_FREE char *cert_name = mem_printf("%s.pem", name);
    AUTO_FREE char *key_name = mem_printf("%s.key", name);
    put(folder, cert_name, buf_text(&cert), 0644);
    put(folder, key_name, buf_text(&key), 0640);
}

static enum status load_tls(const struct folder *folder, const char *text,
                            struct inventory **ret_inventory, struct err *err)
{
    put(folder, "holdfast.password", "a", 0600);
    put(folder, "repl.password", "b", 0600);
    put(folder, "f.yaml", text, 0644);
    AUTO_FREE char *path = mem_printf("%s/f.yaml", folder->path);
    return inventory_load(path, ret_inventory, err);
}

static void certificates_are_looked_at_beside_the_fleet_file(void **state)
{
    const struct folder *folder = *state;
    AUTO(inventory_freep) struct inventory *inventory = NULL;
    struct err err = ERR_INIT;
    put_certificate(folder, "one");
    put_certificate(folder, "two");
    assert_int_equal(
        load_tls(folder, TLS("ca: two.pem, cert: one.pem, key: one.key"), &inventory, &err), ST_OK);
    AUTO_FREE char *ca = mem_printf("%s/two.pem", folder->path);
    struct sql_endpoint endpoint =
        inventory_endpoint(inventory, &inventory->credentials, &inventory->shards[0].servers[0]);
    assert_string_equal(endpoint.tls->ca, ca);
    assert_true(endpoint.tls->verify);
    assert_true(inventory->tls.cert_end_s > 0);
    size_t count = 0;
    const char *const *warnings = inventory_warnings(inventory, &count);
    assert_int_equal(count, 1);
    assert_non_null(strstr(warnings[0], "one.key' can be read by others than its owner"));
}

static void certificates_that_cannot_work_are_refused_with_the_line(void **state)
{
    static const struct bad_file files[] = {
        {TLS("ca: none.pem"), "f.yaml:6: tls: open '"},
        {TLS("ca: f.yaml"), "f.yaml:6: tls: no certificate in PEM '"},
        {TLS("ca: one.pem, cert: one.pem, key: two.key"), "two.key' is not the key of the "},
        {TLS("ca: one.pem, cert: one.pem, key: one.pem"), "f.yaml:6: tls: no private key in PEM"},
    };
    const struct folder *folder = *state;
    put_certificate(folder, "one");
    put_certificate(folder, "two");
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        struct inventory *inventory = NULL;
        struct err err = ERR_INIT;
        assert_int_not_equal(load_tls(folder, files[i].text, &inventory, &err), ST_OK);
        if (!strstr(err.text, files[i].message))
            fail_msg("wanted '%s', got '%s'", files[i].message, err.text);
    }
}

static void a_password_that_was_changed_since_is_read_again(void **state)
{
    const struct folder *folder = *state;
    AUTO(inventory_freep) struct inventory *inventory = NULL;
    AUTO(secret_release) struct secret now = {0};
    struct err err = ERR_INIT;
    assert_int_equal(load_tls(folder, HEAD SHARDS, &inventory, &err), ST_OK);
    put(folder, "repl.password", "changed\n", 0600);
    inventory_read_password(&inventory->replication, &now);
    assert_string_equal(secret_reveal(&now), "changed");
    AUTO_FREE char *path = mem_printf("%s/repl.password", folder->path);
    assert_int_equal(unlink(path), 0);
    inventory_read_password(&inventory->replication, &now);
    assert_string_equal(secret_reveal(&now), "b");
}

static void missing_password_file_is_named_with_what_to_do(void **state)
{
    const struct folder *folder = *state;
    put(folder, "f.yaml", HEAD SHARDS, 0644);
    AUTO_FREE char *path = mem_printf("%s/f.yaml", folder->path);
    struct inventory *inventory = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(inventory_load(path, &inventory, &err), ST_NOT_FOUND);
    AUTO_FREE char *text = mem_printf(
        "%s:4: open '%s/holdfast.password': No such file or directory", path, folder->path);
    AUTO_FREE char *hint =
        mem_printf("write the password of 'holdfast' into '%s/holdfast.password' on one line, "
                   "mode 0600",
                   folder->path);
    assert_string_equal(err.text, text);
    assert_string_equal(err.hint, hint);
    assert_null(inventory);
}

static void password_may_come_from_the_environment(void **state)
{
    const struct folder *folder = *state;
    put(folder, "f.yaml",
        HEAD "probe: { user: p,\n  password_env: HOLDFAST_TEST_PASSWORD }\n" SHARDS, 0644);
    put(folder, "holdfast.password", "a", 0600);
    put(folder, "repl.password", "b", 0600);
    AUTO_FREE char *path = mem_printf("%s/f.yaml", folder->path);
    AUTO(inventory_freep) struct inventory *inventory = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(inventory_load(path, &inventory, &err), ST_NOT_FOUND);
    AUTO_FREE char *text =
        mem_printf("%s:7: the environment variable 'HOLDFAST_TEST_PASSWORD' is not set", path);
    assert_string_equal(err.text, text);
    setenv("HOLDFAST_TEST_PASSWORD", "word", 1);
    assert_int_equal(inventory_load(path, &inventory, &err), ST_OK);
    unsetenv("HOLDFAST_TEST_PASSWORD");
    assert_string_equal(secret_reveal(&inventory->probe.password), "word");
}

static void missing_fleet_file_says_how_to_name_one(void **state)
{
    const struct folder *folder = *state;
    AUTO_FREE char *path = mem_printf("%s/none.yaml", folder->path);
    struct inventory *inventory = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(inventory_load(path, &inventory, &err), ST_NOT_FOUND);
    assert_non_null(strstr(err.text, "none.yaml': No such file or directory"));
    assert_non_null(strstr(err.hint, "--fleet FILE"));
}

static void path_is_option_then_environment_then_default(UNUSED void **state)
{
    unsetenv("HOLDFAST_FLEET");
    assert_string_equal(inventory_path(NULL), "holdfast.yaml");
    setenv("HOLDFAST_FLEET", "/e.yaml", 1);
    assert_string_equal(inventory_path(NULL), "/e.yaml");
    assert_string_equal(inventory_path("o.yaml"), "o.yaml");
    unsetenv("HOLDFAST_FLEET");
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_file_is_read_in_order),
        cmocka_unit_test(policy_and_probe_are_optional_with_defaults),
        cmocka_unit_test(keys_may_come_in_any_order),
        cmocka_unit_test(ignored_servers_stand_behind_the_others),
        cmocka_unit_test(addresses_are_normalised),
        cmocka_unit_test(keys_are_checked_with_file_and_line),
        cmocka_unit_test(kinds_of_values_are_checked),
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test(servers_are_checked),
        cmocka_unit_test(only_plain_yaml_is_accepted),
        cmocka_unit_test(oversized_text_is_refused),
        cmocka_unit_test(unknown_key_comes_with_the_known_ones),
        cmocka_unit_test(hooks_are_programs_for_events),
        cmocka_unit_test(permission_has_a_bounded_ttl),
        cmocka_unit_test(a_guarded_rpo_needs_agents_and_conductors),
        cmocka_unit_test(hosts_name_servers_of_their_region_wherever_they_stand),
        cmocka_unit_test(hosts_are_checked),
        cmocka_unit_test(hosts_of_a_program_are_checked_too),
        cmocka_unit_test(written_inventory_reads_back_the_same),
        cmocka_unit_test(tls_that_protects_nothing_is_refused),
        cmocka_unit_test_setup_teardown(certificates_are_looked_at_beside_the_fleet_file,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(certificates_that_cannot_work_are_refused_with_the_line,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_password_that_was_changed_since_is_read_again,
                                        make_folder, remove_folder),
        cmocka_unit_test(written_file_looks_like_the_documented_one),
        WITH_FOLDER(passwords_are_read_beside_the_fleet_file),
        WITH_FOLDER(missing_password_file_is_named_with_what_to_do),
        WITH_FOLDER(password_may_come_from_the_environment),
        WITH_FOLDER(missing_fleet_file_says_how_to_name_one),
        cmocka_unit_test(path_is_option_then_environment_then_default),
    };
    return cmocka_run_group_tests_name("fleet/inventory", tests, NULL, NULL);
}
