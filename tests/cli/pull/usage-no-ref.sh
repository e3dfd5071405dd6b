# SPDX-License-Identifier: Apache-2.0
# what is missing is named
hangar pull
