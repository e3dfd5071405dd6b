# SPDX-License-Identifier: Apache-2.0
# the second time nothing is fetched
hub
hangar pull hangar-labs/tiny-chat-gguf --include "*Q8_0*" 2>/dev/null
hangar pull hangar-labs/tiny-chat-gguf --include "*Q8_0*" 2>/dev/null
