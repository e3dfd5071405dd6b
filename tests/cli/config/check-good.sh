# SPDX-License-Identifier: Apache-2.0
# a file in order
printf "models:\n  download:\n    concurrent: 2\n" >c.yaml
hangar config check c.yaml
