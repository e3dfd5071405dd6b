/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/handle.h"

hangar_code hangar_config_show(hangar *h, char **out_json, hangar_err *err)
{
    return hg_settings_show(h->settings, out_json, err);
}

hangar_code hangar_config_check(const char *file, char **out_json, hangar_err *err)
{
    return hg_settings_check(file, out_json, err);
}
