// SPDX-License-Identifier: Apache-2.0
// fuzz-room: hub
// What the Hub answers: a page of the tree, siblings, an info document (by the first byte), and headers. Whatever comes, a list
// that is taken is clean: paths that pass the check, in order, once each; digests; sizes that add up.
#include "base/fsx.h"
#include "base/json.h"
#include "base/mem.h"
#include "hub/listing.h"
#include "hub/reply.h"
#include "hub/url.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const hg_listing *l)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < l->count; i++) {
        const hg_entry *e = &l->items[i];
        size_t digits = strlen(e->oid.hex);
        if (hg_path_check(hg_str_of(e->path), NULL) != HANGAR_OK) __builtin_trap();
        if (!hg_hex_is(hg_str_of(e->oid.hex), digits) || (digits != 40 && digits != 64)) __builtin_trap();
        if ((e->oid.kind == HG_HASH_SHA256) != (digits == 64)) __builtin_trap();
        if (!hg_add(sum, e->size, &sum)) __builtin_trap();
        for (size_t k = i + 1; k < l->count && k < i + 50; k++)
            if (strcmp(e->path, l->items[k].path) == 0) __builtin_trap();
    }
    if (sum != l->size) __builtin_trap();
}

static void list(const hg_json *doc, bool tree)
{
    hg_listing l = {0};
    hangar_err err = {0};
    hangar_code code = tree ? hg_listing_add_tree(&l, hg_json_root(doc), &err)
                            : hg_listing_add_siblings(&l, hg_json_get(hg_json_root(doc), "siblings"), &err);
    if (code == HANGAR_OK) code = hg_listing_finish(&l, &err);
    if (code == HANGAR_OK) check(&l);
    else if (!err.msg[0]) __builtin_trap();
    hg_listing_deinit(&l);
}

static void headers(hg_str text)
{
    hg_reply r = {0};
    hg_str line;
    bool more = true;
    while (more) {
        more = hg_str_cut(&text, '\n', &line);
        hg_reply_line(&r, line);
    }
    uint64_t a, b, t;
    hg_oid oid;
    hg_url base = {0}, next = {0};
    if (hg_content_range_parse(r.range, &a, &b, &t) && !(a <= b && b < t)) __builtin_trap();
    (void)hg_reply_wait(&r, 1767225600);
    (void)hg_etag_oid(r.linked_etag, &oid);
    if (r.link && hg_link_next(r.link, &line) &&
        (line.ptr < r.link || line.ptr + line.len > r.link + strlen(r.link)))
        __builtin_trap();
    if (r.location && hg_url_parse("https://hub/x", &base, NULL) == HANGAR_OK &&
        hg_url_follow(&base, r.location, &next, NULL) == HANGAR_OK &&
        (!next.https || !next.host[0] || !next.port))
        __builtin_trap();
    hg_url_deinit(&base);
    hg_url_deinit(&next);
    hg_reply_reset(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    hg_str text = {(const char *)data + 1, size - 1};
    if (data[0] == 'H') {
        headers(text);
        return 0;
    }
    const hg_json_limits limits = {.bytes = 1 << 20, .depth = 32};
    hg_json *doc = NULL;
    char commit[41];
    if (hg_json_parse(text, &limits, &doc, NULL) != HANGAR_OK) return 0;
    list(doc, data[0] == 'T');
    if (hg_info_commit(hg_json_root(doc), commit, NULL) == HANGAR_OK && !hg_hex_is(hg_str_of(commit), 40))
        __builtin_trap();
    hg_json_free(doc);
    return 0;
}
