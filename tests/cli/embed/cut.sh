# SPDX-License-Identifier: Apache-2.0
# a text that is too long is told of
hub
have hangar-labs/tiny-embed
hangar embed hangar-labs/tiny-embed "$(printf 'word %.0s' {1..200})" 2>&1 >/dev/null
