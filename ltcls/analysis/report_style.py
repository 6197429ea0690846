"""The look of a report, and the few lines that sort its tables."""

CSS = """
:root { color-scheme: light dark;
  --page:#fbfbfa; --card:#ffffff; --ink:#1d1f23; --quiet:#666b73; --line:#e2e3e5; --soft:#f2f3f4;
  --accent:#0b5cad; --heat:#0b5cad; --many:#004488; --medium:#b8860b; --few:#bb3f55;
  --r0:#0072b2; --r1:#e08a00; --r2:#00875f; --r3:#8e5bb5; --r4:#c8373a; --r5:#35a0c0;
  --r6:#8a7a00; --r7:#666666; }
@media (prefers-color-scheme: dark) { :root:not([data-theme=light]) {
  --page:#15171a; --card:#1d2024; --ink:#e8e9eb; --quiet:#a0a5ad; --line:#34383e; --soft:#272b30;
  --accent:#79b8f2; --heat:#5aa9f0; --many:#6aa8e8; --medium:#e3b341; --few:#ee7f92;
  --r0:#4ba9e0; --r1:#f0a63a; --r2:#35c495; --r3:#b893dc; --r4:#f0716e; --r5:#7fd3e6;
  --r6:#dccb4a; --r7:#b8bcc2; } }
:root[data-theme=dark] { color-scheme: dark;
  --page:#15171a; --card:#1d2024; --ink:#e8e9eb; --quiet:#a0a5ad; --line:#34383e; --soft:#272b30;
  --accent:#79b8f2; --heat:#5aa9f0; --many:#6aa8e8; --medium:#e3b341; --few:#ee7f92;
  --r0:#4ba9e0; --r1:#f0a63a; --r2:#35c495; --r3:#b893dc; --r4:#f0716e; --r5:#7fd3e6;
  --r6:#dccb4a; --r7:#b8bcc2; }
:root[data-theme=light] { color-scheme: light; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 3.4rem; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main, header > div, nav > div { max-width: 1120px; margin: 0 auto; padding: 0 20px; }
header { padding: 26px 0 10px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 2px; }
h3 { font-size: .95rem; margin: 18px 0 4px; }
p { margin: 4px 0 10px; max-width: 75ch; }
.quiet, figcaption { color: var(--quiet); font-size: .88rem; }
nav { position: sticky; top: 0; z-index: 2; background: var(--page);
  border-bottom: 1px solid var(--line); }
nav > div { display: flex; gap: 4px; align-items: center; overflow-x: auto; }
nav a { color: var(--quiet); text-decoration: none; padding: 10px 9px; white-space: nowrap;
  font-size: .9rem; }
nav a:hover { color: var(--accent); }
nav button { margin-left: auto; }
button.theme { background: var(--soft); color: var(--ink); border: 1px solid var(--line);
  border-radius: 6px; font: inherit; font-size: .82rem; padding: 3px 10px; cursor: pointer;
  white-space: nowrap; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 18px 20px; margin: 18px 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 10px;
  margin: 12px 0; }
.cards div { background: var(--soft); border-radius: 8px; padding: 10px 12px; }
.cards b { display: block; font-size: 1.45rem; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.cards span { color: var(--quiet); font-size: .82rem; display: block; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 8px 0; font-size: .88rem; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px;
  margin-right: 6px; vertical-align: -1px; }
.panels { display: grid; gap: 14px 22px; margin: 8px 0;
  grid-template-columns: repeat(auto-fit, minmax(min(310px, 100%), 1fr)); }
figure { margin: 0; min-width: 0; }
figure > b { display: block; font-size: .9rem; font-weight: 600; }
.scroll { overflow-x: auto; max-width: 100%; }
.scroll > svg { min-width: 760px; }
svg { display: block; width: 100%; height: auto; font-family: inherit; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .tick { fill: var(--quiet); font-size: 11px; font-variant-numeric: tabular-nums; }
svg .name { fill: var(--ink); font-size: 11px; }
svg .axis { fill: var(--quiet); font-size: 11px; }
svg .cell { fill: var(--ink); font-size: 9.5px; } svg .cell.on { fill: #fff; }
svg .tag { fill: var(--ink); font-size: 12px; font-weight: 650; paint-order: stroke;
  stroke: var(--card); stroke-width: 3px; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums;
  width: 100%; }
.scroll > table { margin: 6px 0; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th.left, td.left { text-align: left; }
td.wrap { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; }
thead th { color: var(--quiet); font-weight: 600; vertical-align: bottom;
  border-bottom: 2px solid var(--line); padding: 0; }
thead button { all: unset; cursor: pointer; padding: 6px 10px; display: block;
  white-space: nowrap; }
thead button:hover, thead button:focus-visible { color: var(--accent); }
thead button:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
thead button::after { content: "\\2195"; opacity: .35; margin-left: .35em; font-size: .85em; }
th[aria-sort=ascending] button::after { content: "\\2191"; opacity: 1; }
th[aria-sort=descending] button::after { content: "\\2193"; opacity: 1; }
tbody tr:hover { background: var(--soft); }
tbody tr:last-child td { border-bottom: 0; }
td small { color: var(--quiet); }
td.best { font-weight: 700; }
td i.dot { display: inline-block; width: 9px; height: 9px; border-radius: 50%; margin-right: 6px; }
.note { border-left: 3px solid var(--medium); padding: 2px 12px; margin: 8px 0; }
details { margin: 8px 0; } summary { cursor: pointer; color: var(--accent); }
pre { overflow-x: auto; background: var(--soft); border-radius: 8px; padding: 12px;
  font-size: .8rem; line-height: 1.4; }
code { font-size: .86em; overflow-wrap: anywhere; }
footer { color: var(--quiet); font-size: .84rem; padding: 8px 0 40px; }
@media (max-width: 600px) {
  main, header > div, nav > div { padding: 0 10px; } section { padding: 14px 12px; }
  h1 { font-size: 1.25rem; } header { padding: 16px 0 6px; } th, td { padding: 5px 7px; }
  thead button { padding: 6px 7px; } }
@media print {
  :root, :root:not([data-theme=light]), :root[data-theme=dark] { color-scheme: light;
    --page:#fff; --card:#fff; --ink:#111; --quiet:#555; --line:#ccc; --soft:#f4f4f4;
    --accent:#0b5cad; --heat:#0b5cad; --many:#004488; --medium:#b8860b; --few:#bb3f55;
    --r0:#0072b2; --r1:#e08a00; --r2:#00875f; --r3:#8e5bb5; --r4:#c8373a; --r5:#35a0c0;
    --r6:#8a7a00; --r7:#666666; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 10.5pt; } nav { display: none; } section { border: 0; padding: 0;
    margin: 14px 0; } figure, tr, .cards { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .scroll { overflow: visible; } .scroll > svg { min-width: 0; }
  thead button::after { content: ""; }
  th, td { white-space: normal; padding: 3px 5px; } main { max-width: none; padding: 0; } }
"""

