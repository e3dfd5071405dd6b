# SPDX-License-Identifier: Apache-2.0
# mistakes are named with their lines
printf "models:\n  download:\n    concurrent: 100\n    colour: red\n" >c.yaml
hangar config check c.yaml
