# SPDX-License-Identifier: Apache-2.0
# the version
hangar version
