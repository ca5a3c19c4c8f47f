/* SPDX-License-Identifier: Apache-2.0
 *
 * INVARIANT(condition): a bug in Holdfast if it does not hold. Always evaluated, in release builds
 * too; must have no side effects. Never for bad input or for what a server says.
 */
#ifndef HOLDFAST_BASE_INVARIANT_H
#define HOLDFAST_BASE_INVARIANT_H

void invariant_failed(const char *condition, const char *file, int line)
    __attribute__((noreturn, cold));

#define INVARIANT(condition)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            invariant_failed(#condition, __FILE__, __LINE__);                                      \
    } while (0)

#endif
