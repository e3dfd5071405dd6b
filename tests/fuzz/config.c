// SPDX-License-Identifier: Apache-2.0
// fuzz-room: settings
// A configuration file: any text is either taken, or each mistake has a place and words; the values stay within bounds.
#include "settings/inner.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Maps and lists, and where their members stand. */
static void check_trees(const hg_loaded *l)
{
    for (size_t i = 0; i < l->lines_len; i++)
        if (l->lines[i].line == 0 || (i && strcmp(l->lines[i - 1].path, l->lines[i].path) > 0))
            __builtin_trap();
    if (l->s.models_list && !hg_json_is_object(hg_json_root(l->s.models_list))) __builtin_trap();
    if (l->s.programs && !hg_json_is_array(hg_json_root(l->s.programs))) __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hg_loaded *l = NULL;
    hg_problems problems = {0};
    char *json = NULL;
    if (size > HG_CONFIG_BYTES) return 0;
    if (hg_loaded_new(&l, NULL) != HANGAR_OK) return 0;
    if (hg_config_read((hg_str){(const char *)data, size}, "/d", l, &problems, NULL) != HANGAR_OK)
        __builtin_trap();
    if (problems.len > HG_CONFIG_PROBLEMS) __builtin_trap();
    for (size_t i = 0; i < problems.len; i++)
        if (problems.items[i].line == 0 || problems.items[i].column == 0 || !problems.items[i].message[0])
            __builtin_trap();
    const hg_settings *s = &l->s;
    if (s->concurrent < 1 || s->concurrent > 64 || s->retries < 0 || s->retries > 100) __builtin_trap();
    if (s->range_size < 1 << 20 || s->stall_timeout < 0.1 || !(s->timeout >= 0)) __builtin_trap();
    if (s->cache[0] != '/' || s->home[0] != '/' || strncmp(s->endpoint, "http", 4) != 0 || s->token[0])
        __builtin_trap();
    check_trees(l);
    if (hg_settings_show(s, &json, NULL) != HANGAR_OK) __builtin_trap();
    free(json);
    free(problems.items);
    hg_settings_free(&l->s);
    return 0;
}
