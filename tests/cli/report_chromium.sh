#!/bin/sh
# report_chromium.sh TEST_REPORT: the report page in a browser, at the width of a phone and of a desktop, light and dark: no
# message on the console, nothing wider than the window, and something to see. Exit 77 (skipped) where there is no Chromium.
set -u
test_report=$1
browser=""
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && { browser=$name; break; }
done
[ -n "$browser" ] || { echo "skipped: no Chromium here"; exit 77; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0

# look ARGUMENTS...: the browser, headless, with a profile of its own and no other host to ask.
look() {
    "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$dir/profile" --no-first-run \
        --host-resolver-rules='MAP * ~NOTFOUND' --enable-logging=stderr --v=0 "$@" 2>log
}
fail() {
    echo "FAILED: $*"
    failed=1
}

"$test_report" --page report.html || { echo "FAILED: the fixture's page could not be written"; exit 1; }
if ! look --dump-dom about:blank | grep -q '<html'; then
    echo "skipped: $browser does not start here:"
    tail -n 3 log
    exit 77
fi

# The page as it is: a refused load, a script or broken markup would be a message on the console.
look --dump-dom "file://$dir/report.html" >dom || fail "the page does not load"
grep -q 'id="evaluation"' dom || fail "the page has no section 'evaluation'"
grep 'CONSOLE' log && fail "messages on the console"

# Widths, by a copy of the page that measures itself inside a frame of that width and tells the page around it.
sed -e 's|<meta http-equiv="Content-Security-Policy"[^>]*>||' \
    -e 's|</body>|<script>document.querySelectorAll("details").forEach(d=>d.open=true);parent.postMessage([innerWidth,document.documentElement.scrollWidth,[...document.querySelectorAll("main *")].filter(e=>e.getBoundingClientRect().right>innerWidth+1).length],"*")</script></body>|' \
    report.html >measured.html
for width in 360 1280; do
    cat >frame.html <<END
<!DOCTYPE html><body style="margin:0"><script>onmessage=e=>document.body.dataset.found=e.data.join(" ")</script>
<iframe src="measured.html" style="border:0;width:${width}px;height:900px"></iframe></body>
END
    look --window-size=1400,1000 --virtual-time-budget=3000 --dump-dom "file://$dir/frame.html" >dom
    found=$(sed -n 's/.*data-found="\([0-9 ]*\)".*/\1/p' dom)
    [ "$found" = "$width $width 0" ] ||
        fail "at $width px: expected width, scroll width and elements outside '$width $width 0', found '$found'"
done

# Pictures: one that shows nothing is a few hundred bytes an inch; light and dark differ.
for scheme in light dark; do
    dark=""
    [ "$scheme" = dark ] && dark=--blink-settings=preferredColorScheme=0
    # shellcheck disable=SC2086
    look --window-size=1280,1600 $dark --screenshot="$dir/$scheme.png" "file://$dir/report.html" >/dev/null
    size=$(wc -c <"$scheme.png" 2>/dev/null || echo 0)
    [ "$size" -gt 40000 ] || fail "the $scheme picture has $size bytes: it shows next to nothing"
done
cmp -s light.png dark.png && fail "the page looks the same in light and dark"
[ "$failed" -eq 0 ] && echo "ok: console, widths, light and dark"
exit "$failed"
