# SPDX-License-Identifier: Apache-2.0
# a line of numbers per text
hub
have hangar-labs/tiny-embed
hangar embed hangar-labs/tiny-embed "Hello" "Good morning" 2>/dev/null | awk '{ print NF, "numbers" }'
