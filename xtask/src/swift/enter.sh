# Runs a command in the system in a folder, with checkout (read-only) and target folder at the paths that they have outside: `enter.sh SYSTEM CHECKOUT TARGET COMMAND...`.
# To be run by `unshare --mount`, so that what is mounted is gone with the command.
set -eu
system=$1 checkout=$2 target=$3
shift 3
mkdir -p "$system$checkout" "$system$target"
mount -t proc proc "$system/proc"
mount --rbind /dev "$system/dev"
mount --bind "$checkout" "$system$checkout"
mount -o remount,bind,ro "$system$checkout"
mount --bind "$target" "$system$target"
exec chroot "$system" "$@"
