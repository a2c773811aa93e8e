"""Style and script of the page: system fonts, two colour schemes, nothing fetched from anywhere."""

METHOD_COLOURS = 13
"""How many colours the page has for methods (classes ``c0`` ...)."""

CSS = """
:root{color-scheme:light dark;--bg:#fbfaf7;--plate:#ffffff;--ink:#1c1d20;--soft:#5d616a;--faint:#8b8f98;--line:#dfdcd3;
--hair:#ece9e1;
--accent:#0b5f8a;--theirs:#8a5a00;--good:#1d7a3d;--bad:#b3391f;--c0:#0b6aa2;--c1:#cf5a00;--c2:#3f8a1f;--c3:#6f62b5;--c4:#c02672;
--c5:#666b75;--c6:#a67c00;--c7:#00776e;--c8:#7a4a1e;--c9:#a8343c;--c10:#5b7fa3;--c11:#7d8f00;
--c12:#2b2f8f;--on:#ffffff}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){--bg:#121417;--plate:#1a1d21;--ink:#e8e6e1;--soft:#a6aab3;
--faint:#7d828c;
--line:#33373e;--hair:#272b31;--accent:#6cb8e6;--theirs:#d9a441;--good:#63c384;--bad:#f0836b;--c0:#5fb2ea;--c1:#f28e3d;
--c2:#86c55f;
--c3:#a99cf0;--c4:#f07ab0;--c5:#a6aab3;--c6:#dcb64a;--c7:#45bfb2;--c8:#c99b6c;--c9:#f09096;--c10:#a5c3de;--c11:#c5d24f;
--c12:#8d93f5;
--on:#0d0f11}}
:root[data-theme=dark]{--bg:#121417;--plate:#1a1d21;--ink:#e8e6e1;--soft:#a6aab3;--faint:#7d828c;--line:#33373e;--hair:#272b31;
--accent:#6cb8e6;--theirs:#d9a441;--good:#63c384;--bad:#f0836b;--c0:#5fb2ea;--c1:#f28e3d;--c2:#86c55f;--c3:#a99cf0;--c4:#f07ab0;
--c5:#a6aab3;--c6:#dcb64a;--c7:#45bfb2;--c8:#c99b6c;--c9:#f09096;--c10:#a5c3de;--c11:#c5d24f;--c12:#8d93f5;--on:#0d0f11;
color-scheme:dark}
:root[data-theme=light]{color-scheme:light}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",
Arial,sans-serif;font-feature-settings:"tnum";-webkit-text-size-adjust:100%}
.wrap{max-width:1300px;margin:0 auto;padding:0 22px 72px}
header{padding:52px 0 8px}
header .kicker{color:var(--soft);font-size:.82rem;letter-spacing:.09em;text-transform:uppercase;margin:0 0 .5rem}
h1{font:600 clamp(1.9rem,4.4vw,2.8rem)/1.12 ui-serif,Georgia,"Iowan Old Style","Times New Roman",serif;margin:0 0 .9rem;
letter-spacing:-.012em}
.headline{font:400 clamp(1.08rem,2.1vw,1.32rem)/1.5 ui-serif,Georgia,"Iowan Old Style","Times New Roman",serif;max-width:46em;
margin:0}
h2{font:600 1.55rem/1.2 ui-serif,Georgia,"Iowan Old Style",serif;margin:3.4rem 0 .8rem;padding-top:1.1rem;
border-top:1px solid var(--line);
letter-spacing:-.006em}
h3{font-size:1.02rem;margin:2rem 0 .2rem;font-weight:650}
p{max-width:46em;margin:.6rem 0}
a{color:var(--accent)}
code{font:.86em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--hair);padding:.08em .35em;
border-radius:4px}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;font-size:.88rem;padding:1.2rem 0 0}
nav a{text-decoration:none;color:var(--soft)}
nav a:hover{color:var(--accent)}
nav a.gap::after{content:" \\25CB";color:var(--theirs)}
#theme{position:fixed;right:14px;top:12px;border:1px solid var(--line);background:var(--plate);color:var(--soft);
border-radius:99px;
font:inherit;font-size:.78rem;padding:.22rem .75rem;cursor:pointer}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px;margin:1.6rem 0}
.card{background:var(--plate);border:1px solid var(--line);border-radius:10px;padding:13px 16px 12px}
.card b{display:block;font:600 2rem/1.15 ui-serif,Georgia,serif;letter-spacing:-.02em}
.card .of{color:var(--soft);font-size:.86rem;text-transform:none}
.card small{display:block;color:var(--soft);font-size:.8rem;line-height:1.4}
.scroll{overflow-x:auto;margin:1rem 0 .3rem;border-top:1.5px solid var(--ink);border-bottom:1.5px solid var(--ink)}
table{border-collapse:collapse;width:100%;font-size:.875rem;line-height:1.35}
caption{caption-side:top;text-align:left;padding:.55rem 2px .5rem;color:var(--ink);font-size:.92rem}
th{font-weight:600;text-align:right;color:var(--soft);font-size:.79rem;padding:.3rem .6rem;border-bottom:1px solid var(--line);
white-space:nowrap;vertical-align:bottom}
td{padding:.27rem .6rem;text-align:right;border-bottom:1px solid var(--hair);white-space:nowrap;vertical-align:middle}
tr:last-child td{border-bottom:0}
th.w,td.w{text-align:left}
td.w{white-space:normal;min-width:11.5rem}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:6px 34px;align-items:end}
tr.theirs td{font-style:italic;color:var(--theirs)}
tr.theirs td:last-child{white-space:normal;min-width:11rem}
tr.privileged td,tr.control td{color:var(--soft)}
tr.control td.w:first-child{padding-left:1.7rem}
tr.group td{font-weight:650;font-style:normal;color:var(--ink);padding-top:.85rem;border-bottom:1px solid var(--line);
text-align:left}
.note{font-size:.82rem;color:var(--soft);max-width:62em;margin:.25rem 0 1.2rem}
.m{display:inline-flex;align-items:center;gap:.55rem;justify-content:flex-end}
.bar .track{stroke:var(--line);stroke-width:1}
.bar .zero{stroke:var(--faint);stroke-width:1}
.bar .whisker{stroke:var(--accent);stroke-width:2.4;stroke-linecap:round;opacity:.55}
.bar .dot{fill:var(--accent)}
figure{margin:1.1rem 0}
figcaption{font-size:.84rem;color:var(--soft);max-width:58em;margin-top:.45rem}
.chart{width:100%;height:auto;display:block}
.chart .grid{stroke:var(--hair);stroke-width:1}
.chart .zero{stroke:var(--faint);stroke-width:1.2}
.chart .whisker{stroke-width:2.2;stroke-linecap:round;opacity:.6}
.chart .ring{fill:var(--bg);stroke-width:2}
.chart text{fill:var(--soft);font-size:12px}
.chart .label{fill:var(--ink)}
.chart .heading{fill:var(--ink);font-weight:650}
.chart .inside{fill:#fff;font-size:11px}
.line{fill:none;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}
.dashed{stroke-dasharray:5 4}
.faint{opacity:.35;stroke-width:1.4}
.band{opacity:.14;stroke:none}
.legend{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;font-size:.82rem;color:var(--soft);margin:.2rem 0 .4rem}
.key{display:inline-flex;align-items:center;gap:.4rem}
.swatch{width:11px;height:11px;border-radius:2px;display:inline-block}
.strip{display:block}
.strip .cell{fill:var(--accent);stroke:var(--line);stroke-width:.6}
.strip .in-cell{fill:var(--ink);font-size:11px}
.strip .in-cell.dark{fill:var(--on)}
.missing{border:1px dashed var(--theirs);border-radius:9px;padding:.7rem 1rem;margin:1rem 0;font-size:.9rem;color:var(--soft);
max-width:60em}
.missing b{color:var(--theirs);font-weight:600}
.study{margin:1.5rem 0 2.2rem}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(290px,1fr));gap:14px;margin-top:.8rem}
.panel{background:var(--plate);border:1px solid var(--line);border-radius:11px;overflow:hidden;display:flex;
flex-direction:column}
.panel .top{padding:.65rem .9rem .55rem;min-height:5.9rem}
.panel .name{font-weight:650}
.panel .verdict{float:right;font-size:.8rem;border-radius:99px;padding:.05rem .6rem;border:1px solid var(--line);
color:var(--soft)}
.panel .verdict.good{color:var(--good);border-color:var(--good)}
.panel .verdict.bad{color:var(--bad);border-color:var(--bad)}
.panel ul{list-style:none;margin:.3rem 0 0;padding:0;font-size:.81rem;color:var(--soft)}
.panel figure{margin:0;border-top:1px solid var(--line)}
.panel img{display:block;width:100%;height:auto;background:#14161a}
.panel figcaption{padding:.3rem .9rem .45rem;margin:0;font-size:.76rem}
.plain img{max-width:100%;height:auto;border-radius:9px;display:block}
img.zoom{cursor:zoom-in}
dialog{border:0;padding:0;background:transparent;max-width:96vw;max-height:94vh}
dialog::backdrop{background:rgba(0,0,0,.78)}
dialog img{max-width:96vw;max-height:94vh;width:auto;border-radius:8px;min-width:min(92vw,900px)}
details{margin:1rem 0}
summary{cursor:pointer;color:var(--accent);font-size:.92rem}
footer{margin-top:4rem;padding-top:1rem;border-top:1px solid var(--line);font-size:.82rem;color:var(--soft)}
@media (max-width:640px){.wrap{padding:0 14px 48px}header{padding-top:44px}.bar{display:none}td,th{padding-left:.4rem;
padding-right:.4rem}}
@media print{#theme,nav{display:none}.panel,.card,.scroll{break-inside:avoid}h2{break-after:avoid}}
"""

