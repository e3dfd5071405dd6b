# SPDX-License-Identifier: Apache-2.0
# no file is no mistake, and is not said to be in order
hangar config check
