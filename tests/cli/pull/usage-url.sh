# SPDX-License-Identifier: Apache-2.0
# what the browser shows is not a name
hangar pull https://huggingface.co/hangar-labs/tiny-chat
