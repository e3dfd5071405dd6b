# SPDX-License-Identifier: Apache-2.0
# a model without safetensors
hub
have hangar-labs/tiny-chat-gguf
hangar convert hangar-labs/tiny-chat-gguf 2>&1
