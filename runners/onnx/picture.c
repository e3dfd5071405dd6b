/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pictures: libav decodes JPEG, PNG and WebP from memory (no demuxer, no protocol); colours are made here, so that what comes out does not
 * hang on a scaler. Brightness and colour of JPEG and WebP are those of BT.601, of full and of studio range; fewer samples of colour than of
 * brightness are interpolated between their centers, as the libraries do that most programs read pictures with. Transparency is dropped.
 * What the header claims is held to the limits before the decoder sees it, and a file that ends early is refused.
 */
#include "picture.h"

#include "base/mem.h"

#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void hg_picture_deinit(hg_picture *p)
{
    free(p->rgb);
    *p = (hg_picture){0};
}

/* ---- headers ---- */

static size_t big(const uint8_t *b, unsigned n)
{
    size_t v = 0;
    while (n-- > 0) v = v << 8 | *b++;
    return v;
}

static enum AVCodecID kind_of(const uint8_t *b, size_t len)
{
    if (len >= 3 && memcmp(b, "\xff\xd8\xff", 3) == 0) return AV_CODEC_ID_MJPEG;
    if (len >= 8 && memcmp(b, "\x89PNG\r\n\x1a\n", 8) == 0) return AV_CODEC_ID_PNG;
    if (len >= 12 && memcmp(b, "RIFF", 4) == 0 && memcmp(b + 8, "WEBP", 4) == 0) return AV_CODEC_ID_WEBP;
    return AV_CODEC_ID_NONE;
}

/* The first frame header (SOF) of a JPEG, by the segments before it. */
static bool jpeg_size(const uint8_t *b, size_t len, size_t *width, size_t *height)
{
    for (size_t at = 2; at + 9 <= len;) {
        if (b[at] != 0xff) return false;
        uint8_t mark = b[at + 1];
        if (mark == 0xff) { /* filling */
            at++;
            continue;
        }
        if (mark >= 0xc0 && mark <= 0xcf && mark != 0xc4 && mark != 0xc8 && mark != 0xcc) {
            *height = big(b + at + 5, 2);
            *width = big(b + at + 7, 2);
            return true;
        }
        at += mark == 0x01 || (mark >= 0xd0 && mark <= 0xd8) ? 2 : 2 + big(b + at + 2, 2);
    }
    return false;
}

static bool webp_size(const uint8_t *b, size_t len, size_t *width, size_t *height)
{
    if (len < 30) return false;
    if (memcmp(b + 12, "VP8X", 4) == 0) {
        *width = 1 + (size_t)hg_little(b + 24, 3);
        *height = 1 + (size_t)hg_little(b + 27, 3);
    } else if (memcmp(b + 12, "VP8L", 4) == 0) {
        *width = 1 + (size_t)(hg_little(b + 21, 4) & 0x3fff);
        *height = 1 + (size_t)(hg_little(b + 21, 4) >> 14 & 0x3fff);
    } else if (memcmp(b + 12, "VP8 ", 4) == 0) {
        *width = (size_t)(hg_little(b + 26, 2) & 0x3fff);
        *height = (size_t)(hg_little(b + 28, 2) & 0x3fff);
    } else {
        return false;
    }
    return true;
}

bool hg_picture_size(const uint8_t *b, size_t len, size_t *width, size_t *height)
{
    switch (kind_of(b, len)) {
    case AV_CODEC_ID_MJPEG: return jpeg_size(b, len, width, height);
    case AV_CODEC_ID_WEBP: return webp_size(b, len, width, height);
    case AV_CODEC_ID_PNG:
        if (len < 24) return false;
        *width = big(b + 16, 4);
        *height = big(b + 20, 4);
        return true;
    default: return false;
    }
}

/* The last place of two bytes; 0 = nowhere. */
static size_t last_of(const uint8_t *b, size_t len, uint8_t x, uint8_t y)
{
    for (size_t i = len; i >= 2; i--)
        if (b[i - 2] == x && b[i - 1] == y) return i - 2;
    return 0;
}

/* What the decoders would fill up with grey: an end of picture that is missing. */
static bool ends_early(enum AVCodecID kind, const uint8_t *b, size_t len)
{
    if (kind == AV_CODEC_ID_MJPEG) return last_of(b, len, 0xff, 0xd9) < last_of(b, len, 0xff, 0xda);
    return kind == AV_CODEC_ID_WEBP && hg_little(b + 4, 4) + 8 > len;
}

/* ---- colours ---- */

