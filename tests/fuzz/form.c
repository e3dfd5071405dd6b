// SPDX-License-Identifier: Apache-2.0
// fuzz-room: api
// A form: the first line is the header's Content-Type, the rest the body. In one piece, byte by byte and in odd pieces it means the same: the
// same verdict, file and fields; nothing that is taken is beyond the limits.
#include "api/form.h"
#include "base/mem.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct verdict {
    hangar_code code;
    uint64_t file;
    uint64_t sum;
    char name[256];
    char field[64];
} verdict;

static verdict read_form(hg_str type, hg_str body, size_t step)
{
    verdict v = {0};
    hangar_err err = {0};
    hg_form *f = NULL;
    v.code = hg_form_new(type, FILE_MAX, &f, &err);
    for (size_t i = 0; v.code == HANGAR_OK && i < body.len; i += step) {
        size_t n = body.len - i < step ? body.len - i : step;
        v.code = hg_form_add(f, (hg_str){body.ptr + i, n}, &err);
    }
    if (v.code == HANGAR_OK) v.code = hg_form_finish(f, &err);
    if (v.code != HANGAR_OK && (!err.msg[0] || err.code != v.code)) __builtin_trap();
    if (v.code == HANGAR_OK) {
        const char *name, *field = hg_form_field(f, "model");
        uint8_t bytes[512];
        int fd = hg_form_take_file(f, &name);
        if (fd < 0 || strlen(name) > 255) __builtin_trap();
        for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0; v.file += (uint64_t)n)
            for (ssize_t i = 0; i < n; i++) v.sum = v.sum * 31 + bytes[i];
        close(fd);
        if (v.file > FILE_MAX) __builtin_trap();
        strcpy(v.name, name);
        if (field && (strlen(field) > HG_FORM_FIELD * HG_FORM_PARTS || !hg_utf8_valid(hg_str_of(field))))
            __builtin_trap();
        strncpy(v.field, field ? field : "", sizeof v.field - 1);
    }
    hg_form_free(f);
    return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hg_str body = {(const char *)data, size}, type;
    hg_str_cut(&body, '\n', &type);
    verdict whole = read_form(type, body, size + 1);
    for (size_t step = 1; step <= 7; step += 6) {
        verdict parts = read_form(type, body, step);
        if (parts.code != whole.code || parts.file != whole.file || parts.sum != whole.sum ||
            strcmp(parts.name, whole.name) != 0 || strcmp(parts.field, whole.field) != 0)
            __builtin_trap();
    }
    return 0;
}
