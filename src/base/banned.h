/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions that do not compile here, because each has a form that cannot overflow, cannot share
 * state between threads, or reports errors. Forced into every file by the build.
 */
#ifndef HOLDFAST_BASE_BANNED_H
#define HOLDFAST_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BANNED(function) banned_##function##_see_base_banned_h

#undef strcpy
#define strcpy(...) BANNED(strcpy)
#undef strcat
#define strcat(...) BANNED(strcat)
#undef sprintf
#define sprintf(...) BANNED(sprintf)
#undef strtok
#define strtok(...) BANNED(strtok)
#undef atoi
#define atoi(...) BANNED(atoi)
#undef gmtime
#define gmtime(...) BANNED(gmtime)
#undef rand
#define rand(...) BANNED(rand)
#undef alloca
#define alloca(...) BANNED(alloca)

#endif
