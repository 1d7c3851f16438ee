// Curves and histograms as SVG, drawn by hand.

const SVG = "http://www.w3.org/2000/svg";
// Distinct in light and dark, and for most colour-blind readers (Okabe and Ito, 2008).
const COLORS = ["#0b84c6", "#e08a00", "#15a078", "#c9609a", "#d1552b", "#7a6fd0", "#8a929b", "#b39b00"];

function svg(tag, attributes, text) {
  const e = document.createElementNS(SVG, tag);
  for (const [k, v] of Object.entries(attributes ?? {})) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}

// About `wanted` round numbers from low to high.
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted, base = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * base).find((s) => s >= rough) ?? 10 * base;
  const found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-9; v += step) found.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return found;
}

const tickText = (v) => (Math.abs(v) >= 1e6 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(1) : String(Number(v.toPrecision(6))));

function range(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) if (Number.isFinite(v)) { if (v < low) low = v; if (v > high) high = v; }
  if (low > high) return null;
  if (low === high) { const pad = Math.abs(low) * 0.05 || 0.5; return [low - pad, high + pad]; }
  return [low, high];
}

/* One metric: series = [{label, color, points: [[x, y]], total, odd, by}]. Gaps are where a value is no finite number. */
function curves(title, series) {
  const W = 460, H = 230, L = 58, R = 12, T = 10, B = 34, root = make("figure", "nbm-figure");
  root.append(make("figcaption", "", title));
  const lines = series.map((s) => ({ ...s, points: s.points.map(([x, y]) => [x, toNumber(y)]) }));
  const xs = range(lines.flatMap((s) => s.points.map((p) => p[0]))), ys = range(lines.flatMap((s) => s.points.map((p) => p[1])));
  if (!xs || !ys) { root.append(make("div", "nbm-soft", "no finite value was logged")); return root; }
  const pad = (ys[1] - ys[0]) * 0.04, [low, high] = [ys[0] - pad, ys[1] + pad];
  const X = (v) => L + ((v - xs[0]) / (xs[1] - xs[0])) * (W - L - R), Y = (v) => H - B - ((v - low) / (high - low)) * (H - T - B);
  const plot = svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "nbm-plot", role: "img", "aria-label": `${title}, ${series.length} curves` });
  for (const v of ticks(low, high, 5)) {
    plot.append(svg("line", { x1: L, x2: W - R, y1: Y(v), y2: Y(v), class: "nbm-gridline" }));
    plot.append(svg("text", { x: L - 6, y: Y(v) + 4, "text-anchor": "end" }, tickText(v)));
  }
  for (const v of ticks(...xs, 6)) {
    plot.append(svg("line", { x1: X(v), x2: X(v), y1: H - B, y2: H - B + 4, class: "nbm-axis" }));
    plot.append(svg("text", { x: X(v), y: H - B + 16, "text-anchor": "middle" }, tickText(v)));
  }
  plot.append(svg("line", { x1: L, x2: W - R, y1: H - B, y2: H - B, class: "nbm-axis" }));
  const by = new Set(lines.map((s) => s.by));
  plot.append(svg("text", { x: (L + W - R) / 2, y: H - 3, "text-anchor": "middle" }, by.size > 1 ? "step or order" : by.has("order") ? "order of logging" : "step"));
  for (const s of lines) {
    let path = "", pen = false, alone = [];
    s.points.forEach(([x, y], i) => {
      if (!Number.isFinite(y)) { pen = false; return; }
      path += `${pen ? "L" : "M"}${X(x).toFixed(1)} ${Y(y).toFixed(1)}`;
      if (!pen && !Number.isFinite(s.points[i + 1]?.[1])) alone.push([x, y]);
      pen = true;
    });
    plot.append(svg("path", { d: path, fill: "none", stroke: s.color, "stroke-width": 1.6, "stroke-linejoin": "round" }));
    alone.forEach(([x, y]) => plot.append(svg("circle", { cx: X(x), cy: Y(y), r: 3, fill: s.color })));
  }
  root.append(plot, legend(lines), pointer(plot, lines, { X, Y, W, L, R, T, bottom: H - B }));
  return root;
}

