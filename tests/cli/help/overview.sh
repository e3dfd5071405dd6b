# SPDX-License-Identifier: Apache-2.0
# all verbs, by group
hangar help
