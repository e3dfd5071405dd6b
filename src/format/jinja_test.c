/* SPDX-License-Identifier: Apache-2.0 */
/* What may stand behind "is". Each writes a BOOL. */
#include "format/jinja_inner.h"

static bool yes(jj_call *c, bool b)
{
    *c->out = hg_jj_bool(b);
    return true;
}

/* how: a set of types, as bits. */
static bool t_type(jj_run *r, jj_call *c)
{
    (void)r;
    return yes(c, (unsigned)c->entry->how >> c->self.type & 1);
}

static bool t_true(jj_run *r, jj_call *c)
{
    (void)r;
    return yes(c, c->self.type == JJ_BOOL && c->self.as.b == (c->entry->how != 0));
}

static bool t_compare(jj_run *r, jj_call *c)
{
    bool b;
    return hg_jj_compare(r, c->entry->how, &c->self, &c->p[0], &b) && yes(c, b);
}

/* self % n == how (odd, even) or == 0 (divisibleby) */
static bool t_modulo(jj_run *r, jj_call *c)
{
    jj_val by = c->p[0].type == JJ_ABSENT ? hg_jj_int(2) : c->p[0], rest, want = hg_jj_int(c->entry->how);
    bool b;
    return hg_jj_binary(r, '%', &c->self, &by, &rest) && hg_jj_equal(r, &rest, &want, 0, &b) && yes(c, b);
}

static bool t_sameas(jj_run *r, jj_call *c)
{
    bool same = false;
    if (c->self.type == c->p[0].type && !hg_jj_equal(r, &c->self, &c->p[0], 0, &same)) return false;
    if (hg_jj_listed(&c->self) || c->self.type == JJ_DICT) same = same && c->self.as.list == c->p[0].as.list;
    return yes(c, same);
}

static bool t_cased(jj_run *r, jj_call *c)
{
    hg_str s;
    return hg_jj_text(r, &c->self, &s) && hg_jj_steps(r, s.len / 8) &&
           yes(c, hg_jj_cased_all(s, c->entry->how != 0));
}

static bool t_known(jj_run *r, jj_call *c)
{
    hg_str name;
    if (!hg_jj_want_str(r, c, &c->self, &name)) return false;
    return yes(c, (c->entry->how ? hg_jj_filter(name) : hg_jj_test(name)) != NULL);
}

#define BIT(t)   (1 << (t))
#define NUMBERS  (BIT(JJ_BOOL) | BIT(JJ_INT) | BIT(JJ_FLOAT))
#define SEQUENCE (BIT(JJ_STR) | BIT(JJ_LIST) | BIT(JJ_TUPLE) | BIT(JJ_RANGE) | BIT(JJ_DICT))

static const jj_entry tests[] = {
    {"defined", "", t_type, 0, ~BIT(JJ_UNDEF)},
    {"undefined", "", t_type, 0, BIT(JJ_UNDEF)},
    {"none", "", t_type, 0, BIT(JJ_NONE)},
    {"string", "", t_type, 0, BIT(JJ_STR)},
    {"number", "", t_type, 0, NUMBERS},
    {"integer", "", t_type, 0, BIT(JJ_INT)},
    {"float", "", t_type, 0, BIT(JJ_FLOAT)},
    {"boolean", "", t_type, 0, BIT(JJ_BOOL)},
    {"mapping", "", t_type, 0, BIT(JJ_DICT)},
    {"iterable", "", t_type, 0, SEQUENCE | BIT(JJ_VIEW) | BIT(JJ_GEN) | BIT(JJ_UNDEF) | BIT(JJ_LOOP)},
    {"sequence", "", t_type, 0, SEQUENCE | BIT(JJ_UNDEF)},
    {"callable", "", t_type, 0, BIT(JJ_FUNC) | BIT(JJ_METHOD) | BIT(JJ_MACRO) | BIT(JJ_UNDEF)},
    {"escaped", "", t_type, 0, 0},
    {"true", "", t_true, 0, 1},
    {"false", "", t_true, 0, 0},
    {"odd", "", t_modulo, 0, 1},
    {"even", "", t_modulo, 0, 0},
    {"divisibleby", "num", t_modulo, 1, 0},
    {"eq", "other", t_compare, 1, JJ_OP_EQ},
    {"==", "other", t_compare, 1, JJ_OP_EQ},
    {"equalto", "other", t_compare, 1, JJ_OP_EQ},
    {"ne", "other", t_compare, 1, JJ_OP_NE},
    {"!=", "other", t_compare, 1, JJ_OP_NE},
    {"lt", "other", t_compare, 1, '<'},
    {"<", "other", t_compare, 1, '<'},
    {"lessthan", "other", t_compare, 1, '<'},
    {"gt", "other", t_compare, 1, '>'},
    {">", "other", t_compare, 1, '>'},
    {"greaterthan", "other", t_compare, 1, '>'},
    {"le", "other", t_compare, 1, JJ_OP_LE},
    {"<=", "other", t_compare, 1, JJ_OP_LE},
    {"ge", "other", t_compare, 1, JJ_OP_GE},
    {">=", "other", t_compare, 1, JJ_OP_GE},
    {"in", "seq", t_compare, 1, JJ_OP_IN},
    {"sameas", "other", t_sameas, 1, 0},
    {"upper", "", t_cased, 0, 1},
    {"lower", "", t_cased, 0, 0},
    {"filter", "", t_known, 0, 1},
    {"test", "", t_known, 0, 0},
    {0},
};

const jj_entry *hg_jj_test(hg_str name)
{
    return hg_jj_entry_find(tests, name);
}

bool hg_jj_test_apply(jj_run *r, hg_str name, const jj_val *self, const jj_args *args, bool *out)
{
    char word[64];
    jj_val v = hg_jj_bool(false);
    const jj_entry *e = hg_jj_test(name);
    hg_escape(name, word, sizeof word);
    if (!e) return hg_jj_fail(r, HANGAR_E_UNSUPPORTED, "no test is called '%s'", word);
    if (!hg_jj_invoke(r, e, self, args, &v)) return false;
    *out = v.as.b;
    return true;
}
