# SPDX-License-Identifier: Apache-2.0
# a slip of the finger gets a hint
hangar help pul
