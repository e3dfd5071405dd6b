# SPDX-License-Identifier: Apache-2.0
# an argument too many
hangar version too-much
