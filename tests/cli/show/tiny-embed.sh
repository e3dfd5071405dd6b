# SPDX-License-Identifier: Apache-2.0
# what is known about tiny-embed
# filter: s/[0-9.]+ [kMGT]?B there/<FREE> there/
hub
have hangar-labs/tiny-embed
hangar show hangar-labs/tiny-embed
