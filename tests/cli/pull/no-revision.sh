# SPDX-License-Identifier: Apache-2.0
# no such revision
hub
hangar pull hangar-labs/tiny-chat@none
