# SPDX-License-Identifier: Apache-2.0
# a store without models
hangar ls
