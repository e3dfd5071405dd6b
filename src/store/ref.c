/* SPDX-License-Identifier: Apache-2.0 */
/* Names that come from people and from the Hub: repositories, revisions, ORG/NAME[@REVISION][:FILE]. */
#include "store/internal.h"

#include <stdio.h>

#define REPO_PART_MAX 96

static bool repo_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

/* The rule that one part of a repository's name breaks, or NULL. */
static const char *part_fault(hg_str part)
{
    if (part.len == 0) return "has an empty part";
    if (part.len > REPO_PART_MAX) return "has a part longer than 96 characters";
    for (size_t i = 0; i < part.len; i++)
        if (!repo_char(part.ptr[i])) return "may only hold letters, digits, '_', '.' and '-'";
    char first = part.ptr[0], last = part.ptr[part.len - 1];
    if (first == '-' || first == '.' || last == '-' || last == '.')
        return "has a part that begins or ends with '-' or '.'";
    for (size_t i = 1; i < part.len; i++)
        if (part.ptr[i] == part.ptr[i - 1] && (part.ptr[i] == '-' || part.ptr[i] == '.'))
            return "holds '--' or '..'";
    return NULL;
}

hangar_code hg_repo_check(hg_str repo, hangar_err *err)
{
    hg_str rest = repo, head;
    bool two = hg_str_cut(&rest, '/', &head);
    const char *fault = part_fault(head);
    if (!fault && two) fault = part_fault(rest);
    if (!fault && hg_str_ends(repo, HG_STR(".git"))) fault = "ends in '.git'";
    if (!fault) return HANGAR_OK;
    char shown[128];
    hg_escape(repo, shown, sizeof shown);
    return hg_fail(err, HANGAR_E_USAGE, "the repository name '%s' %s", shown, fault);
}

/* The rule that a revision breaks beyond those of a path, or NULL. */
static const char *revision_fault(hg_str rev)
{
    if (rev.len >= HG_REVISION_MAX) return "is longer than 255 bytes";
    if (rev.ptr[0] == '-') return "begins with '-'";
    for (size_t i = 0; i < rev.len; i++) {
        if (strchr(" ~^?*[", rev.ptr[i]) || (rev.ptr[i] == '{' && i && rev.ptr[i - 1] == '@'))
            return "holds a character that no branch or tag may have";
        if (rev.ptr[i] == '.' && (i == 0 || rev.ptr[i - 1] == '/' || rev.ptr[i - 1] == '.'))
            return "has a part that begins with '.', or '..'";
    }
    return hg_str_ends(rev, HG_STR(".lock")) ? "ends in '.lock'" : NULL;
}

hangar_code hg_revision_check(hg_str revision, hangar_err *err)
{
    hangar_code code = hg_path_check(revision, err);
    if (code != HANGAR_OK) return hg_wrap(err, code, "revision");
    const char *fault = revision_fault(revision);
    if (!fault) return HANGAR_OK;
    char shown[128];
    hg_escape(revision, shown, sizeof shown);
    return hg_fail(err, HANGAR_E_INVALID, "the revision '%s' %s", shown, fault);
}

bool hg_commit_is(hg_str text)
{
    return hg_hex_is(text, 40);
}

hangar_code hg_ref_parse(const char *text, hg_ref *out, hangar_err *err)
{
    *out = (hg_ref){.revision = "main"};
    if (!text || !*text) return hg_fail(err, HANGAR_E_USAGE, "a model is named ORG/NAME[@REVISION][:FILE]");
    hg_str name = hg_str_of(text), file = {0}, rev = {0}, head;
    bool has_file = hg_str_cut(&name, ':', &head);
    if (has_file) file = name;
    name = head;
    bool has_rev = hg_str_cut(&name, '@', &head);
    if (has_rev) rev = name;
    hangar_code code = hg_repo_check(head, err);
    if (code == HANGAR_OK && has_rev) code = hg_revision_check(rev, err);
    if (code == HANGAR_OK && has_file) code = hg_path_check(file, err);
    if (code != HANGAR_OK) {
        /* A name that somebody gave is wrong usage, not damaged data. */
        if (err) err->code = HANGAR_E_USAGE;
        return HANGAR_E_USAGE;
    }
    snprintf(out->repo, sizeof out->repo, "%.*s", HG_STR_ARG(head));
    if (has_rev) snprintf(out->revision, sizeof out->revision, "%.*s", HG_STR_ARG(rev));
    if (has_file) snprintf(out->file, sizeof out->file, "%.*s", HG_STR_ARG(file));
    out->explicit_revision = has_rev;
    return HANGAR_OK;
}

void hg_ref_text(const char *repo, const char *revision, const char *commit,
                 char out[HG_REPO_MAX + HG_REVISION_MAX])
{
    const size_t max = HG_REPO_MAX + HG_REVISION_MAX;
    if (hg_streq(revision, "main")) snprintf(out, max, "%s", repo);
    else snprintf(out, max, "%s@%s", repo, revision && *revision ? revision : commit);
}
