# SPDX-License-Identifier: Apache-2.0
# what is known about whisper-digits
# filter: s/[0-9.]+ [kMGT]?B there/<FREE> there/
hub
have hangar-labs/whisper-digits
hangar show hangar-labs/whisper-digits
