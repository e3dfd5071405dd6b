# SPDX-License-Identifier: Apache-2.0
# one byte is another
hub
have hangar-labs/tiny-embed
file=$(realpath "$HF_HOME"/hub/models--hangar-labs--tiny-embed/snapshots/*/model.safetensors)
chmod u+w "$file"
printf X | dd of="$file" bs=1 seek=1000000 conv=notrunc status=none
hangar verify hangar-labs/tiny-embed 2>/dev/null
