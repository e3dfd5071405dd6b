/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/verb.h"
#include "verbs/words.h"

#include <stdio.h>

static const hg_param params[] = {{0}};

static const hg_example examples[] = {{"hangar hardware",
                                       "processor, memory, GPUs, and the profile that follows"},
                                      {"hangar hardware --json", "the same for a program"},
                                      {0}};

static hangar_code run(hg_call *call, char **out_json, hangar_err *err)
{
    return hangar_hardware_detect(call->h, out_json, err);
}

static uint64_t number(const hg_jval *obj, const char *key)
{
    uint64_t n = 0;
    (void)hg_json_u64(hg_json_get(obj, key), &n);
    return n;
}

/* A cache in the units it is built in. */
static const char *cache_words(hg_words *w, uint64_t bytes)
{
    if (bytes >= HG_MIB && bytes % (HG_MIB / 4) == 0)
        snprintf(w->text, sizeof w->text, "%.4g MiB", (double)bytes / (double)HG_MIB);
    else snprintf(w->text, sizeof w->text, "%.4g KiB", (double)bytes / (double)HG_KIB);
    return w->text;
}

/* The texts of a list with spaces between. */
static void show_list(const hg_jval *list, const char *label, hg_view *view)
{
    hg_buf text;
    hg_buf_init(&text, HG_MIB);
    for (hg_json_iter it = hg_json_iter_of(list); hg_json_next(&it);)
        hg_buf_printf(&text, "%s%s", text.len ? " " : "", hg_json_text_or(it.val, "?"));
    hg_view_field(view, label, text.len ? hg_buf_text(&text) : NULL);
    hg_buf_deinit(&text);
}

static void show_cpu(const hg_jval *cpu, hg_view *view)
{
    hg_words s, c, t, size;
    hg_view_field(view, "processor", hg_json_text(hg_json_get(cpu, "model")));
    hg_plural_words(&s, number(cpu, "sockets"), "socket", "sockets");
    hg_plural_words(&c, number(cpu, "cores"), "core", "cores");
    hg_plural_words(&t, number(cpu, "threads"), "thread", "threads");
    hg_view_fieldf(view, "cores", "%s, %s, %s; %llu usable here", s.text, c.text, t.text,
                   (unsigned long long)number(cpu, "usable"));
    show_list(hg_json_get(cpu, "isa"), "instructions", view);
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(cpu, "caches")); hg_json_next(&it);) {
        char label[64];
        const char *kind = hg_json_text_or(hg_json_get(it.val, "kind"), "");
        snprintf(label, sizeof label, "L%llu %s", (unsigned long long)number(it.val, "level"), kind);
        hg_view_fieldf(view, label, "%llu × %s", (unsigned long long)number(it.val, "count"),
                       cache_words(&size, number(it.val, "bytes")));
    }
}

static void show(const hg_jval *r, hg_view *view)
{
    const hg_jval *memory = hg_json_get(r, "memory"), *gpus = hg_json_get(r, "gpus");
    hg_words a, b, l;
    show_cpu(hg_json_get(r, "cpu"), view);
    hg_size_words(&a, hg_json_get(memory, "total"));
    hg_size_words(&b, hg_json_get(memory, "available"));
    if (hg_json_is_null(hg_json_get(memory, "limit")))
        hg_view_fieldf(view, "memory", "%s, %s free", a.text, b.text);
    else
        hg_view_fieldf(view, "memory", "%s, %s free, limited to %s", a.text, b.text,
                       hg_size_words(&l, hg_json_get(memory, "limit")));
    for (hg_json_iter it = hg_json_iter_of(gpus); hg_json_next(&it);)
        hg_view_fieldf(view, "GPU", "%s, %s", hg_json_text_or(hg_json_get(it.val, "name"), "?"),
                       hg_size_words(&a, hg_json_get(it.val, "memory")));
    if (hg_json_len(gpus) == 0) hg_view_field(view, "GPU", "none");
    hg_view_fieldf(view, "disk", "%s free at %s", hg_size_words(&a, hg_json_path(r, "disk", "free", NULL)),
                   hg_json_text_or(hg_json_path(r, "disk", "path", NULL), "-"));
    hg_view_fieldf(view, "profile", "%s: %s", hg_json_text_or(hg_json_path(r, "profile", "name", NULL), "-"),
                   hg_json_text_or(hg_json_path(r, "profile", "why", NULL), "-"));
}

const hg_verb hg_verb_hardware = {
    .name = "hardware",
    .group = "Machine",
    .summary = "tell what this machine has",
    .about = "Processor, instruction sets, caches, memory and GPUs, and the profile that hangar would choose "
             "for them. Limits of "
             "containers and of processor affinity count.",
    .examples = examples,
    .params = params,
    .args_size = 1,
    .run = run,
    .show = show,
};
