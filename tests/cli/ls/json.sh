# SPDX-License-Identifier: Apache-2.0
# the same for a program
hub
have hangar-labs/tiny-embed
hangar ls --json
