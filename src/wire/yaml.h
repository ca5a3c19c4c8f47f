/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading YAML by tables: a mapping is described by an array of 'struct yaml_field', and everything
 * it does not describe is refused with file:line. Built on libyaml documents,
 * because libcyaml reports neither the line of a value nor a duplicate key.
 *
 * Only the plain part of YAML is accepted: one document, no anchors, aliases or tags, at most
 * YAML_DEPTH_MAX levels. All scalars are text; the field's reader decides what they mean.
 */
#ifndef HOLDFAST_WIRE_YAML_H
#define HOLDFAST_WIRE_YAML_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <yaml.h>

enum { YAML_DEPTH_MAX = 16, YAML_FIELDS_MAX = 16, YAML_SHOWN_MAX = 72 };
enum { YAML_NAME_MAX = 64, YAML_DURATION_MAX_HOURS = 168 };

struct yaml_file {
    const char *path; /* for messages */
    yaml_document_t document;
    void *context;   /* the caller's; for readers that need more than their target */
    const char *key; /* the key that is being read; NULL at the top */
    bool in_list;    /* an item of that key's list is being read */
};

typedef enum status yaml_read_fn(struct yaml_file *file, yaml_node_t *node, void *target,
                                 struct err *err);

struct yaml_field {
    const char *name; /* NULL ends the table */
    bool required;
    size_t offset; /* what 'read' gets is the table's target plus this */
    yaml_read_fn *read;
};

/* 'text' may be freed afterwards, 'path' may not. Close the file in any case. */
MUST_CHECK enum status yaml_file_open(struct yaml_file *file, const char *path, const char *text,
                                      size_t length, struct err *err);
void yaml_file_close(struct yaml_file *file);
yaml_node_t *yaml_root(struct yaml_file *file); /* never NULL once opened */

/* Each key of the mapping through its field's reader, in the order of the file. */
MUST_CHECK enum status yaml_read_fields(struct yaml_file *file, yaml_node_t *node,
                                        const struct yaml_field *fields, void *target,
                                        struct err *err);
/* Each item of the list, of which there must be one at least, through 'read'. */
MUST_CHECK enum status yaml_read_items(struct yaml_file *file, yaml_node_t *node,
                                       yaml_read_fn *read, void *target, struct err *err);
/* The value of a key of the mapping, or NULL. */
yaml_node_t *yaml_find(struct yaml_file *file, yaml_node_t *node, const char *name);

/* Readers of scalars; the type of the target is in the comment. */
yaml_read_fn yaml_read_text;     /* char *: not empty, no control characters */
yaml_read_fn yaml_read_name;     /* char *: [A-Za-z0-9_.-], at most YAML_NAME_MAX */
yaml_read_fn yaml_read_duration; /* int64_t, milliseconds: 0s, 500ms, 30s, 5m, 1h */
yaml_read_fn yaml_read_number;   /* uint32_t */
yaml_read_fn yaml_read_bool;     /* bool: true, false */

/* ST_OK when the node is of this kind and without a NUL byte. */
MUST_CHECK enum status yaml_expect(const struct yaml_file *file, const yaml_node_t *node,
                                   yaml_node_type_t kind, struct err *err);
/* What is being read, for a message: "'hosts'", "an item of 'hosts'", "the file". */
const char *yaml_place(const struct yaml_file *file, char ret_place[static YAML_SHOWN_MAX]);
int yaml_line(const yaml_node_t *node); /* 1 is the first */
/* ST_INVALID with "path:line: " before the text. */
MUST_CHECK enum status yaml_error(const struct yaml_file *file, const yaml_node_t *node,
                                  struct err *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The start of a scalar, fit for a message. Returns 'ret_shown'. */
const char *yaml_show(const yaml_node_t *node, char ret_shown[static YAML_SHOWN_MAX]);
/* The candidate that the word may be a slip of, or NULL. */
const char *yaml_closest(const char *word, const char *const *candidates, size_t count);

#endif
