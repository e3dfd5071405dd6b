# SPDX-License-Identifier: Apache-2.0
# the notice begins a line of its own, also when both outputs are one
hub
have hangar-labs/tiny-chat-gguf
hangar run hangar-labs/tiny-chat-gguf "What is the capital of France?" --temperature 0 --max-tokens 2 2>&1
