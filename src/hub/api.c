/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question is repeated `retries` times while the answer may get better; Retry-After and RateLimit say how long to wait
 * when they say anything. A failure to reach anybody at all is repeated soon and not for long, so that a machine without
 * a network learns it within seconds.
 */
#include "hub/api.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "hub/error.h"
#include "hub/wait.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define API_BUFFER (64 * HG_KIB)
#define JSON_DEPTH 32

/* One question: where, about what, and what came. */
typedef struct question {
    hg_request req;
    hg_asked asked;
    hg_buf body;
} question;

static size_t take_body(hg_request *req, const char *bytes, size_t len)
{
    question *q = req->ctx;
    hg_buf_add(&q->body, bytes, len);
    return hg_buf_check(&q->body, &req->why) == HANGAR_OK ? len : 0;
}

/* Runs the request until an answer (or libcurl's failure, *rc) is there. */
static hangar_code drive(hg_net *net, hg_request *req, CURLcode *rc, hangar_err *err)
{
    for (;;) {
        int running, left;
        curl_multi_perform(net->multi, &running);
        for (CURLMsg *m; (m = curl_multi_info_read(net->multi, &left));) {
            if (m->msg != CURLMSG_DONE || m->easy_handle != req->easy) continue;
            *rc = m->data.result;
            hg_request_stop(req);
            return HANGAR_OK;
        }
        hangar_code code = hg_net_check(net, err);
        if (code != HANGAR_OK) {
            hg_request_stop(req);
            return code;
        }
        if (hg_request_stalled(req, hg_now())) {
            *rc = CURLE_OPERATION_TIMEDOUT;
            hg_request_stop(req);
            return HANGAR_OK;
        }
        curl_multi_poll(net->multi, NULL, 0, 100, NULL);
    }
}

/* A 3xx whose body was not wanted counts as an answer although it was broken off. */
static bool answered(const hg_request *req, CURLcode rc)
{
    return rc == CURLE_OK ||
           (rc == CURLE_WRITE_ERROR && req->why.code == HANGAR_OK && req->reply.status >= 300);
}

/* One try with its redirects. *rc tells libcurl's side; OK with *rc CURLE_OK means q->req.reply is the final answer. */
static hangar_code ask_once(question *q, const hg_url *url, CURLcode *rc, hangar_err *err)
{
    hg_buf_reset(&q->body);
    hangar_code code = hg_request_start(&q->req, url, "", err);
    bool again = true;
    while (code == HANGAR_OK && again) {
        code = drive(q->req.net, &q->req, rc, err);
        if (code != HANGAR_OK) return code;
        if (q->req.why.code != HANGAR_OK) {
            if (err) *err = q->req.why;
            return q->req.why.code;
        }
        if (!answered(&q->req, *rc)) return HANGAR_OK;
        *rc = CURLE_OK;
        q->req.net->answered = true;
        code = hg_request_follow(&q->req, &again, err);
    }
    return code;
}

/* Whether the answer is good; else the error, and whether another try makes sense. */
static hangar_code judge(question *q, CURLcode rc, bool *transient, hangar_err *err)
{
    const hg_reply *reply = &q->req.reply;
    q->asked.own = q->req.own;
    q->asked.url = &q->req.url;
    if (rc != CURLE_OK) {
        *transient = hg_curl_kind_of(rc) != HG_CURL_FINAL && !q->req.refused;
        if (q->req.refused)
            return hg_fail(err, HANGAR_E_DENIED, "a redirect into the local network, which is refused");
        return hg_curl_fail(rc, q->req.detail, &q->req.url, err);
    }
    hg_net_warn(q->req.net, reply);
    *transient = hg_status_transient(reply->status);
    if (reply->status != 200) return hg_status_fail(&q->asked, reply, err);
    if (reply->encoded)
        return hg_fail(err, HANGAR_E_INVALID, "an answer in an encoding that was not asked for");
    return HANGAR_OK;
}

