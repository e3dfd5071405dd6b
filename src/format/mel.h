/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log-mel features as Whisper models were trained on: 16 kHz mono in, 100 frames per second out.
 *
 * For each frame (400 samples around every 160th, mirrored at both ends, periodic Hann window) the power
 * spectrum is summed into `bins` triangles on the Slaney mel scale (Slaney, "Auditory Toolbox", 1998: linear
 * below 1 kHz, 27 steps per factor 6.4 above), each of area 1 in Hz. Then x = log10(max(power, 1e-10)),
 * nothing lower than the window's maximum - 8, and (x + 4) / 4.
 */
#ifndef HG_FORMAT_MEL_H
#define HG_FORMAT_MEL_H

#include "base/err.h"

#include <stddef.h>

#define HG_MEL_RATE       16000 /* samples per second */
#define HG_MEL_HOP        160   /* samples per frame */
#define HG_MEL_FFT        400   /* samples that a frame looks at */
#define HG_MEL_BINS_MAX   256
#define HG_MEL_FRAMES_MAX 3000 /* of one window: 30 seconds */

typedef struct hg_mel hg_mel;
/* bins: 80 or 128 in published models; 1..HG_MEL_BINS_MAX. */
hangar_code hg_mel_new(int bins, hg_mel **out, hangar_err *err);
void hg_mel_free(hg_mel *m);
/*
 * One window of `frames` (2..HG_MEL_FRAMES_MAX) frames. count samples, silence (zeros) follows up to frames *
 * HG_MEL_HOP; more samples than that are not looked at. out: [bins][frames]. Samples that are not finite count
 * as 0. Not for two threads at once.
 */
void hg_mel_window(hg_mel *m, const float *samples, size_t count, int frames, float *out);

#endif
