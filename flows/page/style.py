"""The style sheet of the page: one column, which becomes two where the window is wide enough for two charts."""

STYLE = """
:root { --ink: #1c1917; --soft: #57534e; --line: #e7e5e4; --model: #c2410c; --baseline: #78716c; }
* { box-sizing: border-box; }
body { margin: 0; background: #fafaf9; color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }
header p { margin: 0 0 10px; max-width: 46rem; }
header .name { color: var(--soft); font-size: 14px; }
h1 { font-size: 27px; line-height: 1.3; margin: 0 0 14px; max-width: 50rem; text-wrap: balance; }
h2 { font-size: 19px; margin: 44px 0 12px; }
.soft { color: var(--soft); font-size: 14px; }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; margin: 28px 0 0; }
.tiles div, figure { background: white; border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.tiles b { display: block; font-size: 24px; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: 13.5px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; align-items: start; }
figure { margin: 0; }
figcaption { font-weight: 600; font-size: 14.5px; margin-bottom: 8px; }
.key { font-size: 14px; color: var(--soft); margin: 0 0 12px; }
.key i { display: inline-block; width: 18px; height: 3px; vertical-align: middle; margin: 0 6px 0 0; }
.key i + i, .key span + i { margin-left: 16px; }
i.model { background: var(--model); } i.baseline { background: var(--baseline); }
svg { display: block; width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.row { text-anchor: end; } .column, .axis, .lineage text { text-anchor: middle; }
.grid { stroke: var(--line); }
polyline { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
polyline.model { stroke: var(--model); } polyline.baseline { stroke: var(--baseline); }
circle.model { fill: var(--model); } circle.baseline { fill: var(--baseline); }
.lineage rect { fill: white; stroke: #d6d3d1; }
.lineage text { fill: var(--ink); } .lineage text.hash { font: 11.5px ui-monospace, monospace; fill: var(--soft); }
.arrow { stroke: #a8a29e; fill: none; stroke-width: 1.5; } marker path { fill: #a8a29e; }
.wide { overflow-x: auto; background: white; border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: 14.5px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 8px 14px; border-top: 1px solid var(--line); white-space: nowrap; }
td, th { vertical-align: top; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; }
th:first-child { text-align: left; font-weight: 500; position: sticky; left: 0; background: white; }
small { color: var(--soft); }
section { min-width: 0; }
pre { background: white; border: 1px solid var(--line); border-radius: 10px; padding: 16px; margin: 0 0 10px;
  white-space: pre-wrap; overflow-wrap: anywhere; font: 14px/1.5 ui-monospace, monospace; }
code { font: 13px ui-monospace, monospace; background: #f5f5f4; padding: 1px 5px; border-radius: 4px;
  overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--soft); margin: 0 0 10px; }
dl { margin: 0; font-size: 14.5px; } dt { color: var(--soft); font-size: 13px; } dd { margin: 0 0 12px; }
@media (max-width: 760px) {
  main { padding: 22px 14px 40px; } h1 { font-size: 21px; } h2 { margin-top: 34px; }
  .tiles { grid-template-columns: 1fr 1fr; } .tiles div { padding: 12px; } .tiles b { font-size: 20px; }
  .pair { grid-template-columns: 1fr; } figure { padding: 12px 10px; }
  table { font-size: 13.5px; } th, td { padding: 6px; } th { white-space: normal; } small { font-size: 11.5px; }
}
"""