/* Asks until the answer is good or the tries are used up. */
static hangar_code ask(question *q, const hg_url *url, hangar_err *err)
{
    hg_net *net = q->req.net;
    for (int64_t nth = 1;; nth++) {
        CURLcode rc = CURLE_OK;
        bool transient = false;
        hangar_code code = ask_once(q, url, &rc, err);
        if (code == HANGAR_OK) code = judge(q, rc, &transient, err);
        if (code == HANGAR_OK || !transient) return code;
        if (nth > net->settings->retries) return code;
        bool brief = hg_curl_kind_of(rc) == HG_CURL_REACH && !net->answered;
        double wait;
        hangar_err why = err ? *err : (hangar_err){.code = code};
        hangar_code worse = hg_wait_choose(rc == CURLE_OK ? &q->req.reply : NULL, nth, brief, &wait, err);
        if (worse != HANGAR_OK) return worse;
        hg_job_note(net->job, "%s; trying again in %.1f s (%" PRId64 " of %" PRId64 ")", why.msg, wait, nth,
                    net->settings->retries);
        code = hg_net_sleep(net, wait, err);
        if (code != HANGAR_OK) return code;
    }
}

/* Asks and reads the JSON. *next (may be NULL) gets the address of the next page, or NULL; the caller's. `room` is what
 * the body may have at most and shrinks by what it had. */
static hangar_code ask_json(hg_net *net, const hg_asked *asked, const hg_url *url, size_t *room,
                            hg_json **out, char **next, hangar_err *err)
{
    question q = {.asked = *asked};
    hg_str link;
    hg_buf_init(&q.body, *room);
    hangar_code code = hg_request_init(&q.req, net, API_BUFFER, take_body, &q, err);
    if (code == HANGAR_OK) code = ask(&q, url, err);
    if (code == HANGAR_OK) {
        *room -= q.body.len < *room ? q.body.len : *room;
        hg_json_limits limits = {.bytes = HG_LIST_BYTES_MAX, .depth = JSON_DEPTH, .unique_keys = false};
        code = hg_json_parse(hg_buf_view(&q.body), &limits, out, err);
        if (code != HANGAR_OK) hg_wrap(err, code, "the Hub's answer");
    }
    if (code == HANGAR_OK && next) {
        *next = NULL;
        if (q.req.reply.link && hg_link_next(q.req.reply.link, &link)) {
            *next = hg_strndup(link.ptr, link.len);
            if (!*next) code = hg_fail_memory(err);
        }
    }
    hg_buf_deinit(&q.body);
    hg_request_deinit(&q.req);
    return code;
}

static hg_asked asked_of(const hg_net *net, const hg_ref *ref, const char *revision)
{
    return (hg_asked){.endpoint = net->settings->endpoint,
                      .repo = ref->repo,
                      .revision = revision,
                      .path = "",
                      .token = net->settings->token && net->settings->token[0]};
}

/* ENDPOINT/api/models/REPO/WHAT/REVISION[QUERY] */
static hangar_code api_url(const hg_net *net, const hg_ref *ref, const char *what, const char *revision,
                           const char *query, hg_url *out, hangar_err *err)
{
    hg_buf b;
    hg_buf_init(&b, HG_URL_MAX);
    hg_buf_puts(&b, net->settings->endpoint);
    hg_buf_puts(&b, "/api/models/");
    hg_url_quote(&b, hg_str_of(ref->repo), true);
    hg_buf_printf(&b, "/%s/", what);
    hg_url_quote(&b, hg_str_of(revision), false);
    hg_buf_puts(&b, query);
    hangar_code code = hg_buf_check(&b, err);
    if (code == HANGAR_OK) code = hg_url_parse(hg_buf_text(&b), out, err);
    hg_buf_deinit(&b);
    return code;
}

hangar_code hg_api_resolve(hg_net *net, const hg_ref *ref, char commit[41], hangar_err *err)
{
    HG_AUTO(hg_url_deinit) hg_url url = {0};
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_asked asked = asked_of(net, ref, ref->revision);
    size_t room = HG_LIST_BYTES_MAX;
    hangar_code code = api_url(net, ref, "revision", ref->revision, "", &url, err);
    if (code == HANGAR_OK) code = ask_json(net, &asked, &url, &room, &doc, NULL, err);
    if (code == HANGAR_OK) code = hg_info_commit(hg_json_root(doc), commit, err);
    if (code == HANGAR_OK && hg_commit_is(hg_str_of(ref->revision)) && !hg_streq(ref->revision, commit))
        code = hg_fail(err, HANGAR_E_INVALID, "the Hub answers for commit %s when asked for %s", commit,
                       ref->revision);
    return code;
}

