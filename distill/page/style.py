"""How a page of results looks: one style sheet, in daylight and at night, from a phone's width to a desk's.

The colours are Okabe and Ito's, which people with any colour vision tell apart, each in a shade that stands out
from its background; beside them every model has a marker of its own, and every row says whose it is.
"""

NUM_MARKERS = 6
"""Models beyond these share markers and colours; their names still tell them apart."""

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --track: #f3f5f7;
  --m0: #0072b2; --m1: #b34700; --m2: #007a5a; --m3: #9c4a82; --m4: #8a6d00; --m5: #2b6f9e; }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --ink: #e6e9ed; --soft: #9aa4af; --line: #343b44;
  --track: #1d2228; --m0: #56b4e9; --m1: #f0935a; --m2: #2ec99c; --m3: #dd92bd; --m4: #e6c229; --m5: #8fc1e3; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .25rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .25rem 0 .75rem; max-width: 46rem; }
.soft, th, figcaption, summary, .ticks { color: var(--soft); }
.soft, figcaption, .ticks { font-size: .85rem; }
.m0 { --mine: var(--m0); } .m1 { --mine: var(--m1); } .m2 { --mine: var(--m2); }
.m3 { --mine: var(--m3); } .m4 { --mine: var(--m4); } .m5 { --mine: var(--m5); }
.row { display: grid; grid-template-columns: 12rem 1fr 17rem; gap: 0 .75rem;
  align-items: center; padding: .15rem 0; }
.row > .value { text-align: right; font-size: .9rem; }
.key { position: relative; display: inline-block; width: 12px; height: 12px; margin: 0 .3rem 0 .8rem; }
.key > i { position: absolute; left: 50%; }
.track { position: relative; height: 1.25rem; background: var(--track); border-radius: 3px; }
.track > i { position: absolute; display: block; }
.grid { top: 0; bottom: 0; width: 1px; background: var(--line); }
.zero { top: 0; bottom: 0; width: 2px; margin-left: -1px; background: var(--soft); }
.span { top: calc(50% - 1.5px); height: 3px; background: var(--mine); opacity: .75; border-radius: 2px;
  min-width: 2px; }
.dot { top: calc(50% - 6px); width: 12px; height: 12px; margin-left: -6px; background: var(--mine);
  border-radius: 50%; }
.m1 .dot { border-radius: 0; } .m2 .dot { border-radius: 0; clip-path: polygon(50% 0, 100% 50%, 50% 100%, 0 50%); }
.m3 .dot { border-radius: 0; clip-path: polygon(50% 0, 100% 100%, 0 100%); }
.m4 .dot { border-radius: 0; clip-path: polygon(0 0, 100% 0, 50% 100%); }
.m5 .dot { background: var(--page); border: 3px solid var(--mine); }
.ticks { position: relative; height: 1.2rem; }
.ticks > span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.ticks > .start { transform: none; } .ticks > .end { transform: translateX(-100%); }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: 1rem 1.5rem; }
figure { margin: 0; } svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft);
  font-size: 11px; }
.bar { fill: var(--mine); } .bar.wrong { fill: none; stroke: var(--mine); stroke-width: 1; }
.axis { stroke: var(--line); stroke-width: 1; } .mean { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 3 2; }
.curve { fill: none; stroke: var(--mine); stroke-width: 2; } .m1 .curve { stroke-dasharray: 7 3; }
.m2 .curve { stroke-dasharray: 2 3; } .m3 .curve { stroke-dasharray: 9 3 2 3; } .m4 .curve { stroke-dasharray: 4 4; }
.band { fill: var(--mine); opacity: .18; }
.mark { fill: var(--mine); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .25rem .75rem .25rem 0; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line);
  white-space: nowrap; } th { font-weight: 500; } th:first-child, td:first-child { text-align: left;
  white-space: normal; min-width: 9rem; }
details { margin: .5rem 0; } pre { white-space: pre-wrap; background: var(--track); padding: .75rem; font-size: .8rem;
  border-radius: 3px; }
@media (max-width: 48rem) { .row { display: flex; flex-wrap: wrap; justify-content: space-between; padding: .3rem 0; }
  .row > .track, .row > .ticks { order: 1; flex: 0 0 100%; } }
@media print { h2 { break-after: avoid; } figure, .row { break-inside: avoid; } }
"""
