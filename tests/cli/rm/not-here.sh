# SPDX-License-Identifier: Apache-2.0
# a model that is not in the store
hangar rm hangar-labs/none --yes
