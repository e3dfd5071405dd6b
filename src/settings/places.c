/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are: the folders that the environment names, and paths as people write them. */
#include "settings/inner.h"

#include "base/buf.h"
#include "base/fsx.h"

#include <errno.h>
#include <pwd.h>
#include <unistd.h>

#define PLACE_MAX 4096

/* A variable that is set and not empty. */
static const char *env_of(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* The home folder of a user, NULL = this one; NULL when it is not known. Borrowed. */
static const char *home_of(const char *user)
{
    const char *home = user ? NULL : env_of("HOME");
    if (home) return home;
    struct passwd *pw = user ? getpwnam(user) : getpwuid(getuid());
    return pw && pw->pw_dir && *pw->pw_dir ? pw->pw_dir : NULL;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* The length of "$NAME" or "${NAME}" at the start of s, and the name in it; 0 when there is none. */
static size_t variable_at(hg_str s, hg_str *name)
{
    if (s.len < 2 || s.ptr[0] != '$') return 0;
    if (s.ptr[1] == '{') {
        const char *end = memchr(s.ptr, '}', s.len);
        if (!end) return 0;
        *name = (hg_str){s.ptr + 2, (size_t)(end - s.ptr) - 2};
        return (size_t)(end - s.ptr) + 1;
    }
    size_t n = 1;
    while (n < s.len && is_name_char(s.ptr[n])) n++;
    *name = (hg_str){s.ptr + 1, n - 1};
    return n > 1 ? n : 0;
}

/* Adds s with its variables replaced; unknown ones stay as they are. */
static void expand_variables(hg_str s, hg_buf *out)
{
    while (s.len) {
        hg_str name;
        char key[256];
        size_t n = variable_at(s, &name);
        const char *value = NULL;
        if (n && name.len < sizeof key) {
            memcpy(key, name.ptr, name.len);
            key[name.len] = '\0';
            value = getenv(key);
        }
        if (value) hg_buf_puts(out, value);
        else hg_buf_add(out, s.ptr, n = n ? n : 1);
        s = (hg_str){s.ptr + n, s.len - n};
    }
}

hangar_code hg_place_expand(hg_str text, char **out, hangar_err *err)
{
    hg_buf user, all;
    hg_buf_init(&user, PLACE_MAX);
    hg_buf_init(&all, PLACE_MAX);
    if (text.len && text.ptr[0] == '~') {
        hg_str rest = text, name;
        hg_str_cut(&rest, '/', &name);
        char who[64] = "";
        if (name.len < sizeof who) memcpy(who, name.ptr + 1, name.len - 1);
        const char *home = name.len < sizeof who ? home_of(who[0] ? who : NULL) : NULL;
        if (home) {
            hg_buf_puts(&user, home);
            text = (hg_str){text.ptr + name.len, text.len - name.len};
        }
    }
    hg_buf_str(&user, text);
    if (user.state == HANGAR_OK) expand_variables(hg_buf_view(&user), &all);
    hangar_code code = hg_buf_check(user.state == HANGAR_OK ? &all : &user, err);
    if (code == HANGAR_OK) *out = hg_buf_take(&all);
    if (code == HANGAR_OK && !*out) code = hg_fail_memory(err);
    hg_buf_deinit(&user);
    hg_buf_deinit(&all);
    return code;
}

/* Adds the components of a path, each behind a slash, without empty ones and ".". ".." stays: behind a link it means
 * something else. */
static void add_components(hg_buf *out, const char *path)
{
    hg_str rest = hg_str_of(path), component;
    bool more = true;
    while (more) {
        more = hg_str_cut(&rest, '/', &component);
        if (component.len == 0 || hg_str_eq(component, HG_STR("."))) continue;
        hg_buf_putc(out, '/');
        hg_buf_str(out, component);
    }
}

hangar_code hg_place_absolute(const char *path, const char *dir, char **out, hangar_err *err)
{
    hg_buf b;
    hg_buf_init(&b, PLACE_MAX);
    if (path[0] != '/') {
        char here[PLACE_MAX];
        if ((!dir || dir[0] != '/') && !getcwd(here, sizeof here))
            return hg_fail_errno(err, errno, "the working folder");
        if (!dir || dir[0] != '/') add_components(&b, here);
        if (dir) add_components(&b, dir);
    }
    add_components(&b, path);
    if (b.len == 0) hg_buf_putc(&b, '/');
    hangar_code code = hg_buf_check(&b, err);
    if (code == HANGAR_OK) *out = hg_buf_take(&b);
    if (code == HANGAR_OK && !*out) code = hg_fail_memory(err);
    hg_buf_deinit(&b);
    return code;
}

/* $VARIABLE when it is an absolute path (others are to be ignored, says the XDG specification), else ~/BELOW. */
static hangar_code xdg_dir(const char *variable, const char *below, char **out, hangar_err *err)
{
    const char *dir = env_of(variable);
    if (dir && dir[0] == '/') {
        *out = hg_strdup(dir);
        return *out ? HANGAR_OK : hg_fail_memory(err);
    }
    const char *home = home_of(NULL);
    if (!home)
        return hg_fail(err, HANGAR_E_NOT_FOUND, "the home folder is not known: set HOME or %s", variable);
    *out = hg_path_join(home, below);
    return *out ? HANGAR_OK : hg_fail_memory(err);
}

/* HF_HOME as the Hub's Python client finds it. */
static hangar_code hf_home(char **out, hangar_err *err)
{
    const char *set = env_of("HF_HOME");
    if (set) return hg_place_expand(hg_str_of(set), out, err);
    HG_AUTO(hg_auto_free) char *cache = NULL;
    hangar_code code = xdg_dir("XDG_CACHE_HOME", ".cache", &cache, err);
    if (code != HANGAR_OK) return code;
    *out = hg_path_join(cache, "huggingface");
    return *out ? HANGAR_OK : hg_fail_memory(err);
}

hangar_code hg_place_default(const char *def, const char *home, char **out, hangar_err *err)
{
    const char *slash = strchr(def, '/');
    HG_AUTO(hg_auto_free) char *dir = NULL;
    HG_AUTO(hg_auto_free) char *path = NULL;
    hangar_code code;
    if (hg_str_starts(hg_str_of(def), HG_STR("$HANGAR_HOME/")))
        code = (dir = hg_strdup(home)) ? HANGAR_OK : hg_fail_memory(err);
    else if (hg_str_starts(hg_str_of(def), HG_STR("$HF_HOME/"))) code = hf_home(&dir, err);
    else code = xdg_dir("XDG_DATA_HOME", ".local/share", &dir, err);
    if (code != HANGAR_OK) return code;
    path = hg_path_join(dir, slash + 1);
    return path ? hg_place_absolute(path, NULL, out, err) : hg_fail_memory(err);
}

hangar_code hg_place_config(const char *asked, char **out, bool *named, hangar_err *err)
{
    if (!asked || !*asked) asked = env_of("HANGAR_CONFIG");
    *named = asked != NULL;
    if (asked) return hg_place_absolute(asked, NULL, out, err);
    HG_AUTO(hg_auto_free) char *dir = NULL;
    HG_AUTO(hg_auto_free) char *path = NULL;
    hangar_code code = xdg_dir("XDG_CONFIG_HOME", ".config", &dir, err);
    if (code != HANGAR_OK) return code;
    path = hg_path_join(dir, "hangar/hangar.yaml");
    return path ? hg_place_absolute(path, NULL, out, err) : hg_fail_memory(err);
}
