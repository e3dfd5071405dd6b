/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as text: nothing here looks at the file system. */
#include "base/fsx.h"

#include "base/mem.h"

#include <string.h>

#define PATH_MAX_BYTES      1024
#define PATH_MAX_COMPONENTS 32
#define COMPONENT_MAX       255

char *hg_path_join(const char *a, const char *b)
{
    size_t len = strlen(a);
    while (len > 1 && a[len - 1] == '/') len--;
    while (len && *b == '/') b++;
    bool slash = len && a[len - 1] != '/' && *b;
    return hg_format("%.*s%s%s", (int)len, a, slash ? "/" : "", b);
}

const char *hg_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *hg_path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return hg_strdup(".");
    while (slash > path && slash[-1] == '/') slash--;
    return slash == path ? hg_strdup("/") : hg_strndup(path, (size_t)(slash - path));
}

static bool same_word(hg_str s, const char *upper)
{
    size_t i = 0;
    for (; i < s.len && upper[i]; i++) {
        char c = s.ptr[i] >= 'a' && s.ptr[i] <= 'z' ? (char)(s.ptr[i] - 32) : s.ptr[i];
        if (c != upper[i]) return false;
    }
    return i == s.len && upper[i] == '\0';
}

/* CON, nul.txt, "COM1 .log": what Windows takes for a device, whatever the extension. */
static bool is_device(hg_str name)
{
    static const char *const words[] = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"};
    static const char *const digits[] = {"0", "1", "2", "3",      "4",      "5",     "6",
                                         "7", "8", "9", "\u00b9", "\u00b2", "\u00b3"};
    hg_str stem;
    hg_str_cut(&name, '.', &stem);
    while (stem.len && stem.ptr[stem.len - 1] == ' ') stem.len--;
    for (size_t i = 0; i < HG_LEN(words); i++)
        if (same_word(stem, words[i])) return true;
    if (stem.len < 4) return false;
    hg_str port = {stem.ptr, 3}, number = {stem.ptr + 3, stem.len - 3};
    if (!same_word(port, "COM") && !same_word(port, "LPT")) return false;
    for (size_t i = 0; i < HG_LEN(digits); i++)
        if (hg_str_eq(number, hg_str_of(digits[i]))) return true;
    return false;
}

/* The rule that this component breaks, or NULL. */
static const char *component_fault(hg_str c)
{
    if (c.len == 0) return "has an empty component";
    if (hg_str_eq(c, HG_STR(".")) || hg_str_eq(c, HG_STR(".."))) return "has a component '.' or '..'";
    if (c.len > COMPONENT_MAX) return "has a component over 255 bytes";
    if (c.ptr[c.len - 1] == '.' || c.ptr[c.len - 1] == ' ')
        return "has a component that ends in a dot or a space";
    if (is_device(c)) return "has the name of a Windows device";
    return NULL;
}

/* The rule that some character breaks, or NULL. The text is UTF-8. */
static const char *character_fault(hg_str s)
{
    uint32_t c;
    size_t n;
    while ((n = hg_utf8_next(s, &c)) != 0) {
        if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return "has a control character";
        if (c == '\\') return "has a backslash";
        if (c == ':') return "has a colon";
        s = (hg_str){s.ptr + n, s.len - n};
    }
    return NULL;
}

static const char *path_fault(hg_str path)
{
    if (path.len == 0) return "is empty";
    if (path.len > PATH_MAX_BYTES) return "is longer than 1024 bytes";
    if (!hg_utf8_valid(path)) return "is not UTF-8";
    const char *fault = character_fault(path);
    if (fault) return fault;
    if (path.ptr[0] == '/') return "begins with a slash";
    if (path.ptr[path.len - 1] == '/') return "ends with a slash";
    size_t count = 0;
    bool more = true;
    while (more && !fault) {
        hg_str component;
        more = hg_str_cut(&path, '/', &component);
        fault = component_fault(component);
        if (!fault && ++count > PATH_MAX_COMPONENTS) fault = "has more than 32 components";
    }
    return fault;
}

hangar_code hg_path_check(hg_str path, hangar_err *err)
{
    const char *fault = path_fault(path);
    if (!fault) return HANGAR_OK;
    char shown[128];
    hg_escape(path, shown, sizeof shown);
    return hg_fail(err, HANGAR_E_INVALID, "the path '%s' %s", shown, fault);
}
