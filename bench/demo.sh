#!/usr/bin/env bash
# `make demo`: one swap from beginning to end with the pack `avatar`; by default of the clip that comes with it.
set -euo pipefail
bin="${DEMO_VENV:?}/bin"
out=demo
samples="$("$bin/python" -c 'from trtswap.packs import find_pack; print(find_pack("avatar") / "samples")')"
video="${VIDEO:-$samples/clip.mp4}"
source="${SOURCE:-$samples/source_1.png}"
truth=()
[ -n "${VIDEO:-}${SOURCE:-}" ] || [ ! -f "$samples/truth.mp4" ] || truth=("$samples/truth.mp4")
for file in "$video" "$source"; do
    if [ ! -f "$file" ]; then
        echo "make demo: $file does not exist. Give a video and a picture of a face: make demo VIDEO=in.mp4 SOURCE=face.png" >&2
        exit 1
    fi
done
mkdir -p "$out"

echo "1/2  The swap"
"$bin/trtswap" swap "$video" -s "$source" -o "$out/swapped.mp4" --report "$out/report.html" --overwrite

echo "2/2  A contact sheet: source | target | result${truth:+ | truth}"
"$bin/python" bench/contact_sheet.py "$source" "$video" "$out/swapped.mp4" "$out/contact_sheet.jpg" "${truth[@]}" >/dev/null

cat <<END

The pack \`avatar\` was trained on rendered heads alone. It shows and measures everything that trtswap does, on faces of its
own kind; it does not know real faces.

  video          $out/swapped.mp4
  report         $out/report.html
  contact sheet  $out/contact_sheet.jpg
END
