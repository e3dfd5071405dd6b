# SPDX-License-Identifier: Apache-2.0
# the page of the verb
hangar top --help
