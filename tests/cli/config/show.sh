# SPDX-License-Identifier: Apache-2.0
# every setting and its source
hangar config show | head -n 80
