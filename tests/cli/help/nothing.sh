# SPDX-License-Identifier: Apache-2.0
# without a word: how to begin
hangar
