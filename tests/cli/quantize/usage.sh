# SPDX-License-Identifier: Apache-2.0
# a profile that nobody knows
hub
have hangar-labs/tiny-embed
hangar quantize hangar-labs/tiny-embed --profile tpu
