/* SPDX-License-Identifier: Apache-2.0
 * pause and unpause: nothing is to act by itself. */
#include "conductor/pause.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cli/internal.h"
#include "cli/run.h"

#include <stdio.h>

enum { LONGEST_H = 24 * 90 };

static enum status read_span(const char *text, int64_t *ret_ms, struct err *err)
{
    if (!text)
        return ST_OK;
    if (!clock_parse_span(text, ret_ms) || *ret_ms == 0) {
        err_set(err, ST_INVALID, "--for: '%s' is not a duration", text);
        return err_hint(err, "for example: --for 30m, --for 2h");
    }
    if (*ret_ms > (int64_t)LONGEST_H * 3600 * 1000)
        return err_set(err, ST_INVALID, "--for: '%s' is longer than %dh", text, LONGEST_H);
    return ST_OK;
}

static enum status pause_command(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    AUTO(pause_release) struct pause before = {0}, now = {0};
    AUTO_FREE char *reason = NULL;
    int64_t for_ms = 0;
    enum status status = read_span(cli_text(args, "--for"), &for_ms, err);
    if (!status)
        status = run_read_reason(args, &reason, err);
    if (!status)
        status = run_scene_open(&scene, args, false, err);
    if (status)
        return status;
    struct err ignored = ERR_INIT;
    status_ignore(pause_load(scene.store, &before, &ignored), "it is replaced");
    status = pause_begin(scene.store, reason, for_ms, err);
    if (!status)
        status = pause_load(scene.store, &now, err);
    if (status)
        return status;
    AUTO_FREE char *text = pause_format(&now);
    log_event(EV_PAUSE, "pause", text, NULL);
    printf("%s\n", text);
    if (before.is_active) {
        AUTO_FREE char *old = pause_format(&before);
        printf("it was %s\n", old);
    }
    return ST_OK;
}

static enum status unpause_command(const struct cli_args *args, struct err *err)
{
    AUTO(fleet_scene_release) struct fleet_scene scene = {0};
    AUTO(pause_release) struct pause before = {0};
    enum status status = run_scene_open(&scene, args, false, err);
    struct err ignored = ERR_INIT;
    if (!status) {
        status_ignore(pause_load(scene.store, &before, &ignored), "it is ended, whatever it says");
        status = pause_end(scene.store, err);
    }
    if (status)
        return status;
    AUTO_FREE char *text = before.is_active ? pause_format(&before) : mem_strdup("not paused");
    log_event(EV_PAUSE, "unpause", text, NULL);
    printf("it was %s\n", text);
    return ST_OK;
}

/* clang-format off */
#define FLEET_OPTION {"--fleet", OPTION_TEXT, "FILE", "the fleet file (else $HOLDFAST_FLEET, else holdfast.yaml)", false, 0, 0}

static const struct cli_option pause_options[] = {
    FLEET_OPTION,
    {"--reason", OPTION_TEXT, "TEXT", "why; shown to everybody who looks", false, 0, 0},
    {"--for", OPTION_TEXT, "DURATION", "end by itself after this time: 30m, 2h", false, 0, 0},
    {0},
};

static const struct cli_option unpause_options[] = {FLEET_OPTION, {0}};

const struct cli_command pause_commands[] = {
    {"pause", "", "Keep Holdfast from acting by itself or by schedule, until 'unpause'",
     "Not the same as stopping a run: that is 'run abort'. What an operator orders goes on, with a warning. Status, "
     "readiness and every plan say that the fleet is paused, by whom and why. A second pause replaces the first.",
     pause_options, pause_command, false},
    {"unpause", "", "End the pause", NULL, unpause_options, unpause_command, false},
    {0},
};
/* clang-format on */
