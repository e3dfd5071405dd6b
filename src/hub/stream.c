/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stream: asks for the rest of a chunk, looks at the answer's headers before it takes the first byte, writes the
 * bytes to their place, and decides what an end means.
 */
#include "hub/fetch.h"

#include "base/log.h"
#include "base/mem.h"
#include "hub/error.h"
#include "hub/partial.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- looking at an answer ---- */

HG_PRINTF(3, 4) static hg_verdict verdict(hg_stream *s, hg_verdict v, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(s->words, sizeof s->words, fmt, args);
    va_end(args);
    return v;
}

/* Whether what the Hub says of the file, on the way or in the answer, is what its list said. */
static hg_verdict check_identity(hg_stream *s)
{
    const hg_request *req = &s->req;
    const hg_want *want = s->file->want;
    bool linked = req->linked.status != 0;
    const hg_reply *r = linked ? &req->linked : &req->reply;
    if (!linked && !req->own) return HG_VERDICT_GO;
    if (hg_commit_is(hg_str_of(r->commit)) && !hg_streq(r->commit, s->f->commit))
        return verdict(s, HG_VERDICT_CHANGED, "it comes from commit %s", r->commit);
    if (r->linked_size_known && r->linked_size != want->size)
        return verdict(s, HG_VERDICT_CHANGED, "it has %" PRIu64 " bytes, the list says %" PRIu64,
                       r->linked_size, want->size);
    /* An ETag of the storage says nothing; one of the Hub itself is the digest. */
    const char *etag = r->linked_etag[0] ? r->linked_etag : linked || s->direct ? "" : r->etag;
    hg_oid oid;
    if (hg_etag_oid(etag, &oid) && oid.kind == want->oid.kind && !hg_oid_eq(&oid, &want->oid))
        return verdict(s, HG_VERDICT_CHANGED, "its digest is now %s", oid.hex);
    return HG_VERDICT_GO;
}

/* A 206: exactly the range that was asked for. */
static hg_verdict check_range(hg_stream *s)
{
    const hg_reply *r = &s->req.reply;
    const hg_chunk *c = s->chunk;
    uint64_t start, end, total;
    if (!s->req.range[0]) return verdict(s, HG_VERDICT_BAD, "a part came when the whole was asked for");
    if (!hg_content_range_parse(r->range, &start, &end, &total))
        return verdict(s, HG_VERDICT_WHOLE, "a range came without a proper Content-Range");
    if (total != s->file->want->size)
        return verdict(s, HG_VERDICT_BAD, "the server has %" PRIu64 " bytes, the list says %" PRIu64, total,
                       s->file->want->size);
    if (start != c->start + c->done || end != s->last->end - 1)
        return verdict(s, HG_VERDICT_WHOLE, "another range came than was asked for");
    if (r->length_bad || (r->length_known && r->length != end - start + 1))
        return verdict(s, HG_VERDICT_BAD, "Content-Length and Content-Range contradict each other");
    return HG_VERDICT_GO;
}

/* A 200: the whole file. */
static hg_verdict check_whole(hg_stream *s)
{
    const hg_reply *r = &s->req.reply;
    hg_file *file = s->file;
    if (r->length_bad) return verdict(s, HG_VERDICT_BAD, "a malformed Content-Length");
    if (r->length_known && r->length != file->want->size)
        return verdict(s, HG_VERDICT_BAD, "the server announces %" PRIu64 " bytes, the list says %" PRIu64,
                       r->length, file->want->size);
    if (!s->req.range[0]) return HG_VERDICT_GO;
    if (s->chunk->start || file->covered || file->streams != 1)
        return verdict(s, HG_VERDICT_WHOLE, "the whole file came when a range was asked for");
    if (hg_partial_make_whole(file, &s->req.why) != HANGAR_OK) return HG_VERDICT_NONE;
    s->chunk = s->last = &file->chunks[0];
    s->chunk->busy = true;
    return HG_VERDICT_GO;
}

