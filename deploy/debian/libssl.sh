#!/bin/sh
# Prints the package that has libssl.so.3: releases after the change of time_t call it libssl3t64. Installing by apt finds
# either name; debootstrap does not.
if apt-cache --no-all-versions show libssl3t64 >/dev/null 2>&1; then echo libssl3t64; else echo libssl3; fi
