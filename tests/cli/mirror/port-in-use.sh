# SPDX-License-Identifier: Apache-2.0
# somebody listens there already
hub
hangar mirror . --listen "${HF_ENDPOINT#http://}"