/* Looks at the headers of a success. */
static hg_verdict check_head(hg_stream *s)
{
    const hg_reply *r = &s->req.reply;
    hg_verdict v = check_identity(s);
    if (v != HG_VERDICT_GO) return v;
    if (r->encoded) return verdict(s, HG_VERDICT_BAD, "it comes in an encoding that was not asked for");
    if (r->status == 206) v = check_range(s);
    else if (r->status == 200) v = check_whole(s);
    else return verdict(s, HG_VERDICT_BAD, "the server answers %d", r->status);
    if (v != HG_VERDICT_GO) return v;
    if (s->req.hops > 0) { /* the same address serves the other ranges, until it expires */
        hg_url_deinit(&s->file->direct);
        s->file->direct = (hg_url){.text = hg_strdup(s->req.url.text),
                                   .host = hg_strdup(s->req.url.host),
                                   .https = s->req.url.https,
                                   .port = s->req.url.port};
        if (!s->file->direct.text || !s->file->direct.host) hg_url_deinit(&s->file->direct);
    }
    s->head_time = hg_now();
    s->taken = 0;
    if (!s->file->probed) {
        s->file->probed = true;
        s->file->allowed = 1;
        s->file->window_time = hg_now();
        s->file->window_covered = s->file->covered;
    }
    return v;
}

/* Writes what is held to its place, over as many chunks as it reaches. */
static bool flush(hg_stream *s)
{
    hg_chunk *c = s->chunk;
    size_t held = s->held;
    s->held = 0;
    if (held == 0) return true;
    uint64_t at = c->start + c->done;
    if (hg_pwrite_all(s->file->fd, s->hold->bytes, held, at, &s->req.why) != HANGAR_OK) {
        hg_wrap(&s->req.why, s->req.why.code, "%s", s->file->partial);
        return false;
    }
    /* At the front of the file the provers wait for just these bytes. */
    hg_block *fresh = c == &s->file->chunks[s->file->front] ? hg_prover_block(s->f->prover) : NULL;
    if (fresh) {
        hg_prover_hand(s->f->prover, &s->file->proof, s->hold, at, held);
        s->hold = fresh;
    }
    while (held) {
        uint64_t left = c->end - c->start - c->done;
        size_t n = held < left ? held : (size_t)left;
        hg_fetch_advance(s->f, s->file, c, n);
        held -= n;
        if (n < left || c == s->last) break;
        c->busy = false;
        s->chunk = ++c;
    }
    return true;
}

/*
 * The sink: bytes of a success. They are written in big pieces that end at round places, which file systems like best;
 * the last piece only when the answer has ended, so that a file cannot be proved while its server still sends more.
 */
static size_t take_bytes(hg_request *req, const char *bytes, size_t len)
{
    hg_stream *s = req->ctx;
    if (s->verdict == HG_VERDICT_NONE) s->verdict = check_head(s);
    if (s->verdict != HG_VERDICT_GO) return 0;
    uint64_t at = s->chunk->start + s->chunk->done + s->held;
    if (len > s->last->end - at) {
        s->held = 0;
        s->verdict = verdict(s, HG_VERDICT_BAD, "the server sends more bytes than it announced");
        return 0;
    }
    if (!hg_fetch_may_take(s->f, len)) return CURL_WRITEFUNC_PAUSE;
    s->taken += len;
    for (size_t left = len; left;) {
        size_t room = s->room - (size_t)(at % s->room);
        if (room > s->room - s->held) room = s->room - s->held;
        size_t n = left < room ? left : room;
        memcpy(s->hold->bytes + s->held, bytes, n);
        s->held += n;
        bytes += n;
        left -= n;
        at += n;
        if ((s->held == s->room || at % s->room == 0) && at < s->last->end && !flush(s)) return 0;
    }
    return len;
}

/* ---- life ---- */

hangar_code hg_stream_init(hg_stream *s, hg_fetch *f, size_t buffer, size_t room, hangar_err *err)
{
    *s = (hg_stream){.f = f, .room = room, .hold = hg_prover_block(f->prover)};
    if (!s->hold) return hg_fail_memory(err);
    hangar_code code = hg_request_init(&s->req, f->net, buffer, take_bytes, s, err);
    if (code != HANGAR_OK) hg_prover_give(f->prover, s->hold);
    return code;
}

void hg_stream_deinit(hg_stream *s)
{
    if (s->file) {
        if (s->verdict == HG_VERDICT_GO) flush(s);
        hg_stream_drop(s);
    }
    hg_request_deinit(&s->req);
    hg_prover_give(s->f->prover, s->hold);
    s->hold = NULL;
}

