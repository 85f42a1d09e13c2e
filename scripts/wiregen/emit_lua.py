# SPDX-License-Identifier: Apache-2.0
def emit(wire: dict) -> str:
    return ""
