# SPDX-License-Identifier: Apache-2.0
# nobody answers there
HF_ENDPOINT=http://127.0.0.1:9 HANGAR_CONFIG=c.yaml
export HF_ENDPOINT HANGAR_CONFIG
printf "models:\n  download:\n    retries: 0\n" >c.yaml
hangar pull hangar-labs/tiny-chat
