/* SPDX-License-Identifier: Apache-2.0
 * The part of the HTML report about hooks: how often each was called, and how it failed. What a
 * hook printed is shown as text, whatever it is. */
#include "report/page.h"

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void add_row(const json_t *hook, struct buf *out)
{
    static const char *const counts[] = {"calls",       "undos",     "failed",    "timed_out",
                                         "not_started", "cancelled", "not_called"};
    buf_add(out, "<tr><th>");
    page_text(out, text_at(hook, "name"));
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        buf_printf(out, "<td>%lld",
                   (long long)json_integer_value(json_object_get(hook, counts[i])));
    buf_printf(out, "<td>%.0f\n", json_number_value(json_object_get(hook, "slowest_ms")));
}

static void add_failure(const json_t *hook, const json_t *failure, struct buf *out)
{
    buf_add(out, "<article class=\"bad\"><h3>");
    page_text(out, text_at(hook, "name"));
    buf_add(out, ": ");
    const char *of = text_at(failure, text_at(failure, "shard")[0] ? "shard" : "wave");
    page_text(out, text_at(failure, "event"));
    buf_add(out, of[0] ? " <bdi>" : "<bdi>");
    page_text(out, of);
    buf_add(out, "</bdi></h3><dl><div class=\"why\"><dt>why</dt><dd>");
    page_text(out, text_at(failure, "why"));
    buf_add(out, "</dd></div></dl></article>");
}

void page_hooks(const struct page *page, struct buf *out)
{
    const json_t *hooks = json_object_get(page->report, "hooks"), *hook = NULL, *failure = NULL;
    size_t i = 0, j = 0;
    if (json_array_size(hooks) == 0)
        return;
    buf_add(out, "<section class=\"findings\"><h2>Hooks</h2><div class=\"wide\" tabindex=\"0\">"
                 "<table><thead><tr><th>hook<th>calls<th>of them to undo<th>failed<th>timed out"
                 "<th>not started<th>cancelled<th>not called<th>slowest, ms</thead><tbody>\n");
    json_array_foreach(hooks, i, hook) add_row(hook, out);
    buf_add(out, "</tbody></table></div>");
    json_array_foreach(hooks, i, hook)
    {
        json_array_foreach(json_object_get(hook, "failures"), j, failure)
            add_failure(hook, failure, out);
    }
    buf_add(out, "</section>\n");
}
