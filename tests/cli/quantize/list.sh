# SPDX-License-Identifier: Apache-2.0
# the profiles
hangar quantize --list
