"use strict";
// Small parts of the page. Text from the record is only ever set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false),
  );
  return element;
}

const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const shape = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

const words = name => name.replace(/^num_/, "").replaceAll("_", " ");
const plural = (number, noun) => `${formatNumber(number)} ${noun}${number === 1 ? "" : "s"}`;

function formatNumber(value) {
  if (typeof value !== "number") return String(value ?? "");
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));
}

function formatBytes(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  for (; bytes >= 1000 && place < units.length - 1; place++) bytes /= 1000;
  return `${place ? bytes.toPrecision(3) : bytes} ${units[place]}`;
}

function formatShare(part, whole) {
  if (!whole) return "";
  if (part === whole) return "100%";
  const percent = (100 * part) / whole;
  return percent > 99.9 ? ">99.9%" : percent && percent < 0.1 ? "<0.1%" : `${percent.toFixed(1)}%`;
}

const when = (test, make) => (test ? make() : null);
const section = (title, ...content) => [el("h3", {}, title), ...content];
const note = text => el("p", { class: "soft" }, text);
const chip = (text, kind = "") => el("span", { class: `chip ${kind}` }, text);
const chips = (...some) => el("div", { class: "chips" }, some);
const folded = (summary, content) => el("details", {}, el("summary", {}, summary), content);
const linkButton = (name, what, open) =>
  el("button", { type: "button", class: "link", onclick: open }, el("span", {}, name), el("span", {}, what));

function copyButton(text, what) {
  const button = el("button", { type: "button", class: "copy", "aria-label": `Copy ${what}` }, "copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch {
      // a sandboxed viewer forbids it: select the text instead
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = "selected";
    }
    setTimeout(() => {
      button.textContent = "copy";
    }, 1500);
  });
  return button;
}

const hashLine = (label, hash) =>
  el(
    "div",
    { class: "hash" },
    el("span", { class: "soft" }, label),
    el("code", {}, hash),
    copyButton(hash, label),
  );
const commandLine = text =>
  el("div", { class: "command" }, el("code", {}, text), copyButton(text, "the command"));
const quote = text => `'${text.replaceAll("'", "'\\''")}'`;

function numberList(rows) {
  return el(
    "dl",
    { class: "numbers" },
    rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, formatNumber(value)))),
  );
}

const MARKS = { better: "▲ better", worse: "▼ worse", even: "● no clear difference", alone: "no baseline" };

/** How an interval lies to the baseline that it has to beat. */
function judge({ low, high, baseline, better }) {
  if (baseline === null) return "alone";
  const [above, below] = better === "lower" ? ["worse", "better"] : ["better", "worse"];
  return low > baseline ? above : high < baseline ? below : "even";
}

/** A value with its interval and its baseline, on a scale of its own. */
function measureLine(measure) {
  const { name, value, low, high, baseline } = measure;
  const verdict = judge(measure);
  const base = baseline === null ? "" : `base ${formatNumber(baseline)}`;
  const span = `${formatNumber(low)} to ${formatNumber(high)}`;
  const ends = [low, high, value, baseline ?? value];
  const [least, most] = [Math.min(...ends), Math.max(...ends)];
  const x = number => (most > least ? 8 + (84 * (number - least)) / (most - least) : 50);
  const label = `${formatNumber(value)}, interval ${span}, ${base}`;
  const plot = shape(
    "svg",
    { viewBox: "0 0 100 22", preserveAspectRatio: "none", role: "img", "aria-label": label },
    shape("line", { class: "line", x1: 3, x2: 97, y1: 11, y2: 11 }),
    shape("line", { class: "span", x1: x(low), x2: x(high), y1: 11, y2: 11 }),
    when(base, () => shape("line", { class: "base", x1: x(baseline), x2: x(baseline), y1: 2, y2: 20 })),
    shape("circle", { cx: x(value), cy: 11, r: 4 }),
  );
  return el(
    "div",
    { class: `measure ${verdict}` },
    el("div", {}, name, el("small", {}, el("span", { class: "verdict" }, MARKS[verdict]), `, ${span}`)),
    plot,
    el("div", { class: "value" }, formatNumber(value), el("small", {}, base)),
  );
}

function curveFigure({ name, points, last }) {
  const [width, height] = [200, 64];
  const xs = points.map(point => point[0]);
  const ys = points.map(point => point[1]);
  const [left, right, low, high] = [xs[0], xs.at(-1), Math.min(...ys), Math.max(...ys)];
  const place = ([x, y]) =>
    `${((width * (x - left)) / (right - left || 1)).toFixed(1)} ${(high > low ? 3 + ((height - 6) * (high - y)) / (high - low) : height / 2).toFixed(1)}`;
  const line = `M${points.map(place).join("L")}`;
  return el(
    "figure",
    {},
    el("figcaption", {}, el("span", {}, words(name)), el("b", {}, formatNumber(last[1]))),
    shape(
      "svg",
      {
        viewBox: `0 0 ${width} ${height}`,
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": `${words(name)} from ${formatNumber(ys[0])} at step ${formatNumber(xs[0])} to ${formatNumber(last[1])} at step ${formatNumber(last[0])}`,
      },
      shape("path", { class: "area", d: `${line}V${height}H0Z` }),
      shape("path", { d: line }),
    ),
    el("small", { class: "soft" }, `step ${formatNumber(xs[0])} to ${formatNumber(last[0])}`),
  );
}
