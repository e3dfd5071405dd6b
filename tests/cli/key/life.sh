# SPDX-License-Identifier: Apache-2.0
# made, listed, removed, and what is wrong
# filter: s/hgk_[0-9a-f]{48}/<KEY>/
hangar key ls
hangar key create laptop
hangar key create laptop
hangar key create deploy --scope manage --json | sed -E "s/[0-9]{10}/0/"
hangar key ls
hangar key rm lapto
hangar key rm laptop
hangar key ls --json | sed -E "s/[0-9]{10}/0/"
hangar key rm
