# SPDX-License-Identifier: Apache-2.0
# a rate that is none
hangar pull a/b --limit-rate fast
