# SPDX-License-Identifier: Apache-2.0
# the exit code alone tells
hub
have hangar-labs/tiny-embed
hangar show hangar-labs/tiny-embed --exists
hangar show hangar-labs/tiny-chat --exists
