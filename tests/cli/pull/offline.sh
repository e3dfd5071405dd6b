# SPDX-License-Identifier: Apache-2.0
# offline mode asks nobody
HF_HUB_OFFLINE=1 hangar pull hangar-labs/tiny-chat
