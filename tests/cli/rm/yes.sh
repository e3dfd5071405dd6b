# SPDX-License-Identifier: Apache-2.0
# gone
hub
have hangar-labs/tiny-embed
hangar rm hangar-labs/tiny-embed --yes
hangar ls
