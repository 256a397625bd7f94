#!/usr/bin/env bash
# `make demo`: one swap from beginning to end with the pack `paste`, which needs no trained swap network.
set -euo pipefail
bin="${DEMO_VENV:?}/bin"
out=demo
for file in "$VIDEO" "$SOURCE"; do
    if [ ! -f "$file" ]; then
        echo "make demo: $file does not exist. Give a video and a picture of a face: make demo VIDEO=in.mp4 SOURCE=face.png" >&2
        exit 1
    fi
done
mkdir -p "$out"

echo "1/4  The face detector (YuNet, Apache-2.0)"
"$bin/trtswap" weights pull yunet_n ${WEIGHTS:+--from "$WEIGHTS"} --into "$out/weights" --accept-license

echo "2/4  A pack: YuNet, and a stand-in for the other networks that pastes the source's own face"
"$bin/trtswap" export paste --weights "$out/weights" -o "$out/paste" --overwrite

echo "3/4  The swap"
"$bin/trtswap" swap "$VIDEO" -s "$SOURCE" --pack "$out/paste" -o "$out/swapped.mp4" --report "$out/report.html" --overwrite

echo "4/4  A contact sheet: source | target | result"
"$bin/python" bench/contact_sheet.py "$SOURCE" "$VIDEO" "$out/swapped.mp4" "$out/contact_sheet.jpg"

cat <<END

This shows the whole path (decode, detect, track, align, swap, parse, blend, paste, encode, sound) with a pack in which
nothing but the face detector is learned: the source's picture is aligned, colour-matched and pasted. It does not look
like a trained swap and is not meant to.

  video          $out/swapped.mp4
  report         $out/report.html
  contact sheet  $out/contact_sheet.jpg
END
