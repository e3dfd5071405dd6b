# SPDX-License-Identifier: Apache-2.0
# the plan, and nothing is fetched
hub
hangar pull hangar-labs/tiny-embed --dry-run
hangar ls
