/* SPDX-License-Identifier: Apache-2.0 */
#include "api/form.h"

#include "base/fsx.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 *   START  "--boundary"            the first line
 *   LINE   what follows a boundary: CR LF = a part's header, "--" = the end
 *   HEAD   lines up to an empty one
 *   DATA   up to CR LF "--boundary"
 *   END    whatever comes is passed over
 */
typedef enum stage { START, LINE, HEAD, DATA, END } stage;

typedef struct field {
    char *name, *value;
} field;

struct hg_form {
    stage stage;
    char mark[4 + HG_FORM_BOUNDARY + 1]; /* CR LF "--" boundary */
    size_t mark_len;
    size_t matched; /* of the mark, at the end of what came */
    char line[2];   /* of LINE */
    size_t line_len;
    hg_buf head;     /* of the present part */
    hg_buf text;     /* of the present field, or of the file what is not written yet */
    char *name;      /* of the present part */
    char *part_file; /* its filename; NULL: it is a field */
    unsigned parts;
    field fields[HG_FORM_PARTS];
    unsigned field_count;
    char *file_name;
    int file;
    uint64_t file_len, file_max;
};

/* ---- the boundary ---- */

static bool boundary_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("'()+_,-./:=? ", c));
}

/*
 * The next `; name=value` of a header; value may be quoted, with \ before " and \. The value goes into `out`. False at the end; *bad when
 * it is malformed.
 */
static bool next_param(hg_str *s, hg_str *name, hg_buf *out, bool *bad)
{
    hg_buf_reset(out);
    *s = hg_str_trim(*s);
    if (s->len == 0) return false;
    *bad = true;
    if (s->ptr[0] != ';') return false;
    *s = hg_str_trim((hg_str){s->ptr + 1, s->len - 1});
    const char *eq = s->len ? memchr(s->ptr, '=', s->len) : NULL;
    if (!eq) return false;
    *name = (hg_str){s->ptr, (size_t)(eq - s->ptr)};
    *s = (hg_str){eq + 1, s->len - name->len - 1};
    size_t i = 0;
    if (s->len > 0 && s->ptr[0] == '"') {
        for (i = 1; i < s->len && s->ptr[i] != '"'; i++) {
            if (s->ptr[i] == '\\' && i + 1 < s->len && (s->ptr[i + 1] == '"' || s->ptr[i + 1] == '\\')) i++;
            hg_buf_putc(out, s->ptr[i]);
        }
        if (i == s->len) return false;
        i++;
    } else {
        for (; i < s->len && s->ptr[i] != ';' && s->ptr[i] != ' '; i++) hg_buf_putc(out, s->ptr[i]);
    }
    *s = (hg_str){s->ptr + i, s->len - i};
    *bad = hg_buf_check(out, NULL) != HANGAR_OK;
    return !*bad;
}

static bool same_word(hg_str a, const char *b)
{
    return a.len == strlen(b) && strncasecmp(a.ptr, b, a.len) == 0;
}

static hangar_code take_boundary(hg_form *f, hg_str type, hangar_err *err)
{
    hg_str first, name;
    hg_buf value;
    bool bad = false;
    unsigned found = 0;
    const char *semicolon = type.len ? memchr(type.ptr, ';', type.len) : NULL;
    first.len = semicolon ? (size_t)(semicolon - type.ptr) : type.len;
    hg_str rest = {type.ptr + first.len, type.len - first.len};
    hg_buf_init(&value, HG_FORM_HEAD);
    while (next_param(&rest, &name, &value, &bad)) {
        if (!same_word(name, "boundary")) continue;
        bad |=
            found++ > 0 || value.len == 0 || value.len > HG_FORM_BOUNDARY || value.data[value.len - 1] == ' ';
        for (size_t i = 0; i < value.len; i++) bad |= !boundary_char(value.data[i]);
        if (bad) break;
        memcpy(f->mark, "\r\n--", 4);
        memcpy(f->mark + 4, value.data, value.len);
        f->mark_len = 4 + value.len;
    }
    hg_buf_deinit(&value);
    if (!bad && found == 1) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_USAGE, "the form's boundary is missing or malformed (1 to %u characters)",
                   HG_FORM_BOUNDARY);
}

