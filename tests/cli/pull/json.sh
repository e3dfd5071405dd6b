# SPDX-License-Identifier: Apache-2.0
# the document at the end
hub
hangar pull hangar-labs/tiny-embed --json 2>/dev/null | tail -n 1
