/* SPDX-License-Identifier: Apache-2.0 */
#include "api/microhttpd.h"

#include "base/lazy.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

static hg_lazy lib = {.file = "libmicrohttpd.so.12", .package = "libmicrohttpd12"};

HG_LAZY(lib, struct MHD_Daemon *, MHD_start_daemon_va,
        (unsigned flags, uint16_t port, MHD_AcceptPolicyCallback accept, void *accept_ctx,
         MHD_AccessHandlerCallback answer, void *answer_ctx, va_list options),
        (flags, port, accept, accept_ctx, answer, answer_ctx, options))
HG_LAZY(lib, void, MHD_stop_daemon, (struct MHD_Daemon * daemon), (daemon))
HG_LAZY(lib, enum MHD_Result, MHD_run, (struct MHD_Daemon * daemon), (daemon))
HG_LAZY(lib, enum MHD_Result, MHD_get_timeout,
        (struct MHD_Daemon * daemon, MHD_UNSIGNED_LONG_LONG *milliseconds), (daemon, milliseconds))
HG_LAZY(lib, enum MHD_Result, MHD_add_connection,
        (struct MHD_Daemon * daemon, MHD_socket fd, const struct sockaddr *addr, socklen_t len),
        (daemon, fd, addr, len))
HG_LAZY(lib, void, MHD_suspend_connection, (struct MHD_Connection * connection), (connection))
HG_LAZY(lib, void, MHD_resume_connection, (struct MHD_Connection * connection), (connection))
HG_LAZY(lib, int, MHD_get_connection_values,
        (struct MHD_Connection * connection, enum MHD_ValueKind kind, MHD_KeyValueIterator each, void *ctx),
        (connection, kind, each, ctx))
HG_LAZY(lib, const char *, MHD_lookup_connection_value,
        (struct MHD_Connection * connection, enum MHD_ValueKind kind, const char *key),
        (connection, kind, key))
HG_LAZY(lib, struct MHD_Response *, MHD_create_response_from_buffer,
        (size_t size, void *buffer, enum MHD_ResponseMemoryMode mode), (size, buffer, mode))
HG_LAZY(lib, struct MHD_Response *, MHD_create_response_from_callback,
        (uint64_t size, size_t block, MHD_ContentReaderCallback read, void *ctx,
         MHD_ContentReaderFreeCallback done),
        (size, block, read, ctx, done))
HG_LAZY(lib, struct MHD_Response *, MHD_create_response_from_fd_at_offset64,
        (uint64_t size, int fd, uint64_t offset), (size, fd, offset))
HG_LAZY(lib, enum MHD_Result, MHD_add_response_header,
        (struct MHD_Response * response, const char *name, const char *value), (response, name, value))
HG_LAZY(lib, enum MHD_Result, MHD_queue_response,
        (struct MHD_Connection * connection, unsigned status, struct MHD_Response *response),
        (connection, status, response))
HG_LAZY(lib, void, MHD_destroy_response, (struct MHD_Response * response), (response))

/* ---- those with any number of arguments ---- */

struct MHD_Daemon *MHD_start_daemon(unsigned flags, uint16_t port, MHD_AcceptPolicyCallback accept,
                                    void *accept_ctx, MHD_AccessHandlerCallback answer, void *answer_ctx, ...)
{
    va_list options;
    va_start(options, answer_ctx);
    struct MHD_Daemon *daemon =
        MHD_start_daemon_va(flags, port, accept, accept_ctx, answer, answer_ctx, options);
    va_end(options);
    return daemon;
}

/* What is asked here has no further arguments. */
typedef const union MHD_ConnectionInfo *connection_info(struct MHD_Connection *, enum MHD_ConnectionInfoType,
                                                        ...);
typedef const union MHD_DaemonInfo *daemon_info(struct MHD_Daemon *, enum MHD_DaemonInfoType, ...);

const union MHD_ConnectionInfo *MHD_get_connection_info(struct MHD_Connection *connection,
                                                        enum MHD_ConnectionInfoType what, ...)
{
    static _Atomic(void *) found;
    return ((connection_info *)hg_lazy_at(&lib, "MHD_get_connection_info", &found))(connection, what);
}

const union MHD_DaemonInfo *MHD_get_daemon_info(struct MHD_Daemon *daemon, enum MHD_DaemonInfoType what, ...)
{
    static _Atomic(void *) found;
    return ((daemon_info *)hg_lazy_at(&lib, "MHD_get_daemon_info", &found))(daemon, what);
}

/* ---- ours ---- */

hangar_code hg_mhd_ready(hangar_err *err)
{
    return hg_lazy_load(&lib, err);
}

void hg_mhd_log(void *who, const char *fmt, va_list args)
{
    char line[256];
    vsnprintf(line, sizeof line, fmt, args);
    line[strcspn(line, "\r\n")] = '\0';
    hg_log(HG_LOG_DEBUG, who, "%s", line);
}

size_t hg_mhd_keep_escapes(void *ctx, struct MHD_Connection *connection, char *text)
{
    (void)ctx, (void)connection;
    return strlen(text);
}
