/* SPDX-License-Identifier: Apache-2.0
 * Time; see clock.h. */
#include "base/clock.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>

nsec clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (nsec)now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

nsec clock_deadline(int64_t ms)
{
    return clock_now() + ms * NSEC_PER_MS;
}

int clock_ms_left(nsec deadline)
{
    if (deadline == NSEC_NEVER)
        return INT_MAX;
    nsec left = deadline - clock_now();
    if (left <= 0)
        return 0;
    nsec ms = (left + NSEC_PER_MS - 1) / NSEC_PER_MS;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

double clock_ms(nsec span)
{
    return (double)span / (double)NSEC_PER_MS;
}

int64_t clock_wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void clock_wall_format(int64_t wall_us, char ret_text[static WALL_TEXT_MAX])
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    size_t used = strftime(ret_text, WALL_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(ret_text + used, WALL_TEXT_MAX - used, ".%03dZ", (int)(wall_us % 1000000 / 1000));
}

bool clock_parse_span(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0)
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(text + digits, units[i].unit) != 0)
            continue;
        long long number = strtoll(text, NULL, 10); /* LLONG_MAX beyond it */
        *ret_ms = number > INT64_MAX / units[i].ms ? INT64_MAX : number * units[i].ms;
        return true;
    }
    return false;
}
