# SPDX-License-Identifier: Apache-2.0
# one profile at the lowest level: nothing is measured
hub
have hangar-labs/tiny-chat
hangar optimize hangar-labs/tiny-chat --profile cpu --level O0 2>/dev/null