METHOD_RULES = "".join(
    f".line.c{i},.whisker.c{i},.ring.c{i}{{stroke:var(--c{i})}}.mark.c{i},.band.c{i},.swatch.c{i}{{fill:var(--c{i});background:var(--c{i})}}"
    for i in range(METHOD_COLOURS)
)

REASONS = {
    "wrong_object": "#c4560a",
    "nothing_held": "#6f66b0",
    "slipped": "#c22f75",
    "collision": "#4d8a1b",
    "no_ik": "#9a7500",
    "no_candidate": "#6b6f78",
    "wrong_region": "#94611b",
    "dropped": "#1b6fb0",
}
REASON_RULES = "".join(f".r-{name}{{fill:{colour};background:{colour}}}" for name, colour in REASONS.items())

SCRIPT = """
(function(){var r=document.documentElement,b=document.getElementById('theme'),o=['auto','light','dark'],i=0;
b.addEventListener('click',function(){i=(i+1)%3;if(i)r.setAttribute('data-theme',o[i]);else r.removeAttribute('data-theme');
b.textContent='colours: '+o[i]});
var d=document.getElementById('zoom'),z=d.querySelector('img');
document.querySelectorAll('img.zoom').forEach(function(e){e.addEventListener('click',function(){z.src=e.src;z.alt=e.alt;
d.showModal()})});
d.addEventListener('click',function(){d.close()})})();
"""
