# SPDX-License-Identifier: Apache-2.0
# everything is as it should be
hub
have hangar-labs/tiny-embed
hangar verify hangar-labs/tiny-embed 2>/dev/null