hangar_code hg_form_new(hg_str content_type, uint64_t max_file, hg_form **out, hangar_err *err)
{
    *out = NULL;
    hg_form *f = hg_calloc(1, sizeof *f);
    if (!f) return hg_fail_memory(err);
    f->file = -1;
    f->file_max = max_file;
    f->matched = 2; /* as if a line had just ended */
    hg_buf_init(&f->head, HG_FORM_HEAD);
    hg_buf_init(&f->text, HG_FORM_FIELD);
    hangar_code code = take_boundary(f, content_type, err);
    if (code == HANGAR_OK) *out = f;
    else hg_form_free(f);
    return code;
}

void hg_form_free(hg_form *f)
{
    if (!f) return;
    if (f->file >= 0) close(f->file);
    for (unsigned i = 0; i < f->field_count; i++) {
        free(f->fields[i].name);
        free(f->fields[i].value);
    }
    free(f->name);
    free(f->part_file);
    free(f->file_name);
    hg_buf_deinit(&f->head);
    hg_buf_deinit(&f->text);
    free(f);
}

/* ---- a part's header ---- */

/* Printable, UTF-8: what may be shown and compared. */
static bool plain_text(hg_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f) return false;
    return hg_utf8_valid(s);
}

/* form-data; name="x"; filename="y" */
static hangar_code read_disposition(hg_form *f, hg_str value, hangar_err *err)
{
    hg_str type = value, rest = HG_STR(""), key;
    const char *semicolon = value.len ? memchr(value.ptr, ';', value.len) : NULL;
    hg_buf text;
    bool bad = false;
    hangar_code code = HANGAR_OK;
    if (semicolon) {
        type.len = (size_t)(semicolon - value.ptr);
        rest = (hg_str){semicolon, value.len - type.len};
    }
    if (!same_word(hg_str_trim(type), "form-data") || f->name)
        return hg_fail(err, HANGAR_E_USAGE, "a part of the form is not form-data");
    hg_buf_init(&text, HG_FORM_HEAD);
    while (code == HANGAR_OK && next_param(&rest, &key, &text, &bad)) {
        bool is_name = same_word(key, "name"), is_file = same_word(key, "filename");
        if (!is_name && !is_file) continue;
        char **out = is_name ? &f->name : &f->part_file;
        if (*out || !plain_text(hg_buf_view(&text)) || text.len > 255) {
            bad = true;
            break;
        }
        *out = hg_strndup(hg_buf_text(&text), text.len);
        if (!*out) code = hg_fail_memory(err);
    }
    hg_buf_deinit(&text);
    if (code != HANGAR_OK) return code;
    if (bad || !f->name || !*f->name)
        return hg_fail(err, HANGAR_E_USAGE,
                       "a part of the form has no name, or a malformed one (at most 255 bytes)");
    return HANGAR_OK;
}

/* A file without a name: unlinked from the start, on disk, or in memory where there is no place. */
static hangar_code open_spool(hg_form *f, hangar_err *err)
{
    const char *dir = getenv("TMPDIR");
    f->file = open(dir && *dir ? dir : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (f->file < 0) f->file = memfd_create("upload", MFD_CLOEXEC);
    return f->file >= 0 ? HANGAR_OK : hg_fail_errno(err, errno, "a temporary file");
}

/* One line of a part's header. */
static hangar_code read_line(hg_form *f, hg_str line, hangar_err *err)
{
    hg_str name;
    if (!hg_str_cut(&line, ':', &name))
        return hg_fail(err, HANGAR_E_USAGE, "a part of the form has a malformed header");
    line = hg_str_trim(line);
    if (same_word(name, "content-disposition")) return read_disposition(f, line, err);
    if (same_word(name, "content-transfer-encoding") && !same_word(line, "binary") &&
        !same_word(line, "8bit") && !same_word(line, "7bit"))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "a part of the form is encoded");
    return HANGAR_OK;
}

/* The header of a part is whole: its lines are in f->head. */
static hangar_code begin_part(hg_form *f, hangar_err *err)
{
    hg_str rest = hg_buf_view(&f->head), line;
    hangar_code code = HANGAR_OK;
    while (code == HANGAR_OK && rest.len > 0) {
        hg_str_cut(&rest, '\n', &line);
        line = hg_str_trim(line);
        if (line.len > 0) code = read_line(f, line, err);
    }
    hg_buf_reset(&f->head);
    if (code == HANGAR_OK && !f->name) code = hg_fail(err, HANGAR_E_USAGE, "a part of the form has no name");
    if (code != HANGAR_OK || !f->part_file) return code;
    if (f->file_name) return hg_fail(err, HANGAR_E_USAGE, "the form has more than one file");
    f->file_name = hg_strdup(f->part_file);
    return f->file_name ? open_spool(f, err) : hg_fail_memory(err);
}