/* ENDPOINT/REPO/resolve/COMMIT/PATH */
static hangar_code resolve_url(const hg_fetch *f, const char *path, hg_url *out, hangar_err *err)
{
    hg_buf b;
    hg_buf_init(&b, HG_URL_MAX);
    hg_buf_puts(&b, f->net->settings->endpoint);
    hg_buf_putc(&b, '/');
    hg_url_quote(&b, hg_str_of(f->ref->repo), true);
    hg_buf_printf(&b, "/resolve/%s/", f->commit);
    hg_url_quote(&b, hg_str_of(path), true);
    hangar_code code = hg_buf_check(&b, err);
    if (code == HANGAR_OK) code = hg_url_parse(hg_buf_text(&b), out, err);
    hg_buf_deinit(&b);
    return code;
}

void hg_stream_start(hg_stream *s, hg_file *file, hg_chunk *chunk, hg_chunk *last)
{
    char range[48] = "";
    hangar_err err = {0};
    hangar_code code;
    uint64_t from = chunk->start + chunk->done;
    if (from > 0 || last->end < file->want->size)
        snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, from, last->end - 1);
    s->file = file;
    s->chunk = chunk;
    s->last = last;
    s->held = 0;
    s->verdict = HG_VERDICT_NONE;
    s->direct = file->direct.text != NULL;
    for (hg_chunk *c = chunk; c <= last; c++) c->busy = true;
    file->streams++;
    if (s->direct) {
        code = hg_request_start(&s->req, &file->direct, range, &err);
    } else {
        HG_AUTO(hg_url_deinit) hg_url url = {0};
        code = resolve_url(s->f, file->want->path, &url, &err);
        if (code == HANGAR_OK) code = hg_request_start(&s->req, &url, range, &err);
    }
    if (code != HANGAR_OK) hg_fetch_fail(s->f, code, &err);
}

void hg_stream_drop(hg_stream *s)
{
    hg_request_stop(&s->req);
    for (hg_chunk *c = s->chunk; c <= s->last; c++) c->busy = false;
    s->file->streams--;
    s->file = NULL;
    s->chunk = s->last = NULL;
    s->held = 0;
}

/* ---- ends ---- */

/* An answer is there, even when its body was broken off because nobody wants the body of a redirect or an error. */
static bool answered(const hg_stream *s, CURLcode rc)
{
    return rc == CURLE_OK || (rc == CURLE_WRITE_ERROR && s->req.reply.status >= 300);
}

/* Nothing of a body was taken: an error of the server, or no answer at all. */
static void ended_without_body(hg_stream *s, hg_file *file, hg_chunk *chunk, CURLcode rc)
{
    hg_fetch *f = s->f;
    hangar_err why = {0};
    int status = s->req.reply.status;
    if (!answered(s, rc)) {
        if (s->req.refused) {
            hg_fail(&why, HANGAR_E_DENIED, "a redirect into the local network, which is refused");
        } else {
            hg_curl_fail(rc, s->req.detail, &s->req.url, &why);
            bool brief = hg_curl_kind_of(rc) == HG_CURL_REACH && !f->net->answered;
            if (hg_curl_kind_of(rc) != HG_CURL_FINAL) {
                hg_fetch_again(f, file, chunk, &why, NULL, brief);
                return;
            }
        }
        hg_wrap(&why, why.code, "%s", file->want->path);
        hg_fetch_fail(f, why.code, &why);
        return;
    }
    if (status == 416) {
        hg_fetch_bad(f, file, "the server has no such range of it");
        return;
    }
    const hg_asked asked = {.endpoint = f->net->settings->endpoint,
                            .repo = f->ref->repo,
                            .revision = f->ref->revision,
                            .path = file->want->path,
                            .url = &s->req.url,
                            .own = s->req.own && !s->direct && !s->req.linked.status,
                            .token = f->net->settings->token && f->net->settings->token[0]};
    hg_status_fail(&asked, &s->req.reply, &why);
    bool expired = !asked.own && (status == 401 || status == 403 || status == 404 || status == 410);
    if (expired) {
        hg_log(HG_LOG_INFO, "hub", "%s: its address has expired (%d)", file->want->path, status);
        if ((s->direct && s->req.hops > 0) || hg_streq(file->direct.text, s->req.url.text))
            hg_url_deinit(&file->direct);
        /* One that was good before costs no try, nor do the other streams that were sent to it: each asks for a new one. */
        if (!s->direct) hg_fetch_again(f, file, chunk, &why, NULL, false);
    } else if (hg_status_transient(status)) {
        hg_fetch_again(f, file, chunk, &why, &s->req.reply, false);
    } else {
        hg_fetch_fail(f, why.code, &why);
    }
}

