# SPDX-License-Identifier: Apache-2.0
# a model that gives no labels
hub
have hangar-labs/tiny-embed
hangar classify hangar-labs/tiny-embed "Hello"
