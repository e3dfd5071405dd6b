# SPDX-License-Identifier: Apache-2.0
# a folder from disk
mkdir m && echo "{}" >m/config.json
hangar add ./m --as me/mine 2>/dev/null
hangar ls
