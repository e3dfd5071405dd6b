/* SPDX-License-Identifier: Apache-2.0 */
#include "base/curl.h"

#include "base/lazy.h"

#include <pthread.h>
#include <stdarg.h>
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

static hg_lazy lib = {.file = "libcurl.so.4", .package = "libcurl4"};

HG_LAZY(lib, CURLcode, curl_global_init, (long flags), (flags))
HG_LAZY(lib, CURL *, curl_easy_init, (void), ())
HG_LAZY(lib, void, curl_easy_cleanup, (CURL * easy), (easy))
HG_LAZY(lib, CURLcode, curl_easy_pause, (CURL * easy, int action), (easy, action))
HG_LAZY(lib, const char *, curl_easy_strerror, (CURLcode code), (code))
HG_LAZY(lib, void, curl_free, (void *text), (text))
HG_LAZY(lib, time_t, curl_getdate, (const char *text, const time_t *unused), (text, unused))
HG_LAZY(lib, CURLM *, curl_multi_init, (void), ())
HG_LAZY(lib, CURLMcode, curl_multi_cleanup, (CURLM * multi), (multi))
HG_LAZY(lib, CURLMcode, curl_multi_add_handle, (CURLM * multi, CURL *easy), (multi, easy))
HG_LAZY(lib, CURLMcode, curl_multi_remove_handle, (CURLM * multi, CURL *easy), (multi, easy))
HG_LAZY(lib, CURLMsg *, curl_multi_info_read, (CURLM * multi, int *left), (multi, left))
HG_LAZY(lib, CURLMcode, curl_multi_perform, (CURLM * multi, int *running), (multi, running))
HG_LAZY(lib, CURLMcode, curl_multi_poll,
        (CURLM * multi, struct curl_waitfd fds[], unsigned count, int milliseconds, int *ready),
        (multi, fds, count, milliseconds, ready))
HG_LAZY(lib, CURLMcode, curl_multi_wakeup, (CURLM * multi), (multi))
HG_LAZY(lib, CURLMcode, curl_multi_socket_action, (CURLM * multi, curl_socket_t fd, int events, int *running),
        (multi, fd, events, running))
HG_LAZY(lib, const char *, curl_multi_strerror, (CURLMcode code), (code))
HG_LAZY(lib, struct curl_slist *, curl_slist_append, (struct curl_slist * list, const char *text),
        (list, text))
HG_LAZY(lib, void, curl_slist_free_all, (struct curl_slist * list), (list))
HG_LAZY(lib, CURLU *, curl_url, (void), ())
HG_LAZY(lib, void, curl_url_cleanup, (CURLU * url), (url))
HG_LAZY(lib, CURLUcode, curl_url_get, (CURLU * url, CURLUPart what, char **part, unsigned flags),
        (url, what, part, flags))
HG_LAZY(lib, CURLUcode, curl_url_set, (CURLU * url, CURLUPart what, const char *part, unsigned flags),
        (url, what, part, flags))
HG_LAZY(lib, const char *, curl_url_strerror, (CURLUcode code), (code))

/* ---- those with an argument whose type hangs on another ---- */

#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

/* An option's number tells the type of its value: CURLOPTTYPE_*, in curl/curl.h. */
#define SETOPT(type, name, handle_type, option_type)                                               \
    type name(handle_type *handle, option_type option, ...)                                        \
    {                                                                                              \
        static _Atomic(void *) found;                                                              \
        type (*call)(handle_type *, option_type, ...) =                                            \
            (type(*)(handle_type *, option_type, ...))hg_lazy_at(&lib, #name, &found);             \
        int kind = (int)option / CURLOPTTYPE_OBJECTPOINT * CURLOPTTYPE_OBJECTPOINT;                \
        va_list values;                                                                            \
        va_start(values, option);                                                                  \
        type code = kind == CURLOPTTYPE_LONG    ? call(handle, option, va_arg(values, long))       \
                    : kind == CURLOPTTYPE_OFF_T ? call(handle, option, va_arg(values, curl_off_t)) \
                                                : call(handle, option, va_arg(values, void *));    \
        va_end(values);                                                                            \
        return code;                                                                               \
    }

SETOPT(CURLcode, curl_easy_setopt, CURL, CURLoption)
SETOPT(CURLMcode, curl_multi_setopt, CURLM, CURLMoption)

/* What is asked is always written to an address. */
typedef CURLcode easy_getinfo(CURL *, CURLINFO, ...);
CURLcode curl_easy_getinfo(CURL *easy, CURLINFO what, ...)
{
    static _Atomic(void *) found;
    easy_getinfo *call = (easy_getinfo *)hg_lazy_at(&lib, "curl_easy_getinfo", &found);
    va_list values;
    va_start(values, what);
    CURLcode code = call(easy, what, va_arg(values, void *));
    va_end(values);
    return code;
}

/* ---- the start ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode started = CURLE_FAILED_INIT;

static void start(void)
{
    started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

hangar_code hg_curl_ready(hangar_err *err)
{
    hangar_code code = hg_lazy_load(&lib, err);
    if (code != HANGAR_OK) return code;
    pthread_once(&once, start);
    if (started == CURLE_OK) return HANGAR_OK;
    return hg_fail(err, HANGAR_E_INTERNAL, "libcurl does not start: %s", curl_easy_strerror(started));
}
