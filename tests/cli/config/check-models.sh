# SPDX-License-Identifier: Apache-2.0
# a model that is declared wrongly
printf 'models:\n  list:\n    a: {ref: org/a, fallback: [b]}\n    b: {ref: org/b, fallbck: [c]}\n' >hangar.yaml
hangar config check ./hangar.yaml
