/* SPDX-License-Identifier: Apache-2.0
 *
 * Time. Deadlines and durations use the boot clock, which never jumps and counts suspension.
 * Wall time is only for people: logs and reports. Decision code takes 'now' as a parameter.
 */
#ifndef HOLDFAST_BASE_CLOCK_H
#define HOLDFAST_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

typedef int64_t nsec; /* a point on the boot clock, or a span, in nanoseconds */

#define NSEC_PER_MS ((nsec)1000000)
#define NSEC_PER_SEC ((nsec)1000000000)
#define NSEC_NEVER INT64_MAX

enum { WALL_TEXT_MAX = 32 };

nsec clock_now(void);             /* CLOCK_BOOTTIME */
nsec clock_deadline(int64_t ms);  /* now + ms */
int clock_ms_left(nsec deadline); /* >= 0, rounded up; INT_MAX for NSEC_NEVER */
double clock_ms(nsec span);       /* nanoseconds to milliseconds */
int64_t clock_wall_us(void);      /* microseconds since 1970, for people only */
void clock_wall_format(int64_t wall_us, char ret_text[static WALL_TEXT_MAX]); /* ISO 8601, UTC */

/* "500ms", "30s", "5m", "1h" in milliseconds; false when it is none. Too long is INT64_MAX. */
bool clock_parse_span(const char *text, int64_t *ret_ms);

#endif