function legend(lines) {
  const box = make("div", "nbm-legend");
  for (const s of lines) {
    const item = make("span"), mark = make("i");
    mark.style.background = s.color;
    item.append(mark, s.label + (s.odd ? ` (${s.odd} not finite)` : ""));
    item.title = `${s.label}: ${s.total} points${s.total > s.points.length ? `, ${s.points.length} drawn` : ""}`;
    box.append(item);
  }
  return box;
}

function nearest(points, x) {
  let low = 0, high = points.length - 1;
  while (low < high) { const mid = (low + high) >> 1; if (points[mid][0] < x) low = mid + 1; else high = mid; }
  return low > 0 && x - points[low - 1][0] < points[low][0] - x ? points[low - 1] : points[low];
}

function pointer(plot, lines, { X, Y, W, L, R, T, bottom }) {
  const tip = make("div", "nbm-tip"), mark = svg("line", { y1: T, y2: bottom, class: "nbm-pointer" }), dots = svg("g");
  tip.hidden = true;
  plot.append(mark, dots);
  plot.onmousemove = (event) => {
    const frame = plot.getBoundingClientRect(), at = ((event.clientX - frame.left) / frame.width) * W;
    const [first, last] = [X(0), X(1)], x = (Math.max(L, Math.min(W - R, at)) - first) / (last - first);
    const near = lines.map((s) => [s, nearest(s.points, x)]), shownX = near[0][1][0];
    mark.setAttribute("x1", X(shownX));
    mark.setAttribute("x2", X(shownX));
    mark.style.display = "inline";
    dots.replaceChildren(...near.filter(([, p]) => Number.isFinite(p[1])).map(([s, p]) => svg("circle", { cx: X(p[0]), cy: Y(p[1]), r: 3.5, fill: s.color })));
    tip.replaceChildren(...near.map(([s, p]) => {
      const line = make("div"), key = make("i");
      key.style.background = s.color;
      line.append(key, `${s.label}  ${tickText(p[0])}: ${number(p[1])}`);
      return line;
    }));
    tip.hidden = false;
    tip.style.left = `${Math.min(event.clientX - frame.left + 14, frame.width - tip.offsetWidth - 4)}px`;
    tip.style.top = `${event.clientY - frame.top + 30}px`;
  };
  plot.onmouseleave = () => { tip.hidden = true; mark.style.display = "none"; dots.replaceChildren(); };
  mark.style.display = "none";
  return tip;
}

// A small histogram; each bar tells its range and count.
function histogram(counts, edges) {
  const W = 150, H = 34, most = Math.max(...counts, 1), width = W / counts.length;
  const plot = svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "nbm-histogram", role: "img", "aria-label": `histogram of ${counts.length} bins` });
  counts.forEach((n, i) => {
    const height = n ? Math.max(1, (n / most) * (H - 2)) : 0;
    const bar = svg("rect", { x: i * width + 0.5, y: H - height, width: Math.max(0.5, width - 1), height, class: "nbm-bin" });
    bar.append(svg("title", {}, `${number(toNumber(edges[i]))} … ${number(toNumber(edges[i + 1]))}: ${n.toLocaleString("en-US")}`));
    plot.append(bar);
  });
  plot.append(svg("line", { x1: 0, x2: W, y1: H - 0.5, y2: H - 0.5, class: "nbm-axis" }));
  return plot;
}

// The most frequent values as bars with their share.
function shares(top, total) {
  const box = make("div", "nbm-shares");
  for (const [value, count] of top.slice(0, 4)) {
    const line = make("div"), share = total ? count / total : 0;
    line.style.setProperty("--share", `${Math.round(share * 100)}%`);
    line.append(make("span", "", show(value) || "(empty)"), make("span", "nbm-soft", `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`));
    line.title = `${show(value)}: ${count.toLocaleString("en-US")}`;
    box.append(line);
  }
  if (top.length > 4) box.append(make("div", "nbm-soft nbm-more", `and more`));
  return box;
}
