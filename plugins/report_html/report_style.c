/*
 * The page's style sheet. Colours are variables, set once for light and once for dark; below 40rem tables
 * with class "stack" become one block a row, each cell with its column's name in front. No font, image or
 * import: nothing is loaded. A list, because ISO C promises no more than 4095 characters of one string.
 */
#include "report_style.h"

#include <stddef.h>

const char *const report_style[] = {
    ":root{color-scheme:light "
    "dark;--bg:#f7f7f5;--card:#fff;--ink:#1b1d21;--soft:#59606b;--line:#e2e4e8;--track:#eceef1;"
    "--before:#98a0ab;--after:#1d68d8;--eval:#c2500c;--bad:#b3261e;--warn:#c98a12;--good:#157347;--tint:#"
    "e9f1fd}\n",
    "@media "
    "(prefers-color-scheme:dark){:root{--bg:#131519;--card:#1b1e24;--ink:#e9ebee;--soft:#a3abb7;--line:#"
    "2d323b;--track:#2a2f37;"
    "--before:#747d8a;--after:#6ca8ff;--eval:#ff9a52;--bad:#ff8a80;--warn:#e0b050;--good:#5ccb93;--tint:#"
    "1c2c45}}\n",
    "*{box-sizing:border-box}\n",
    "html{-webkit-text-size-adjust:100%}\n",
    "body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,'Segoe "
    "UI',Roboto,'Noto Sans',sans-serif;"
    "overflow-wrap:anywhere;font-variant-numeric:tabular-nums}\n",
    "main,header,footer{max-width:64rem;margin:0 auto;padding:0 1.25rem}\n",
    "header{padding-top:2.5rem}\n",
    "h1{font-size:clamp(1.6rem,4vw,2.2rem);line-height:1.2;margin:.2rem 0 .6rem;letter-spacing:-.01em}\n",
    "h2{font-size:1.3rem;margin:0 0 .75rem;letter-spacing:-.005em}\n",
    "h3{font-size:1rem;margin:1.5rem 0 .5rem}\n",
    "p{margin:.5rem 0}\n",
    "a{color:var(--after)}\n",
    ".soft,.eyebrow,figcaption,.legend{color:var(--soft)}\n",
    ".eyebrow{font-size:.9rem;margin:0}\n",
    ".note{white-space:pre-wrap;max-width:46rem}\n",
    "nav{display:flex;flex-wrap:wrap;gap:.35rem 1.1rem;margin:1.25rem 0 0;font-size:.95rem}\n",
    "section{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1.4rem "
    "1.5rem;margin:1.25rem 0}\n",
    ".hero{padding:1.6rem 1.5rem}\n",
    ".hero h2{font-size:1rem;font-weight:600;color:var(--soft);margin:0}\n",
    ".big{font-size:clamp(1.9rem,8.2vw,4rem);line-height:1.1;font-weight:700;letter-spacing:-.03em;margin:."
    "35rem 0 .6rem}\n",
    ".big .was{color:var(--soft);font-weight:500}\n",
    ".big .arrow{color:var(--soft);font-weight:400;margin:0 .12em}\n",
    ".big .now{color:var(--after)}\n",
    ".tiles{display:flex;flex-wrap:wrap;gap:1px;background:var(--line);"
    "border:1px solid var(--line);border-radius:.75rem;overflow:hidden;margin:1.25rem 0}\n",
    ".tiles>div{flex:1 1 8rem;background:var(--card);padding:.9rem "
    "1.1rem;display:flex;flex-direction:column-reverse;justify-content:flex-end}\n",
    ".tiles dt{font-size:.85rem;color:var(--soft)}\n",
    ".tiles dd{margin:0;font-size:1.25rem;font-weight:650;white-space:nowrap}\n",
    ".tiles dd small{font-weight:400;color:var(--soft);font-size:.85rem}\n",
    "table{border-collapse:collapse;width:100%;font-size:.94rem}\n",
    "th,td{text-align:left;vertical-align:top;padding:.5rem .6rem;border-top:1px solid var(--line)}\n",
    "thead th{border-top:0;font-weight:600;color:var(--soft);font-size:.85rem;vertical-align:bottom}\n",
    "tbody th{font-weight:600}th{overflow-wrap:break-word}tbody th{min-width:5.5rem}\n",
    "th:first-child,td:first-child{padding-left:0}th:last-child,td:last-child{padding-right:0}\n",
    ".n{text-align:right;white-space:nowrap}\n",
    "tr.all th,tr.all td{border-top:2px solid var(--soft);font-weight:650}\n",
    ".pair{display:block;white-space:nowrap}.was{color:var(--soft)}.pair b{font-weight:650}\n",
    ".worse{color:var(--bad)}\n",
    "svg.bar{display:block;width:100%;min-width:4.5rem;height:.4rem;border-radius:.2rem;margin-top:.2rem}\n",
    "svg.flow{height:.8rem;margin:.3rem 0}\n",
    ".track{fill:var(--track)}.bar-before{fill:var(--before)}.bar-after,.bar-plain,.column{fill:var(--after)}"
    ".bar-dropped{fill:var(--warn)}.bar-rejected{fill:var(--bad)}\n",
    "figure{margin:1rem 0 0}figcaption{font-size:.9rem;margin-bottom:.5rem}\n",
    ".plot{display:grid;grid-template-columns:3.2rem minmax(0,1fr);grid-template-rows:15rem 1.6rem "
    "auto;font-size:.8rem;color:var(--soft);"
    "margin-right:1rem;white-space:nowrap}\n",
    ".plot svg{grid-column:2;grid-row:1;width:100%;height:100%;overflow:visible}\n",
    ".axis-y{grid-column:1;grid-row:1;position:relative}.axis-y "
    "span{position:absolute;right:.5rem;transform:translateY(-50%);line-height:1}\n",
    ".axis-x{grid-column:2;grid-row:2;position:relative;margin-top:.35rem}.axis-x "
    "span{position:absolute;transform:translateX(-50%)}\n",
    ".axis-unit{grid-column:2;grid-row:3;text-align:center}\n",
    ".grid{stroke:var(--line);stroke-width:1;vector-effect:non-scaling-stroke;fill:none}\n",
    ".line-train,.line-eval{fill:none;stroke-width:2;vector-effect:non-scaling-stroke;stroke-linejoin:round;"
    "stroke-linecap:round}\n",
    ".line-train{stroke:var(--after)}.line-eval{stroke:var(--eval);stroke-dasharray:7 "
    "5}.dot{stroke-width:7;stroke-dasharray:none}\n",
    ".legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:.4rem 0 0 3.2rem;font-size:.85rem}\n",
    ".key{width:1.6rem;height:.5rem;margin-right:.4rem;vertical-align:middle}\n",
    ".swatch{display:inline-block;width:.75rem;height:.75rem;border-radius:.15rem;margin-right:.4rem;"
    "vertical-align:-.05rem}\n",
    ".swatch.before{background:var(--before)}.swatch.after{background:var(--after)}.swatch.dropped{"
    "background:var(--warn)}"
    ".swatch.rejected{background:var(--bad)}\n",
    ".flat{margin-left:0}\n",
    ".chip{display:inline-block;font-size:.8rem;font-weight:600;border-radius:1rem;padding:.05rem "
    ".6rem;background:var(--track);color:var(--ink);"
    "white-space:nowrap}\n",
    ".chip.ran{background:var(--tint);color:var(--after)}.chip.good{color:var(--good)}.chip.bad{color:var(--"
    "bad)}\n",
    ".facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(8rem,1fr));gap:.6rem "
    "1.5rem;margin:.5rem 0 0}\n",
    ".facts dt{font-size:.85rem;color:var(--soft)}.facts dd{margin:0;font-weight:600}\n",
    ".flowlist{list-style:none;margin:0;padding:0}\n",
    ".flowlist li{padding:.45rem 0}\n",
    ".flowlist .line{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1rem}\n",
    ".example{border-top:1px solid var(--line);padding:1rem 0}\n",
    ".example:first-of-type{border-top:0;padding-top:0}\n",
    ".example h3{display:flex;flex-wrap:wrap;align-items:center;gap:.3rem .7rem;margin:0 0 "
    ".6rem;font-size:.95rem}\n",
    ".example h3 code{font-weight:400}\n",
    ".answers{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(16rem,100%),1fr));gap:.75rem;"
    "margin:0}\n",
    ".answers .wide{grid-column:1/-1}\n",
    ".answers dt{font-size:.85rem;color:var(--soft);margin-bottom:.2rem}\n",
    ".answers dd{margin:0}\n",
    "pre,code{font:0.86rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,'Noto Sans Mono',monospace}\n",
    "pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;background:var(--bg);border:1px solid "
    "var(--line);border-left:3px solid var(--line);"
    "border-radius:.35rem;padding:.5rem .7rem;max-height:18rem;overflow:auto}\n",
    "pre.good{border-left-color:var(--good)}pre.bad{border-left-color:var(--bad)}\n",
    ".hid{font-size:.75em;border:1px solid currentColor;border-radius:.2em;padding:0 .2em;margin:0 "
    ".1em;color:var(--bad)}\n",
    "#tokens .legend{margin-bottom:.9rem}.tk{max-height:26rem}.tk span{border-radius:.15rem;box-shadow:inset -1px 0 0 var(--card)}\n",
    ".tk-t{color:var(--soft)}.tk-i{background:var(--tint)}.tk-l{background:var(--tk-l)}.tk-f{background:var(--"
    "tk-f)}.swatch.tk-t{background:var(--line)}\n",
    ":root{--tk-l:#c9ecd6;--tk-f:#f8e2b0}@media (prefers-color-scheme:dark){:root{--tk-l:#1d5136;--tk-f:#5f4714}}"
    "\n",
    "details{border-top:1px solid var(--line)}details>summary{cursor:pointer;padding:.55rem "
    "0;font-weight:600}\n",
    "details>summary .soft{font-weight:400}details[open]{padding-bottom:.8rem}\n",
    ".values{display:grid;grid-template-columns:minmax(7rem,14rem) minmax(0,1fr);gap:.2rem "
    "1rem;margin:0;font-size:.9rem}\n",
    ".values dt{color:var(--soft)}.values dd{margin:0}\n",
    "footer{padding-bottom:3rem;font-size:.9rem;color:var(--soft)}\n",
    ".hide{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}\n",
    "@media "
    "(max-width:40rem){main,header,footer{padding-left:.9rem;padding-right:.9rem}section{padding:1.1rem "
    "1rem}.tiles>div{flex-basis:6rem;padding:.8rem .75rem}\n",
    ".stack,.stack tbody,.stack tr,.stack td,.stack th{display:block}.stack thead{display:none}\n",
    ".stack tr{padding:.6rem 0;border-top:1px solid var(--line)}.stack tr.all{border-top:2px solid "
    "var(--soft)}\n",
    ".stack th,.stack td,.stack tr.all th,.stack tr.all td{border:0;padding:.12rem "
    "0;text-align:left;white-space:normal}\n",
    ".stack "
    "td::before{content:attr(data-label);display:block;color:var(--soft);font-size:.82rem;font-weight:400}\n",
    ".stack td.n{display:flex;justify-content:space-between}.stack td.n::before{display:inline}\n",
    ".stack td:empty{display:none}.values{grid-template-columns:minmax(0,1fr)}.values "
    "dd{margin-bottom:.4rem}}\n",
    "@media "
    "print{body{background:#fff}section{break-inside:avoid-page}nav{display:none}pre{max-height:none}}\n",
    NULL};
