# SPDX-License-Identifier: Apache-2.0
# the graphs and what was written
hub
have hangar-labs/tiny-embed
hangar convert hangar-labs/tiny-embed 2>/dev/null
