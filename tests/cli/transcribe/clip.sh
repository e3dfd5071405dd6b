# SPDX-License-Identifier: Apache-2.0
# a recording
hub
have hangar-labs/whisper-digits
hangar transcribe hangar-labs/whisper-digits "$TOP/models/clips/digits-03.wav" 2>/dev/null
