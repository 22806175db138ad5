#!/bin/sh
# Links the library of one ABI with the NDK (r27 or later), from the static library that `cargo xtask dist` has built:
#
#     NDK=/path/to/android-ndk link.sh arm64-v8a libfleetfoot_jni.a OUT_DIR
#
# Pages of 16 kB: every PT_LOAD segment of a library in an arm64 or x86_64 app has to be aligned to them. The version script leaves only the functions of
# fleetfoot.h and those of the Kotlin binding visible.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
abi=$1
static=$2
out=$3
case $abi in
    arm64-v8a) target=aarch64-linux-android24 ;;
    x86_64) target=x86_64-linux-android24 ;;
    *) echo "no such ABI: $abi (arm64-v8a, x86_64)" >&2; exit 2 ;;
esac
# FLEETFOOT_CC is for those who have another compiler than that of the NDK.
cc=${FLEETFOOT_CC:-$NDK/toolchains/llvm/prebuilt/linux-x86_64/bin/clang --target=$target}
mkdir -p "$out"
$cc -shared -o "$out/libfleetfoot.so" \
    -Wl,-soname,libfleetfoot.so -Wl,--version-script="$here/symbols.map" -Wl,-z,max-page-size=16384 \
    -Wl,--gc-sections -Wl,-z,relro -Wl,-z,now -Wl,--build-id=sha1 -Wl,-s \
    -Wl,--whole-archive "$static" -Wl,--no-whole-archive ${FLEETFOOT_LIBS:--ldl -lm -llog}
