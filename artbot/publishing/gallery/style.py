"""The look: one small style sheet, no fonts and no colours from elsewhere, light and dark as the visitor has it.

Contrasts are those of WCAG 2.2 AA: ink and faded ink on the wall and on a mat, in both lights.
"""

STYLE = """\
:root {
  color-scheme: light dark;
  --wall: #f3f1ec;
  --ink: #24211c;
  --faded: #655f55;
  --line: #d9d4c9;
  --mat: #fffefb;
  --edge: #e4dfd4;
  --shade: 0 1px 1px rgb(60 50 30 / .08), 0 .6rem 1.6rem -.6rem rgb(60 50 30 / .28);
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "URW Palladio L", P052, "Book Antiqua", Georgia, serif;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --wall: #1a1917;
    --ink: #ece7dd;
    --faded: #a8a195;
    --line: #38352f;
    --mat: #262421;
    --edge: #33302b;
    --shade: 0 1px 1px rgb(0 0 0 / .4), 0 .8rem 2rem -.6rem rgb(0 0 0 / .8);
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 88rem; min-height: 100vh;
  padding: 0 clamp(1.25rem, 5vw, 4.5rem);
  display: flex; flex-direction: column;
  background: var(--wall); color: var(--ink);
  font: 1rem/1.6 var(--serif);
}
main { flex: 1; }
h1, h2, h3 { font-weight: 400; line-height: 1.2; margin: 0; text-wrap: balance; overflow-wrap: break-word; }
p { margin: 0 0 .8em; overflow-wrap: break-word; }
ul { list-style: none; margin: 0; padding: 0; }
a { color: inherit; text-decoration-color: var(--faded); text-decoration-thickness: 1px; text-underline-offset: .22em; }
a:hover { text-decoration-color: currentColor; }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--ink); outline-offset: 4px; border-radius: 2px; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: -200vw; padding: .6rem 1rem; background: var(--ink); color: var(--wall); }
.skip:focus { left: 0; top: 0; z-index: 1; }

header { padding: clamp(2.2rem, 6vw, 4.5rem) 0 clamp(2rem, 5vw, 3.5rem); }
header h1 { font-size: clamp(1.7rem, 1.3rem + 1.6vw, 2.5rem); letter-spacing: -.01em; }
header a { text-decoration: none; }
header a:hover { text-decoration: underline; text-decoration-thickness: 1px; }
header p, .count { margin: .3rem 0 0; color: var(--faded); font: .9rem/1.5 var(--sans); }
.about { max-width: 36rem; margin: -.6rem 0 3.5rem; font-size: 1.1rem; }

.mat {
  display: block; padding: 8%;
  background: var(--mat); border: 1px solid var(--edge); box-shadow: var(--shade);
}
.mat img { display: block; width: 100%; height: auto; background: var(--edge); }
.veiled { display: grid; place-items: center; aspect-ratio: 1; text-align: center; color: var(--faded); }
.veiled strong { font-weight: 400; font-style: italic; }

/* Each work takes two rows, its picture and its label, which it shares with its neighbours: so pictures hang on
   one line, and labels begin on one line, however long they are. */
.wall, .shelf { display: grid; gap: 1.1rem clamp(1.8rem, 4vw, 3.6rem); }
.wall { grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); }
.wall li, .wall a, .shelf li, .shelf a { display: grid; grid-row: span 2; grid-template-rows: subgrid; }
.wall li { margin-bottom: clamp(1.6rem, 3.6vw, 3rem); }
.wall a, .shelf a { text-decoration: none; }
.wall .mat, .shelf .mat { align-self: end; }
.title { display: block; min-width: 0; overflow-wrap: break-word; }
.wall .title { font-size: 1.08rem; line-height: 1.35; }
.wall a:hover .title, .shelf a:hover .title { text-decoration: underline; text-decoration-thickness: 1px; }
.wall time { color: var(--faded); font: .85rem/1.7 var(--sans); }
@media (min-width: 44rem) {
  .first li:first-child { grid-column: span 2; }
  .first li:first-child, .first li:first-child a { grid-row: span 4; }
  .first li:first-child .mat { grid-row: span 3; }
  .first li:first-child .title { font-size: 1.45rem; }
  .first li:only-child { grid-column: 1 / -1; width: min(100%, 38rem); }
}

main > h2 { font-size: 2rem; }
section { margin-top: 2.6rem; }
section h3 { margin-bottom: 1.3rem; padding-top: .7rem; border-top: 1px solid var(--line); font-size: 1.15rem; }
.shelf { gap: .6rem 1.4rem; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); }
.shelf li { margin-bottom: 1rem; }
.shelf .title { font: .8rem/1.4 var(--sans); }

.room article { display: grid; gap: clamp(2rem, 4vw, 4rem); }
.picture { min-width: 0; }
.picture .mat { width: fit-content; max-width: 100%; margin: 0 auto; padding: clamp(1.4rem, 5vw, 3.6rem); }
.picture img { width: auto; max-width: 100%; max-height: max(20rem, 100vh - 13rem); }
.label { min-width: 0; max-width: 32rem; }
.label h2 { font-size: 1.75rem; margin-bottom: .5rem; }
.maker { color: var(--faded); font: .92rem/1.5 var(--sans); }
.text { margin: 1.3rem 0; font-size: 1.08rem; }
dl { margin: 1.4rem 0; padding: 1rem 0 .4rem; border-top: 1px solid var(--line); font: .85rem/1.5 var(--sans); }
dl > div { display: grid; grid-template-columns: 9rem 1fr; gap: 1rem; margin-bottom: .45rem; }
dt { color: var(--faded); }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
code { font: .78rem/1.5 ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace; }
.files { font: .85rem/1.9 var(--sans); }
summary { cursor: pointer; }
.words { margin: 1.2rem 0; }
.words summary { color: var(--faded); font: .92rem/1.5 var(--sans); }
.words p { margin: .6rem 0 0; }
.warned summary { display: block; }
.warned summary::-webkit-details-marker { display: none; }
.warned summary .mat { width: min(100%, 44rem); display: grid; place-items: center; aspect-ratio: 1; text-align: center; }
.warned summary strong { display: block; font-size: 1.2rem; font-weight: 400; font-style: italic; }
.warned .show { display: inline-block; margin-top: 1rem; text-decoration: underline; text-underline-offset: .22em; font: .92rem/1.5 var(--sans); }
.warned[open] summary { display: none; }
@media (min-width: 62rem) {
  .room article { grid-template-columns: minmax(0, 1fr) 22rem; align-items: end; }
}

.turning { display: flex; justify-content: space-between; gap: 2rem; margin-top: clamp(3rem, 7vw, 5rem); font: .92rem/1.5 var(--sans); }
.turning > :last-child { text-align: end; }
.turning a { text-decoration: none; min-width: 0; }
.turning a span { display: block; color: var(--faded); overflow-wrap: break-word; }
.turning a:hover { text-decoration: underline; }

footer {
  margin-top: clamp(3.5rem, 8vw, 6rem); padding: 1.6rem 0 3rem; border-top: 1px solid var(--line);
  color: var(--faded); font: .88rem/1.6 var(--sans);
  display: flex; flex-wrap: wrap; gap: .6rem 2.4rem; justify-content: space-between;
}
footer p { flex: 1 1 24rem; max-width: 34rem; margin: 0; }
footer ul { display: flex; flex-wrap: wrap; align-items: baseline; gap: .2rem 1.1rem; }
footer li { min-width: 1.5rem; }
@media print { .turning, footer nav, .skip { display: none; } }
"""

ICON = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect x="2" y="2" width="28" height="28" fill="#fffefb" stroke="#655f55" stroke-width="2"/>
<rect x="8" y="8" width="16" height="16" fill="#7a3b52"/>
</svg>
"""
"""A picture in its mat."""
