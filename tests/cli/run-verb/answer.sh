# SPDX-License-Identifier: Apache-2.0
# one answer
hub
have hangar-labs/tiny-chat-gguf --include "*Q8_0*"
hangar run hangar-labs/tiny-chat-gguf "What is the capital of France?" --temperature 0
