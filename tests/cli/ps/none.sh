# SPDX-License-Identifier: Apache-2.0
# nobody listens
hangar ps
hangar load org/name --keep-alive soon
hangar load org/name --json
