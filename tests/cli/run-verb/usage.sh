# SPDX-License-Identifier: Apache-2.0
# a value out of its range
hangar run hangar-labs/none Hello --temperature 9
