#!/usr/bin/env bash
# ONNX Runtime's headers, out of Debian's package libonnxruntime-dev, where the system has none: native/headers.sh FOLDER
set -euo pipefail
target=$(realpath -m "$1")  # below, the folder changes
if [ -f /usr/include/onnxruntime/onnxruntime_c_api.h ]; then
  mkdir -p "$(dirname "$target")"
  ln -sfn /usr/include/onnxruntime "$target"
  exit
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/state/lists/partial "$work"/cache/archives/partial
# The machine's own mirror; trixie is the first release that has the package.
. /etc/os-release
for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
  [ -s "$file" ] && sed "s/$VERSION_CODENAME/trixie/g" "$file" > "$work/debian.${file##*.}"
done
sources=$(ls "$work"/debian.* | head -n 1)
options=(-qq -o Dir::State="$work/state" -o Dir::Cache="$work/cache" -o Dir::State::status=/dev/null
  -o Dir::Etc::sourcelist="$sources" -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root)
cd "$work"
apt-get "${options[@]}" update
apt-get "${options[@]}" download libonnxruntime-dev
dpkg -x libonnxruntime-dev*.deb package
mkdir -p "$target"
cp -r package/usr/include/onnxruntime/. "$target"
