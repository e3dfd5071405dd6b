# SPDX-License-Identifier: Apache-2.0
# the same for a program
hub
have hangar-labs/tiny-chat-gguf --include "*Q8_0*"
hangar run hangar-labs/tiny-chat-gguf "Spell umbrella" --temperature 0 --json
