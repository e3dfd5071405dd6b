# SPDX-License-Identifier: Apache-2.0
# the form by the model's use; then back to 32 bits
# filter: s/drift  [0-9.]+,/drift  <DRIFT>,/
hub
have hangar-labs/tiny-embed
hangar quantize hangar-labs/tiny-embed 2>/dev/null
hangar quantize hangar-labs/tiny-embed --profile cpu 2>/dev/null