JS = """
function value(row, column) {
  const cell = row.cells[column], raw = cell.dataset.value;
  if (raw === undefined) return cell.textContent.trim().toLowerCase();
  return raw === '' ? null : Number(raw);
}
function sort(button) {
  const head = button.closest('th'), table = head.closest('table'), body = table.tBodies[0];
  const column = head.cellIndex;
  const first = body.rows.length ? value(body.rows[0], column) : '';
  let order = typeof first === 'string' ? 'ascending' : 'descending';
  if (head.getAttribute('aria-sort') === order)
    order = order === 'ascending' ? 'descending' : 'ascending';
  for (const other of head.parentNode.cells) other.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', order);
  const sign = order === 'ascending' ? 1 : -1;
  [...body.rows].map((row, place) => ({row, place, key: value(row, column)}))
    .sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
      const way = typeof a.key === 'string' ? a.key.localeCompare(b.key, undefined,
        {numeric: true}) : a.key - b.key;
      return sign * way || a.place - b.place;
    }).forEach(({row}) => body.append(row));
}
for (const button of document.querySelectorAll('thead button'))
  button.addEventListener('click', () => sort(button));
const theme = document.querySelector('button.theme');
theme.hidden = false;
theme.addEventListener('click', () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark'
    : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
});
"""
