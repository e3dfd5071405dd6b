# SPDX-License-Identifier: Apache-2.0
# the version, for a program
hangar version --json
