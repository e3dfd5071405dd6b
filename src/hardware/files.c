/* SPDX-License-Identifier: Apache-2.0 */
/* Small files of the kernel's: one value, or lines of "name: value". */
#include "hardware/inner.h"

#include "base/fsx.h"
#include "base/mem.h"

bool hg_hw_file(const char *root, const char *path, hg_buf *out)
{
    HG_AUTO(hg_auto_free) char *full = hg_format("%s%s", root, path);
    hg_buf_init(out, 4 * HG_MIB);
    if (full && hg_read_file(full, out, NULL) == HANGAR_OK) return true;
    hg_buf_deinit(out);
    return false;
}

bool hg_hw_text(const char *root, const char *path, char *buf, size_t cap)
{
    hg_buf text;
    if (!hg_hw_file(root, path, &text)) return false;
    hg_escape(hg_str_trim(hg_buf_view(&text)), buf, cap);
    hg_buf_deinit(&text);
    return true;
}

bool hg_hw_number(const char *root, const char *path, uint64_t *out)
{
    char text[32];
    if (!hg_hw_text(root, path, text, sizeof text)) return false;
    if (hg_streq(text, "max") || text[0] == '-') {
        *out = UINT64_MAX; /* -1 is the first version's word for "max" */
        return true;
    }
    return hg_u64_parse(hg_str_of(text), out);
}

bool hg_hw_field(hg_str text, const char *name, hg_str *out)
{
    hg_str line, key;
    bool more = text.len != 0;
    while (more) {
        more = hg_str_cut(&text, '\n', &line);
        if (!hg_str_cut(&line, ':', &key) || !hg_str_eq(hg_str_trim(key), hg_str_of(name))) continue;
        *out = hg_str_trim(line);
        return true;
    }
    return false;
}
