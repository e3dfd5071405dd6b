# SPDX-License-Identifier: Apache-2.0
# a model whose weights nobody has
for verb in pull show add convert; do hangar $verb claude-3.7-sonnet; done
hangar run claude-3.7-sonet hi