/* ---- data ---- */

/* What is gathered of the file goes to it. */
static hangar_code flush_file(hg_form *f, hangar_err *err)
{
    hangar_code code = hg_write_all(f->file, hg_buf_text(&f->text), f->text.len, err);
    hg_buf_reset(&f->text);
    return code;
}

/* Bytes of the present part. Those of a file are gathered, since what looks like a boundary comes in pieces of a byte. */
static hangar_code put_data(hg_form *f, const char *bytes, size_t len, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    if (f->part_file) {
        f->file_len += len;
        if (f->file_len > f->file_max)
            return hg_fail(err, HANGAR_E_LIMIT, "the file is longer than %llu bytes",
                           (unsigned long long)f->file_max);
        if (f->text.len + len > HG_FORM_FIELD) code = flush_file(f, err);
        if (code == HANGAR_OK && len > HG_FORM_FIELD) return hg_write_all(f->file, bytes, len, err);
    }
    if (code != HANGAR_OK) return code;
    hg_buf_add(&f->text, bytes, len);
    if (hg_buf_check(&f->text, NULL) == HANGAR_E_LIMIT)
        return hg_fail(err, HANGAR_E_LIMIT, "the field %s is longer than %zu bytes", f->name, HG_FORM_FIELD);
    return hg_buf_check(&f->text, err);
}

/* A name that may come again, as lists do. */
static bool is_list(const char *name)
{
    return hg_str_ends(hg_str_of(name), HG_STR("[]"));
}

static hangar_code end_field(hg_form *f, hangar_err *err)
{
    if (memchr(hg_buf_text(&f->text), '\0', f->text.len) || !hg_utf8_valid(hg_buf_view(&f->text)))
        return hg_fail(err, HANGAR_E_USAGE, "the field %s is not UTF-8 text", f->name);
    for (unsigned i = 0; i < f->field_count; i++) {
        field *old = &f->fields[i];
        if (strcmp(old->name, f->name) != 0) continue;
        if (!is_list(f->name)) return hg_fail(err, HANGAR_E_USAGE, "the field %s is there twice", f->name);
        char *both = hg_format("%s,%s", old->value, hg_buf_text(&f->text));
        if (!both) return hg_fail_memory(err);
        free(old->value);
        old->value = both;
        return HANGAR_OK;
    }
    char *value = hg_strdup(hg_buf_text(&f->text));
    if (!value) return hg_fail_memory(err);
    f->fields[f->field_count++] = (field){f->name, value};
    f->name = NULL;
    return HANGAR_OK;
}

static hangar_code end_part(hg_form *f, hangar_err *err)
{
    hangar_code code = f->part_file ? flush_file(f, err) : end_field(f, err);
    free(f->name);
    free(f->part_file);
    f->name = f->part_file = NULL;
    hg_buf_reset(&f->text);
    return code;
}

/*
 * Looks for the mark. CR stands at its beginning only, so after a mismatch the matched bytes are data, and a search
 * begins anew at the byte that did not fit: no byte is compared more than twice.
 */
static hangar_code scan_data(hg_form *f, hg_str *s, hangar_err *err)
{
    while (s->len > 0) {
        if (f->matched == 0) {
            const char *cr = memchr(s->ptr, '\r', s->len);
            size_t n = cr ? (size_t)(cr - s->ptr) : s->len;
            hangar_code code = put_data(f, s->ptr, n, err);
            if (code != HANGAR_OK || !cr) {
                *s = (hg_str){s->ptr + s->len, 0};
                return code;
            }
            *s = (hg_str){cr + 1, s->len - n - 1};
            f->matched = 1;
            continue;
        }
        if (s->ptr[0] == f->mark[f->matched]) {
            *s = (hg_str){s->ptr + 1, s->len - 1};
            if (++f->matched < f->mark_len) continue;
            f->matched = 0;
            f->stage = LINE;
            return end_part(f, err);
        }
        hangar_code code = put_data(f, f->mark, f->matched, err);
        if (code != HANGAR_OK) return code;
        f->matched = 0;
    }
    return HANGAR_OK;
}