/* The siblings of the info answer, for a Hub that has no tree interface. */
static hangar_code list_siblings(hg_net *net, const hg_ref *ref, const char *commit, hg_listing *out,
                                 hangar_err *err)
{
    HG_AUTO(hg_url_deinit) hg_url url = {0};
    HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
    hg_asked asked = asked_of(net, ref, commit);
    size_t room = HG_LIST_BYTES_MAX;
    hangar_code code = api_url(net, ref, "revision", commit, "?blobs=true", &url, err);
    if (code == HANGAR_OK) code = ask_json(net, &asked, &url, &room, &doc, NULL, err);
    if (code == HANGAR_OK)
        code = hg_listing_add_siblings(out, hg_json_get(hg_json_root(doc), "siblings"), err);
    return code;
}

/* Moves `url` to the next page; it must be on the Hub itself, because the token goes along. */
static hangar_code turn_page(const hg_net *net, hg_url *url, const char *next, hangar_err *err)
{
    hg_url there = {0};
    hangar_code code = hg_url_follow(url, next, &there, err);
    if (code != HANGAR_OK) return hg_wrap(err, code, "the next page of the list of files");
    if (!hg_url_same_origin(&there, &net->endpoint)) {
        char origin[300];
        hg_url_origin_text(&there, origin, sizeof origin);
        hg_url_deinit(&there);
        return hg_fail(err, HANGAR_E_INVALID,
                       "the list of files goes on at a foreign place (%s), not followed", origin);
    }
    hg_url_deinit(url);
    *url = there;
    return HANGAR_OK;
}

/* All pages of the tree. NOT_FOUND on the first page may mean that there is no such interface. */
static hangar_code list_tree(hg_net *net, const hg_ref *ref, const char *commit, hg_listing *out,
                             bool *no_tree, hangar_err *err)
{
    HG_AUTO(hg_url_deinit) hg_url url = {0};
    hg_asked asked = asked_of(net, ref, commit);
    size_t room = HG_LIST_BYTES_MAX;
    hangar_code code = api_url(net, ref, "tree", commit, "?recursive=true", &url, err);
    for (unsigned page = 0; code == HANGAR_OK; page++) {
        HG_AUTO(hg_json_auto_free) hg_json *doc = NULL;
        HG_AUTO(hg_auto_free) char *next = NULL;
        if (page == HG_PAGES_MAX)
            return hg_fail(err, HANGAR_E_LIMIT, "a list of files of more than %u pages", HG_PAGES_MAX);
        code = ask_json(net, &asked, &url, &room, &doc, &next, err);
        *no_tree = page == 0 && code == HANGAR_E_NOT_FOUND;
        if (code == HANGAR_OK) code = hg_listing_add_tree(out, hg_json_root(doc), err);
        if (code != HANGAR_OK || !next) break;
        code = turn_page(net, &url, next, err);
    }
    return code;
}

hangar_code hg_api_list(hg_net *net, const hg_ref *ref, const char *commit, hg_listing *out, hangar_err *err)
{
    bool no_tree = false;
    hangar_code code = list_tree(net, ref, commit, out, &no_tree, err);
    if (no_tree) {
        hg_listing_deinit(out);
        code = list_siblings(net, ref, commit, out, err);
    }
    if (code == HANGAR_OK) code = hg_listing_finish(out, err);
    if (code == HANGAR_E_GATED) {
        hg_asked asked = asked_of(net, ref, commit);
        code = hg_gated_fail(&asked, err);
    }
    if (code == HANGAR_OK && out->skipped)
        hg_job_note(net->job, "%u entries of %s are neither files nor folders and are left out", out->skipped,
                    ref->repo);
    if (code != HANGAR_OK) hg_listing_deinit(out);
    return code;
}
