# SPDX-License-Identifier: Apache-2.0
# help is the same however it is asked for
diff <(hangar help) <(hangar --help)
diff <(hangar help pull) <(hangar pull --help)