/* The samples of one component of a line, as bytes. */
static void read_line(const AVFrame *f, const AVPixFmtDescriptor *d, int c, int y, int count, uint16_t *to)
{
    int depth = d->comp[c].depth;
    bool palette = d->flags & AV_PIX_FMT_FLAG_PAL;
    av_read_image_line2(to, (const uint8_t **)(uintptr_t)f->data, f->linesize, d, 0, y, palette ? 0 : c,
                        count, 0, sizeof *to);
    for (int x = 0; x < count; x++) {
        if (palette) { /* of 32 bits each, in this machine's order: alpha, red, green, blue from the top */
            uint32_t entry;
            memcpy(&entry, f->data[1] + 4 * (size_t)(to[x] & 255), sizeof entry);
            to[x] = (uint16_t)(entry >> (16 - 8 * c) & 255);
        } else if (depth > 8) {
            to[x] = (uint16_t)(to[x] >> (depth - 8));
        } else if (depth < 8) {
            to[x] = (uint16_t)(to[x] * 255 / ((1 << depth) - 1));
        }
    }
}

/* Two neighbours among `count` samples and the share of the second, for place `at` where samples are 2^shift apart. */
static void between(int at, int shift, int count, int *first, int *second, double *share)
{
    double place = ((double)at + 0.5) / (double)(1 << shift) - 0.5, low = floor(place);
    *share = place - low;
    *first = low < 0 ? 0 : low > count - 1 ? count - 1 : (int)low;
    *second = low + 1 < 0 ? 0 : low + 1 > count - 1 ? count - 1 : (int)low + 1;
}

/* One line of a component at full width: read once, or from two lines of fewer samples. */
static void full_line(const AVFrame *f, const AVPixFmtDescriptor *d, int c, int y, uint16_t *room, double *to)
{
    bool colour = !(d->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) && (c == 1 || c == 2);
    int w = f->width, sx = colour ? d->log2_chroma_w : 0, sy = colour ? d->log2_chroma_h : 0;
    int count = AV_CEIL_RSHIFT(w, sx), first, second;
    double share;
    between(y, sy, AV_CEIL_RSHIFT(f->height, sy), &first, &second, &share);
    uint16_t *other = room + w;
    read_line(f, d, c, first, count, room);
    if (share > 0) read_line(f, d, c, second, count, other);
    for (int x = 0; x < w; x++) {
        int a, b;
        double along;
        between(x, sx, count, &a, &b, &along);
        double above = room[a] * (1 - along) + room[b] * along;
        to[x] = share > 0 ? above * (1 - share) + (other[a] * (1 - along) + other[b] * along) * share : above;
    }
}

static uint8_t to_byte(double x)
{
    return x <= 0 ? 0 : x >= 255 ? 255 : (uint8_t)(x + 0.5);
}

/* Brightness and two colours (BT.601) to red, green and blue. */
static void mix(bool studio, double y, double u, double v, uint8_t *to)
{
    double luma = studio ? (y - 16) * 255 / 219 : y, scale = studio ? 255.0 / 224 : 1;
    u = (u - 128) * scale;
    v = (v - 128) * scale;
    to[0] = to_byte(luma + 1.402 * v);
    to[1] = to_byte(luma - 0.344136 * u - 0.714136 * v);
    to[2] = to_byte(luma + 1.772 * u);
}

static bool is_studio(const AVFrame *f)
{
    bool full = f->format == AV_PIX_FMT_YUVJ420P || f->format == AV_PIX_FMT_YUVJ422P ||
                f->format == AV_PIX_FMT_YUVJ444P || f->format == AV_PIX_FMT_YUVJ440P ||
                f->format == AV_PIX_FMT_YUVJ411P;
    return !full && f->color_range != AVCOL_RANGE_JPEG;
}

static hangar_code to_rgb(const AVFrame *f, hg_picture *out, hangar_err *err)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get((enum AVPixelFormat)f->format);
    if (!d || d->flags & (AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_BAYER))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "the picture has a form of colours that is not read");
    size_t w = (size_t)f->width, h = (size_t)f->height;
    bool mixed = d->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL),
         grey = !mixed && d->nb_components < 3;
    *out = (hg_picture){.width = w, .height = h, .rgb = hg_calloc(w * h, 3)};
    HG_AUTO(hg_auto_free) uint16_t *room = hg_calloc(2 * w, sizeof *room);
    HG_AUTO(hg_auto_free) double *lines = hg_calloc(3 * w, sizeof *lines);
    if (!out->rgb || !room || !lines) return hg_fail_memory(err);
    bool studio = is_studio(f);
    for (size_t y = 0; y < h; y++) {
        for (int c = 0; c < (grey ? 1 : 3); c++) full_line(f, d, c, (int)y, room, lines + (size_t)c * w);
        for (size_t x = 0; x < w; x++) {
            uint8_t *to = out->rgb + (y * w + x) * 3;
            if (!mixed && !grey) mix(studio, lines[x], lines[w + x], lines[2 * w + x], to);
            for (size_t c = 0; (mixed || grey) && c < 3; c++) to[c] = to_byte(lines[(grey ? 0 : c * w) + x]);
        }
    }
    return HANGAR_OK;
}

