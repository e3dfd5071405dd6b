# SPDX-License-Identifier: Apache-2.0
# no model
hangar optimize
