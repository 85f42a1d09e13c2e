# SPDX-License-Identifier: Apache-2.0
"""The wire table and one emitter for each language it is turned into."""
