# SPDX-License-Identifier: Apache-2.0
# a recording that is not there
hub
have hangar-labs/whisper-digits
hangar transcribe hangar-labs/whisper-digits none.wav
