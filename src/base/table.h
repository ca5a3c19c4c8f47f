/* SPDX-License-Identifier: Apache-2.0
 *
 * The columns that most tables are read by. A table is a macro with a row X(id, text, ...) for
 * each value; its enum and its words follow from it:
 *
 *     enum colour { COLOUR_TABLE(TABLE_ID) COLOURS };
 *     static const char *const colour_names[] = {COLOUR_TABLE(TABLE_TEXT)};
 */
#ifndef HOLDFAST_BASE_TABLE_H
#define HOLDFAST_BASE_TABLE_H

#define TABLE_ID(id, ...) id,
#define TABLE_TEXT(id, text, ...) text,

#endif
