# SPDX-License-Identifier: Apache-2.0
# models and a revision
hub
for m in whisper-digits tiny-chat-gguf tiny-embed tiny-chat@sharded; do have hangar-labs/$m; done
hangar ls
