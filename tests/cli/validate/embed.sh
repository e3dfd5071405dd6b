# SPDX-License-Identifier: Apache-2.0
# filter: s/ +[0-9.]+(e-[0-9]+)? +(  |[0-9.]+(e-[0-9]+)?) +/ <VALUE> <LIMIT> /
# the report card of a conversion
hub
have hangar-labs/tiny-embed
hangar convert hangar-labs/tiny-embed >/dev/null 2>&1
hangar validate hangar-labs/tiny-embed 2>/dev/null