/* Turns a picture upright: the eight orientations of Exif. */
static hangar_code turn(hg_picture *p, long orientation, hangar_err *err)
{
    if (orientation < 2 || orientation > 8) return HANGAR_OK;
    bool lies = orientation >= 5;
    size_t w = lies ? p->height : p->width, h = lies ? p->width : p->height;
    uint8_t *rgb = hg_calloc(w * h, 3);
    if (!rgb) return hg_fail_memory(err);
    bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++) {
            size_t sx = lies ? y : x, sy = lies ? x : y;
            if (from_right) sx = p->width - 1 - sx;
            if (from_below) sy = p->height - 1 - sy;
            memcpy(rgb + (y * w + x) * 3, p->rgb + (sy * p->width + sx) * 3, 3);
        }
    free(p->rgb);
    *p = (hg_picture){.width = w, .height = h, .rgb = rgb};
    return HANGAR_OK;
}

/* ---- decoding ---- */

static hangar_code damaged(int rc, hangar_err *err)
{
    if (rc == AVERROR(ENOMEM)) return hg_fail_memory(err);
    return hg_fail(err, HANGAR_E_INVALID, "the picture is damaged or of a kind that cannot be decoded");
}

/* The first picture of the bytes into `frame`. */
static hangar_code decode(AVCodecContext *ctx, const uint8_t *bytes, size_t len, AVFrame *frame,
                          hangar_err *err)
{
    AVPacket *packet = av_packet_alloc();
    int rc = packet ? av_new_packet(packet, (int)len) : AVERROR(ENOMEM);
    if (rc >= 0) {
        memcpy(packet->data, bytes, len);
        rc = avcodec_send_packet(ctx, packet);
    }
    if (rc >= 0) rc = avcodec_receive_frame(ctx, frame);
    if (rc == AVERROR(EAGAIN)) {
        rc = avcodec_send_packet(ctx, NULL);
        if (rc >= 0) rc = avcodec_receive_frame(ctx, frame);
    }
    av_packet_free(&packet);
    if (rc >= 0 && (frame->decode_error_flags || frame->flags & AV_FRAME_FLAG_CORRUPT))
        rc = AVERROR_INVALIDDATA;
    return rc < 0 ? damaged(rc, err) : HANGAR_OK;
}

static hangar_code check_size(size_t width, size_t height, hangar_err *err)
{
    if (width == 0 || height == 0) return hg_fail(err, HANGAR_E_INVALID, "the picture has no pixels");
    if (width <= HG_ONNX_PICTURE_SIDE_MAX && height <= HG_ONNX_PICTURE_SIDE_MAX &&
        width * height <= HG_ONNX_PICTURE_PIXELS_MAX)
        return HANGAR_OK;
    return hg_fail(err, HANGAR_E_LIMIT, "the picture has %zu x %zu pixels, at most %d million are read",
                   width, height, (int)(HG_ONNX_PICTURE_PIXELS_MAX / 1000000));
}

hangar_code hg_picture_decode(const uint8_t *bytes, size_t len, hg_picture *out, hangar_err *err)
{
    *out = (hg_picture){0};
    enum AVCodecID kind = kind_of(bytes, len);
    size_t width = 0, height = 0;
    if (kind == AV_CODEC_ID_NONE)
        return hg_fail(err, HANGAR_E_INVALID, "not a picture that is read: JPEG, PNG or WebP");
    if (hg_picture_size(bytes, len, &width, &height)) {
        hangar_code code = check_size(width, height, err);
        if (code != HANGAR_OK) return code;
    }
    if (ends_early(kind, bytes, len)) return hg_fail(err, HANGAR_E_INVALID, "the picture ends early");
    const AVCodec *codec = avcodec_find_decoder(kind);
    if (!codec) return hg_fail(err, HANGAR_E_UNSUPPORTED, "libav has no decoder for this kind of picture");
    AVCodecContext *ctx = avcodec_alloc_context3(codec);
    AVFrame *frame = av_frame_alloc();
    hangar_code code = ctx && frame ? HANGAR_OK : hg_fail_memory(err);
    if (code == HANGAR_OK) {
        ctx->thread_count = 1;
        ctx->max_pixels = HG_ONNX_PICTURE_PIXELS_MAX;
        ctx->err_recognition = AV_EF_EXPLODE | AV_EF_CRCCHECK;
        int rc = avcodec_open2(ctx, codec, NULL);
        code = rc < 0 ? damaged(rc, err) : decode(ctx, bytes, len, frame, err);
    }
    if (code == HANGAR_OK) code = check_size((size_t)frame->width, (size_t)frame->height, err);
    if (code == HANGAR_OK) code = to_rgb(frame, out, err);
    if (code == HANGAR_OK) {
        const AVDictionaryEntry *e = av_dict_get(frame->metadata, "Orientation", NULL, 0);
        code = turn(out, e ? strtol(e->value, NULL, 10) : 1, err);
    }
    av_frame_free(&frame);
    avcodec_free_context(&ctx);
    if (code != HANGAR_OK) hg_picture_deinit(out);
    return code;
}
