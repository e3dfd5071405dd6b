# SPDX-License-Identifier: Apache-2.0
# what is known about tiny-chat-gguf
# filter: s/[0-9.]+ [kMGT]?B there/<FREE> there/
hub
have hangar-labs/tiny-chat-gguf
hangar show hangar-labs/tiny-chat-gguf
