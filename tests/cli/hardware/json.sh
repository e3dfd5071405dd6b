# SPDX-License-Identifier: Apache-2.0
# the profile is part of the document
hangar hardware --json | tr "," "\n" | grep -c "\"profile\""
