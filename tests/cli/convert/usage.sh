# SPDX-License-Identifier: Apache-2.0
# an option that needs another
hub
have hangar-labs/tiny-embed
hangar convert hangar-labs/tiny-embed --link
