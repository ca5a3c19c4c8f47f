/* SPDX-License-Identifier: Apache-2.0
 *
 * simfleet: thousands of simulated MariaDB servers in one process, for the real conductor. Says
 * "ready", serves until SIGTERM or the end of stdin, and prints what it saw as one line of JSON. A
 * line on stdin is a fault that happens now. Exit status 1: a statement was unknown, or a promise
 * was broken. */
#include "base/scope.h"
#include "sim/fleet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

static struct sim sim;
static struct watch signals = {.fd = -1}, input = {.fd = -1};

static void on_signal(struct watch *watch)
{
    (void)watch;
    loop_stop(sim.loop);
}

static void read_faults(char *text)
{
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        struct sim_fault fault;
        if (sim_fault_parse(line, &fault) && sim_fault_add(&sim, &fault))
            printf("ok %s\n", line);
        else
            printf("refused %s\n", line);
    }
    fflush(stdout);
}

/* Whoever writes, writes whole lines. */
static void on_input(struct watch *watch)
{
    char text[4096];
    ssize_t count = read(watch->fd, text, sizeof(text) - 1);
    if (count < 0 && errno == EINTR)
        return;
    if (count <= 0) {
        loop_stop(sim.loop);
        return;
    }
    text[count] = '\0';
    read_faults(text);
}

/* A file or /dev/null cannot be waited for: then only a signal ends this. */
static void watch_input(void)
{
    struct stat kind;
    input.on_ready = on_input;
    if (fstat(STDIN_FILENO, &kind) == 0 &&
        (S_ISFIFO(kind.st_mode) || S_ISSOCK(kind.st_mode) || isatty(STDIN_FILENO)))
        loop_add(sim.loop, &input, STDIN_FILENO);
}

static void watch_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signals.on_ready = on_signal;
    loop_add(sim.loop, &signals, signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

/* Not ru_maxrss: that one remembers the process that started this one. */
static long peak_kib(void)
{
    long peak = -1;
    char line[128];
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "VmHWM: %ld", &peak) == 1)
            break;
    if (file)
        fclose(file);
    return peak;
}

/* Who accepts writes, by shard: what whoever moved them must have said. */
static void print_writable(void)
{
    for (size_t i = 0; i < sim.shard_count; i++) {
        const char *comma = "";
        printf("%s\"s%zu\": [", i ? ", " : "", i);
        for (unsigned j = 0; j < SIM_SERVERS; j++) {
            const struct sim_server *server = &sim.shards[i].servers[j];
            char host[INET_ADDRSTRLEN];
            if (server->read_only)
                continue;
            inet_ntop(AF_INET, &server->address, host, sizeof(host));
            printf("%s\"%s:%d\"", comma, host, sim.port);
            comma = ", ";
        }
        printf("]");
    }
}

static int print_stats(void)
{
    const struct sim_stats *stats = &sim.stats;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"connections\": %" PRIu64 ", \"sessions_peak\": %" PRIu64 ", \"statements\": %" PRIu64
           ", \"writes\": %" PRIu64 ", \"refused_writes\": %" PRIu64 ", \"opened\": %" PRIu64
           ", \"unknown\": %" PRIu64 ", \"two_primaries\": %" PRIu64 ", \"lost\": %" PRIu64
           ", \"cpu_s\": %.2f, \"rss_peak_kib\": %ld, \"writable\": {",
           stats->connections, stats->sessions_peak, stats->statements, stats->writes,
           stats->refused_writes, stats->opened, stats->unknown, stats->two_primaries, stats->lost,
           cpu_s, peak_kib());
    print_writable();
    printf("}}\n");
    return stats->unknown || stats->two_primaries || stats->lost;
}

static enum status start(const struct options *options, struct err *err)
{
    nsec began = clock_now();
    enum status status = fleet_start(options, &sim, err);
    if (!status)
        status = fleet_write(&sim, options, err);
    if (status)
        return status;
    watch_signals();
    watch_input();
    printf("ready: %zu servers at port %d in %.0f ms: %s\n", sim.shard_count * SIM_SERVERS,
           sim.port, clock_ms(clock_now() - began), options->fleet);
    fflush(stdout);
    return ST_OK;
}

int main(int count, char **words)
{
    AUTO(options_release) struct options options;
    struct err err = ERR_INIT;
    if (!options_parse(count, words, &options))
        return 2;
    int result = 2;
    if (start(&options, &err)) {
        fprintf(stderr, "simfleet: %s\n", err.text);
    } else {
        loop_run(sim.loop);
        result = print_stats();
    }
    fleet_stop(&sim);
    return result;
}
