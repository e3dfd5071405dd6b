# SPDX-License-Identifier: Apache-2.0
# no such repository
hub
hangar pull hangar-labs/none
