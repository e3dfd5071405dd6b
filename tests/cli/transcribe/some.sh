# SPDX-License-Identifier: Apache-2.0
# a file that cannot be read does not stop the others, and is told of
hub
have hangar-labs/whisper-digits
hangar transcribe hangar-labs/whisper-digits "$TOP/models/clips/digits-01.wav" no.wav "$TOP/models/clips/digits-02.wav" 2>err
code=$?
tail -n 1 err
exit $code