/* ---- the stages ---- */

/* The first boundary has no line before it. */
static hangar_code scan_start(hg_form *f, hg_str *s, hangar_err *err)
{
    for (; s->len > 0; *s = (hg_str){s->ptr + 1, s->len - 1}) {
        if (s->ptr[0] != f->mark[f->matched])
            return hg_fail(err, HANGAR_E_USAGE, "the form does not begin with its boundary");
        if (++f->matched < f->mark_len) continue;
        f->matched = 0;
        f->stage = LINE;
        *s = (hg_str){s->ptr + 1, s->len - 1};
        return HANGAR_OK;
    }
    return HANGAR_OK;
}

/* Behind a boundary. */
static hangar_code scan_line(hg_form *f, hg_str *s, hangar_err *err)
{
    while (s->len > 0 && f->line_len < 2) {
        f->line[f->line_len++] = s->ptr[0];
        *s = (hg_str){s->ptr + 1, s->len - 1};
    }
    if (f->line_len < 2) return HANGAR_OK;
    f->line_len = 0;
    if (!memcmp(f->line, "--", 2)) {
        f->stage = END;
        return HANGAR_OK;
    }
    if (memcmp(f->line, "\r\n", 2) != 0)
        return hg_fail(err, HANGAR_E_USAGE,
                       "a boundary of the form is followed by something else than a line");
    if (++f->parts > HG_FORM_PARTS)
        return hg_fail(err, HANGAR_E_LIMIT, "the form has more than %u parts", HG_FORM_PARTS);
    f->stage = HEAD;
    return HANGAR_OK;
}

/* Takes lines up to the empty one. */
static hangar_code scan_head(hg_form *f, hg_str *s, hangar_err *err)
{
    while (s->len > 0) {
        const char *lf = memchr(s->ptr, '\n', s->len);
        size_t n = lf ? (size_t)(lf - s->ptr) + 1 : s->len;
        hg_buf_add(&f->head, s->ptr, n);
        *s = (hg_str){s->ptr + n, s->len - n};
        if (hg_buf_check(&f->head, NULL) == HANGAR_E_LIMIT)
            return hg_fail(err, HANGAR_E_LIMIT, "the header of a part is longer than %zu bytes",
                           HG_FORM_HEAD);
        if (hg_buf_check(&f->head, NULL) != HANGAR_OK) return hg_fail_memory(err);
        if (!lf) return HANGAR_OK;
        hg_str all = hg_buf_view(&f->head);
        if (!hg_str_ends(all, HG_STR("\r\n")))
            return hg_fail(err, HANGAR_E_USAGE, "a line in the header of a part does not end in CR LF");
        if (all.len > 2 && !hg_str_ends(all, HG_STR("\r\n\r\n"))) continue;
        f->stage = DATA;
        f->matched = 0;
        return begin_part(f, err);
    }
    return HANGAR_OK;
}

hangar_code hg_form_add(hg_form *f, hg_str s, hangar_err *err)
{
    hangar_code code = HANGAR_OK;
    while (s.len > 0 && code == HANGAR_OK) {
        switch (f->stage) {
        case START: code = scan_start(f, &s, err); break;
        case LINE: code = scan_line(f, &s, err); break;
        case HEAD: code = scan_head(f, &s, err); break;
        case DATA: code = scan_data(f, &s, err); break;
        case END: return HANGAR_OK;
        }
    }
    return code;
}

hangar_code hg_form_finish(hg_form *f, hangar_err *err)
{
    if (f->stage != END) return hg_fail(err, HANGAR_E_USAGE, "the form ends before its last boundary");
    if (!f->file_name) return hg_fail(err, HANGAR_E_USAGE, "\"file\" is missing");
    if (lseek(f->file, 0, SEEK_SET) != 0) return hg_fail_errno(err, errno, "a temporary file");
    return HANGAR_OK;
}

const char *hg_form_field(const hg_form *f, const char *name)
{
    for (unsigned i = 0; i < f->field_count; i++)
        if (!strcmp(f->fields[i].name, name)) return f->fields[i].value;
    return NULL;
}

int hg_form_take_file(hg_form *f, const char **out_name)
{
    int fd = f->file;
    f->file = -1;
    if (out_name) *out_name = f->file_name ? f->file_name : "";
    return fd;
}