/* How much the next request should ask for: so much that waiting for its answer takes a fiftieth of the time. */
static void learn_run(const hg_stream *s, hg_file *file)
{
    double body = hg_now() - s->head_time, pause = s->head_time - s->req.launched;
    if (s->taken < HG_MIB || body <= 0) return;
    double run = 50 * pause * (double)s->taken / body, most = (double)s->f->net->settings->range_size;
    file->run = run > most ? (uint64_t)most : (uint64_t)run;
}

/* A body that was as it should be has ended. */
static void ended_body(hg_stream *s, hg_file *file, hg_chunk *chunk, uint64_t end, CURLcode rc)
{
    hangar_err why = {0};
    hg_partial_note(file, chunk);
    learn_run(s, file);
    if (chunk->start + chunk->done == end) return;
    if (rc != CURLE_OK) hg_curl_fail(rc, s->req.detail, &s->req.url, &why);
    else
        hg_fail(&why, HANGAR_E_NETWORK, "the body ended %" PRIu64 " bytes early",
                end - chunk->start - chunk->done);
    hg_fetch_again(s->f, file, chunk, &why, NULL, false);
}

/* Follows a redirect. True when the stream goes on, or failed for good. */
static bool followed(hg_stream *s)
{
    hangar_err why = {0};
    bool again = false;
    hangar_code code = hg_request_follow(&s->req, &again, &why);
    if (code == HANGAR_OK) return again;
    hg_wrap(&why, code, "%s", s->file->want->path);
    hg_fetch_fail(s->f, code, &why);
    return true;
}

void hg_stream_ended(hg_stream *s, CURLcode rc)
{
    hg_fetch *f = s->f;
    hg_file *file = s->file;
    if (s->req.why.code != HANGAR_OK) {
        hg_fetch_fail(f, s->req.why.code, &s->req.why);
        return;
    }
    if (s->req.reply.status) f->net->answered = true;
    if (answered(s, rc) && followed(s)) return;
    bool success = s->req.reply.status >= 200 && s->req.reply.status < 300;
    if (success && rc == CURLE_OK && s->verdict == HG_VERDICT_NONE) s->verdict = check_head(s);
    if (s->req.why.code != HANGAR_OK) {
        hg_fetch_fail(f, s->req.why.code, &s->req.why);
        return;
    }
    if (s->verdict == HG_VERDICT_GO && !flush(s)) {
        hg_fetch_fail(f, s->req.why.code, &s->req.why);
        return;
    }
    hg_chunk *chunk = s->chunk;
    uint64_t end = s->last->end;
    hg_verdict v = s->verdict;
    hg_net_warn(f->net, &s->req.reply);
    hg_stream_drop(s);
    switch (v) {
    case HG_VERDICT_NONE: ended_without_body(s, file, chunk, rc); break;
    case HG_VERDICT_GO: ended_body(s, file, chunk, end, rc); break;
    case HG_VERDICT_BAD: hg_fetch_bad(f, file, s->words); break;
    case HG_VERDICT_WHOLE:
        if (file->whole) {
            hg_fetch_bad(f, file, s->words);
        } else {
            hg_job_note(f->net->job, "%s: %s; fetching it in one piece", file->want->path, s->words);
            hg_fetch_restart(f, file, true);
        }
        break;
    case HG_VERDICT_CHANGED: {
        hangar_err why = {0};
        f->changed = true;
        hg_fail(&why, HANGAR_E_INTEGRITY, "%s is not what the list of files said: %s", file->want->path,
                s->words);
        hg_fetch_fail(f, why.code, &why);
        break;
    }
    }
}
