# SPDX-License-Identifier: Apache-2.0
# both spellings say the same
diff <(hangar --version) <(hangar version)
