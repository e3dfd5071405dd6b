# SPDX-License-Identifier: Apache-2.0
# no verb works with a broken file
printf "models:\n  download:\n    concurrent: x\n" >c.yaml
HANGAR_CONFIG=c.yaml hangar ls
