/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-room: api */
/* What a client may send to the mirror: first line an address, second a Range, third a list of tags, fourth a Host. */
#include "api/mirror.h"
#include "hub/url.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next line as a C string of its own, so that a read past its end is seen. */
static char *line(hg_str *rest)
{
    hg_str head;
    hg_str_cut(rest, '\n', &head);
    char *copy = malloc(head.len + 1);
    if (!copy) abort();
    if (head.len) memcpy(copy, head.ptr, head.len);
    copy[head.len] = '\0';
    return copy;
}

static void check_target(const char *text)
{
    hg_target t;
    size_t rest = 0;
    if (hg_target_parse(hg_str_of(text), &t, NULL) == HANGAR_OK) {
        static const char *const routes[] = {"api/models/:/:/tree/:/*", ":/:/resolve/:/*", "lfs/:"};
        for (size_t i = 0; i < 3; i++)
            if (hg_target_match(&t, routes[i], &rest) && rest > t.seg_count) abort();
        hg_buf b;
        hg_buf_init(&b, HG_MIB);
        hg_target_join(&t, 0, &b);
        if (b.data && strlen(b.data) != b.len) abort(); /* no NUL gets through */
        hg_url_quote(&b, hg_target_param(&t, "cursor"), true);
        hg_buf_deinit(&b);
        for (size_t i = 0; i < t.seg_count; i++) (void)hg_repo_word(t.seg[i]);
    }
    hg_target_deinit(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hg_str rest = {(const char *)data, size};
    char *target = line(&rest), *range = line(&rest), *tags = line(&rest), *host = line(&rest);
    check_target(target);
    static const uint64_t sizes[] = {0, 1, 10, UINT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        uint64_t first = 0, length = 0;
        if (hg_range_parse(range, sizes[i], &first, &length) == HG_RANGE_PART &&
            (length == 0 || first >= sizes[i] || length > sizes[i] - first))
            abort();
    }
    (void)hg_etag_listed(tags, "abc", size & 1);
    if (hg_host_local(host, 4711) && !strchr(host, ':')) abort();
    (void)hg_host_plain(host);
    free(target);
    free(range);
    free(tags);
    free(host);
    return 0;
}
