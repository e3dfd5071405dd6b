# SPDX-License-Identifier: Apache-2.0
# the same for a program, from the standard input
hub
have hangar-labs/tiny-embed
printf 'Hello\nGood morning\n' | hangar embed hangar-labs/tiny-embed --json 2>/dev/null | sed -E 's/\[\[[^]]*\],\[[^]]*\]\]/[[...],[...]]/'
