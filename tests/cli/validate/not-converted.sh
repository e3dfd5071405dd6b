# SPDX-License-Identifier: Apache-2.0
# a model that was not converted
hub
have hangar-labs/tiny-embed
hangar validate hangar-labs/tiny-embed 2>&1
