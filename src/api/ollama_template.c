/* SPDX-License-Identifier: Apache-2.0 */
/* A model's chat template, as /api/show tells it: beside the weights, or in the head of a GGUF file. Blocks. */
#include "api/dialect.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "format/gguf.h"

#define TEMPLATE_MAX (4 * HG_MIB)

/* A file of the snapshot; empty when it is not there or too large. */
static void read_file(const char *dir, const char *name, hg_buf *out)
{
    HG_AUTO(hg_auto_free) char *path = hg_path_join(dir, name);
    hg_buf_init(out, TEMPLATE_MAX);
    if (!path || !hg_is_file(path) || hg_read_file(path, out, NULL) != HANGAR_OK) hg_buf_reset(out);
}

/* The member of tokenizer_config.json: a text, or a list of which the one for tools says most. */
static char *from_config(const char *dir)
{
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_buf text;
    hg_str found = {0};
    read_file(dir, "tokenizer_config.json", &text);
    if (text.len) (void)!hg_json_parse(hg_buf_view(&text), NULL, &doc, NULL);
    const hg_jval *t = hg_json_get(hg_json_root(doc), "chat_template");
    if (!hg_json_str(t, &found) && hg_json_is_array(t)) {
        for (hg_json_iter it = hg_json_iter_of(t); hg_json_next(&it);) {
            bool tools = hg_streq(hg_json_text(hg_json_get(it.val, "name")), "tool_use");
            if (tools || !found.ptr) (void)hg_json_str(hg_json_get(it.val, "template"), &found);
        }
    }
    char *out = found.ptr ? hg_strndup(found.ptr, found.len) : NULL;
    hg_buf_deinit(&text);
    return out;
}

static char *from_gguf(const char *dir, const char *weights)
{
    HG_AUTO(hg_auto_free) char *path = hg_path_join(dir, weights);
    hg_map map = {0};
    hg_gguf g = {0};
    char *out = NULL;
    if (!path || hg_map_open(path, &map, NULL) != HANGAR_OK) return NULL;
    if (hg_gguf_parse(map.data, map.len, &g, NULL) == HANGAR_OK) {
        const hg_gguf_kv *kv = hg_gguf_get(&g, "tokenizer.chat_template");
        if (kv && kv->type == HG_GGUF_STRING && kv->v.text.len <= TEMPLATE_MAX)
            out = hg_strndup(kv->v.text.ptr, kv->v.text.len);
        hg_gguf_deinit(&g);
    }
    hg_map_close(&map);
    return out;
}

char *hg_ollama_template(const hg_jval *model)
{
    const char *dir = hg_json_text(hg_json_get(model, "path"));
    const char *weights = hg_json_text(hg_json_get(model, "weights"));
    if (!dir) return NULL;
    if (weights && hg_streq(hg_json_text(hg_json_get(model, "format")), "gguf"))
        return from_gguf(dir, weights);
    hg_buf text;
    read_file(dir, "chat_template.jinja", &text);
    if (text.len) return hg_buf_take(&text);
    hg_buf_deinit(&text);
    return from_config(dir);
}
