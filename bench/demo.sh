#!/usr/bin/env bash
# `make demo`: one swap from beginning to end. Without VIDEO and SOURCE the clip that comes with the pack `avatar`, by that
# pack; any other by the pack for real faces.
set -euo pipefail
bin="${DEMO_VENV:?}/bin"
out=demo
samples="$("$bin/python" -c 'from trtswap.packs import find_pack; print(find_pack("avatar") / "samples")')"
video="${VIDEO:-$samples/clip.mp4}"
source="${SOURCE:-$samples/source_1.png}"
pack=mesh
truth=()
judge=(--judge)
if [ -z "${VIDEO:-}${SOURCE:-}" ]; then
    pack=avatar
    judge=()
    [ ! -f "$samples/truth.mp4" ] || truth=("$samples/truth.mp4")
fi
for file in "$video" "$source"; do
    if [ ! -f "$file" ]; then
        echo "make demo: $file does not exist. Give a video and a picture of a face: make demo VIDEO=in.mp4 SOURCE=face.png" >&2
        exit 1
    fi
done
mkdir -p "$out"

echo "1/2  The swap"
"$bin/trtswap" swap "$video" -s "$source" --pack "$pack" -o "$out/swapped.mp4" --report "$out/report.html" \
    "${judge[@]}" --overwrite

echo "2/2  A contact sheet: source | target | result${truth:+ | truth}"
"$bin/python" bench/contact_sheet.py "$source" "$video" "$out/swapped.mp4" "$out/contact_sheet.jpg" "${truth[@]}" >/dev/null

if [ "$pack" = avatar ]; then
    about="was trained on rendered heads alone. It shows and measures everything that trtswap does, on faces of its own kind."
else
    about="warps the source's picture onto each face: a plausible other person, not a sure likeness (README.md says how to get it)."
fi
cat <<END

The pack \`$pack\` $about

  video          $out/swapped.mp4
  report         $out/report.html
  contact sheet  $out/contact_sheet.jpg
END
