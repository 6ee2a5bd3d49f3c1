"""How a dataset's page looks beyond what all pages share: columns of charts, cards of completions, coloured tokens."""

from __future__ import annotations

STYLE = """
:root { --right: #0072b2; --wrong: #c45a10; --none: #8a6d00; --unknown: #9060c0; --quiet: #c3cad2;
  --e1: #fdeecb; --e2: #f8c673; --e3: #e98b3f; --e4: #a8320a; }
@media (prefers-color-scheme: dark) { :root { --right: #56b4e9; --wrong: #f0935a; --none: #e6c229; --unknown: #b99be6;
  --quiet: #4a535e; } }
.headline { font-size: 1.15rem; font-weight: 600; max-width: none; margin: .75rem 0 .5rem; line-height: 1.4; }
.findings { margin: .25rem 0 1rem; padding-left: 1.2rem; } .findings code { color: var(--soft); }
.fate { display: flex; height: 1.6rem; border-radius: 4px; overflow: hidden; gap: 2px; margin: .5rem 0 .25rem; }
.fate > i { min-width: 3px; } .keys { margin: 0 0 1rem; } .keys span { margin-right: 1.2rem; white-space: nowrap; }
.keys i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .35em; }
.right { background: var(--right); fill: var(--right); } .wrong { background: var(--wrong); fill: var(--wrong); }
.none { background: var(--none); fill: var(--none); } .unknown { background: var(--unknown); fill: var(--unknown); }
.quiet { background: var(--quiet); fill: var(--quiet); }
.flat { background: repeating-linear-gradient(45deg, var(--right) 0 3px, var(--page) 3px 6px); }
.charts { columns: 2 24rem; column-gap: 2.5rem; }
.charts > figure { break-inside: avoid; padding-bottom: 1.5rem; }
.charts figcaption, .both figcaption { color: var(--ink); font-size: 1rem; font-weight: 600;
  margin-bottom: .4rem; }
figcaption small { color: var(--soft); font-weight: 400; margin-left: .4rem; }
.count { display: grid; grid-template-columns: 9.5rem 1fr 7rem; gap: 0 .6rem; align-items: center; font-size: .88rem;
  padding: .08rem 0; } .count > .value { text-align: right; white-space: nowrap; }
.count > span:first-child { overflow-wrap: anywhere; }
.solved .count { grid-template-columns: 3rem 1fr 7rem; }
.stack { display: flex; height: .95rem; background: var(--track); border-radius: 3px; overflow: hidden; }
.stack > i { flex: none; min-width: 2px; } .count.sub { color: var(--soft); }
.pair { display: grid; grid-template-columns: 6.5rem 1fr; gap: .2rem .6rem; align-items: center; font-size: .85rem;
  margin-bottom: .35rem; }
.tools { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; margin: .5rem 0 1rem; font-size: .9rem; }
.tools input[type=search] { flex: 1 1 16rem; } .tools input, .tools select { font: inherit; color: inherit;
  background: var(--page); border: 1px solid var(--line); border-radius: 4px; padding: .3rem .5rem; min-width: 0; }
.group { border-top: 1px solid var(--line); margin: 0; } .group > summary { display: grid; color: inherit;
  grid-template-columns: 14rem 6.5rem 4rem 1fr; gap: 0 .9rem; align-items: center; padding: .4rem 0; cursor: pointer;
  font-size: .9rem; list-style: none; } .group > summary > * { min-width: 0; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; } .group > summary:hover, .group[open] > summary { background: var(--track); }
.boxes { display: flex; gap: 2px; } .boxes > i { flex: 1 0 .4rem; height: .8rem; border-radius: 1px; max-width: 1rem; }
.question, .text { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
.question { margin: .5rem 0; max-width: 52rem; } .gold { font-weight: 600; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); gap: .8rem;
  padding: .5rem 0 1.5rem; }
.card { border: 1px solid var(--line); border-left: 4px solid var(--mine); border-radius: 4px; padding: .5rem .7rem;
  min-width: 0; } .card > header { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 .8rem;
  font-size: .9rem; } .card b { color: var(--mine); }
.card .text { max-height: 24rem; overflow: auto; font-size: .85rem; margin-top: .4rem; }
.is-correct { --mine: var(--right); } .is-incorrect { --mine: var(--wrong); }
.is-no_answer { --mine: var(--none); } .is-unverified { --mine: var(--unknown); }
mark { background: none; color: inherit; font-weight: 700; border-block: 2px solid var(--mine); }
.e1 { background: var(--e1); color: #000; } .e2 { background: var(--e2); color: #000; }
.e3 { background: var(--e3); color: #000; } .e4 { background: var(--e4); color: #fff; }
.scale span { padding: 0 .4em; margin-left: .3em; border-radius: 2px; }
.strip { display: flex; align-items: flex-end; height: 1.6rem; gap: 1px; margin-top: .4rem; }
.strip > i { flex: 1; background: var(--mine); opacity: .6; min-height: 1px; }
[hidden] { display: none !important; }
.both { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .5rem 2.5rem;
  margin-top: 1.5rem; }
@media (max-width: 48rem) { .both { grid-template-columns: 1fr; }
  .group > summary { grid-template-columns: 1fr auto 3.5rem; } .group > summary > :last-child { grid-column: 1 / -1;
  color: var(--soft); } .count { grid-template-columns: 6.5rem 1fr 6.5rem; }
  .pair { grid-template-columns: 5.5rem 1fr; } }
"""
