# SPDX-License-Identifier: Apache-2.0
# a folder for others: nothing to validate here
hub
have hangar-labs/tiny-embed
hangar convert hangar-labs/tiny-embed --out folder --copy 2>/dev/null
find folder -type f | LC_ALL=C sort
