# SPDX-License-Identifier: Apache-2.0
# a name that is no repository's
hangar pull "../x"
