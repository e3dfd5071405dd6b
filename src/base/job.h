/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner side of hangar/job.h: what work uses to tell of itself and to see whether it shall end.
 * All take a NULL job. Events are serialised by the job's mutex, so any thread may tell.
 */
#ifndef HG_BASE_JOB_H
#define HG_BASE_JOB_H

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "hangar/job.h"

/* Sends one event as it is (size is filled in here; NULL strings become ""). */
void hg_job_send(hangar_job *job, hangar_event event);
void hg_job_phase(hangar_job *job, const char *phase);
void hg_job_note(hangar_job *job, const char *fmt, ...) HG_PRINTF(2, 3);
void hg_job_plan(hangar_job *job, const char *item, uint64_t total, const char *what);
void hg_job_item(hangar_job *job, const char *item, uint64_t done, uint64_t total, const char *what);
void hg_job_total(hangar_job *job, uint64_t done, uint64_t total, double rate);
void hg_job_text(hangar_job *job, hg_str piece);
/* An event's members into the open object: item and text where there are any; done, total, rate and eta (null = not known) where the kind has them. */
void hg_job_event_write(const hangar_event *event, hg_jw *out);
/* CANCELLED with words when a cancel was asked for, else OK. */
hangar_code hg_job_check(const hangar_job *job, hangar_err *err);

#endif
