# SPDX-License-Identifier: Apache-2.0
# other machines may not come in
hangar mirror . --listen 0.0.0.0:0
