# SPDX-License-Identifier: Apache-2.0
# a misspelt option gets a hint
hangar pull a/b --includ x
