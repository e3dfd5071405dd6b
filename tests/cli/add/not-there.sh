# SPDX-License-Identifier: Apache-2.0
# nothing is there
hangar add ./none
