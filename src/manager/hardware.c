/* SPDX-License-Identifier: Apache-2.0 */
#include "hardware/hardware.h"

#include "manager/handle.h"

hangar_code hangar_hardware_detect(hangar *h, char **out_json, hangar_err *err)
{
    hg_hardware hw;
    hg_hardware_read(h->settings->cache, &hw);
    return hg_hardware_json(&hw, out_json, err);
}
