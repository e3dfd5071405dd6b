# SPDX-License-Identifier: Apache-2.0
# a name that no repository has
hangar add . --as "a/b/c"
