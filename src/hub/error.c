/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/error.h"

#include "base/mem.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

bool hg_status_transient(int status)
{
    return status == 408 || status == 425 || status == 429 ||
           (status >= 500 && status != 501 && status != 505);
}

/* " (request ID)" for those who will ask the Hub's people; "" when there is none. */
static const char *request_text(const hg_reply *reply, char *out, size_t len)
{
    out[0] = '\0';
    if (reply->request_id[0]) snprintf(out, len, " (request %s)", reply->request_id);
    return out;
}

/* The server's own words after a colon, when there are any. */
static const char *words_of(const hg_reply *reply, char *out, size_t len)
{
    out[0] = '\0';
    if (reply->error_message[0]) snprintf(out, len, ": %s", reply->error_message);
    return out;
}

hangar_code hg_gated_fail(const hg_asked *a, hangar_err *err)
{
    if (!a->token)
        return hg_fail(err, HANGAR_E_GATED,
                       "%s is gated: ask for access at %s/%s, then set HF_TOKEN to a token of that account",
                       a->repo, a->endpoint, a->repo);
    return hg_fail(err, HANGAR_E_GATED, "%s is gated and this token has no access: visit %s/%s to ask for it",
                   a->repo, a->endpoint, a->repo);
}

/* The Hub's own named errors. OK: the name is not known. */
static hangar_code fail_named(const hg_asked *a, const hg_reply *reply, hangar_err *err)
{
    if (strcmp(reply->error_code, "GatedRepo") == 0) return hg_gated_fail(a, err);
    if (strcmp(reply->error_code, "RepoNotFound") == 0)
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s has no repository %s%s", a->endpoint, a->repo,
                       a->token ? "" : " (a private one needs HF_TOKEN)");
    if (strcmp(reply->error_code, "RevisionNotFound") == 0)
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s has no revision '%s'", a->repo, a->revision);
    if (strcmp(reply->error_code, "EntryNotFound") == 0)
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s has no file '%s' at %s", a->repo, a->path, a->revision);
    if (strcmp(reply->error_message, "Access to this resource is disabled.") == 0)
        return hg_fail(err, HANGAR_E_DENIED, "%s was disabled by the Hub", a->repo);
    if (strncmp(reply->error_message, "Invalid credentials", 19) == 0)
        return hg_fail(err, HANGAR_E_DENIED,
                       "the Hub does not accept the token: check HF_TOKEN or the token file");
    return HANGAR_OK;
}

static hangar_code fail_own(const hg_asked *a, const hg_reply *reply, hangar_err *err)
{
    char id[128], said[300];
    hangar_code code = fail_named(a, reply, err);
    if (code != HANGAR_OK) return code;
    request_text(reply, id, sizeof id);
    words_of(reply, said, sizeof said);
    switch (reply->status) {
    case 401:
        if (a->token)
            return hg_fail(err, HANGAR_E_DENIED, "the Hub does not accept the token for %s%s%s", a->repo,
                           said, id);
        return hg_fail(err, HANGAR_E_NOT_FOUND,
                       "no repository %s, or it is private: check the name, or set HF_TOKEN%s", a->repo, id);
    case 403: return hg_fail(err, HANGAR_E_DENIED, "no permission for %s%s%s", a->repo, said, id);
    case 404:
    case 410:
        if (a->path[0])
            return hg_fail(err, HANGAR_E_NOT_FOUND, "%s has no file '%s' at %s%s", a->repo, a->path,
                           a->revision, id);
        return hg_fail(err, HANGAR_E_NOT_FOUND, "%s has no %s at revision '%s'%s", a->endpoint, a->repo,
                       a->revision, id);
    case 429: return hg_fail(err, HANGAR_E_RATE_LIMITED, "%s: too many requests%s%s", a->repo, said, id);
    default:
        return hg_fail(err,
                       reply->status == 408 || reply->status == 504 ? HANGAR_E_TIMEOUT : HANGAR_E_NETWORK,
                       "the Hub answered %d for %s%s%s%s%s", reply->status, a->repo, a->path[0] ? ": " : "",
                       a->path, said, id);
    }
}

hangar_code hg_status_fail(const hg_asked *a, const hg_reply *reply, hangar_err *err)
{
    if (a->own) return fail_own(a, reply, err);
    char from[300], id[128];
    hg_url_origin_text(a->url, from, sizeof from);
    request_text(reply, id, sizeof id);
    hangar_code code = HANGAR_E_NETWORK;
    if (reply->status == 401 || reply->status == 403) code = HANGAR_E_DENIED;
    else if (reply->status == 404 || reply->status == 410) code = HANGAR_E_NOT_FOUND;
    else if (reply->status == 429) code = HANGAR_E_RATE_LIMITED;
    else if (reply->status == 408 || reply->status == 504) code = HANGAR_E_TIMEOUT;
    return hg_fail(err, code, "the storage at %s answered %d for '%s'%s", from, reply->status, a->path, id);
}

hg_curl_kind hg_curl_kind_of(int curl_code)
{
    switch ((CURLcode)curl_code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT: return HG_CURL_REACH;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_FAILED_INIT:
    case CURLE_NOT_BUILT_IN:
    case CURLE_OUT_OF_MEMORY: return HG_CURL_FINAL;
    default: return HG_CURL_BROKEN;
    }
}

hangar_code hg_curl_fail(int curl_code, const char *detail, const hg_url *url, hangar_err *err)
{
    char from[300];
    CURLcode rc = (CURLcode)curl_code;
    hg_url_origin_text(url, from, sizeof from);
    const char *words = detail && detail[0] ? detail : curl_easy_strerror(rc);
    switch (rc) {
    case CURLE_OUT_OF_MEMORY: return hg_fail_memory(err);
    case CURLE_OPERATION_TIMEDOUT: return hg_fail(err, HANGAR_E_TIMEOUT, "%s: %s", from, words);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return hg_fail(err, HANGAR_E_NETWORK, "%s cannot be reached: %s", from, words);
    case CURLE_PEER_FAILED_VERIFICATION:
        return hg_fail(err, HANGAR_E_NETWORK, "%s: its certificate cannot be trusted: %s", from, words);
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR: return hg_fail(err, HANGAR_E_NETWORK, "%s: the connection broke: %s", from, words);
    default: return hg_fail(err, HANGAR_E_NETWORK, "%s: %s", from, words);
    }
}
