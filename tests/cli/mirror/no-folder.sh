# SPDX-License-Identifier: Apache-2.0
# a folder that is not there
hangar mirror none
