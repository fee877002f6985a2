// What stands beside the graph: a stage, or one of its shards.

const MOST_SHOWN = 8;
const NUM_COLOURS = 6;
const KINDS = { raw: "raw records", data: "data", model: "model" };

/** The rows of a stage that are in this file. */
const rowsOf = (node, linked) =>
  Array.from({ length: node.num_rows }, (_, k) => linked?.rows.get(node.first + k)).filter(Boolean);

/** Parts where there are any, artefacts otherwise: what people call shards. */
const shardsAmong = rows => (rows.some(row => row.of !== null) ? rows.filter(row => row.of !== null) : rows);

/** The panel of a stage; `linked` is null until the index is unpacked. */
function stagePanel(node, linked, act) {
  const rows = rowsOf(node, linked);
  const links = edges => edges.map(edge => edgeButton(edge, act));
  const counts = Object.entries(node.counts).map(([name, value]) => [words(name), value]);
  const size = formatBytes(node.bytes);
  return [
    el("h2", {}, node.stage),
    stageChips(node),
    when(node.num_artifacts === 1, () => [
      hashLine("digest", node.digest),
      rows[0] && hashLine("key", rows[0].key),
      rows[0]?.erased && erasedNote(rows[0].erased),
    ]),
    when(node.measures.length, () => section("Measured on held-out data", measureList(node.measures))),
    when(node.orders.length, () => section("What it saw in training", node.orders.map(orderBlock))),
    when(node.curves.length, () => section("Training curves", curveGallery(node.curves))),
    when(counts.length, () => section("Counts", numberList(counts))),
    section(
      "Files",
      numberList([
        ["files", node.num_files],
        ["in all", size],
      ]),
    ),
    when(node.num_shards > 1 && linked, () => section("Shards", shardTable(node, rows, act))),
    when(node.parents.length, () => section("Made of", links(node.parents))),
    when(node.children.length, () => section("Went into", links(node.children))),
    when(node.config.length, () => section("Settings", foldedLines(node.config))),
    when(node.facts.length, () => section("How it was made", lineTable(node.facts))),
  ];
}

function stageChips(node) {
  const superseded = name => (name.superseded_by ? `, superseded by ${name.superseded_by}` : "");
  return chips(
    chip(KINDS[node.kind], node.kind),
    node.names.map(name =>
      chip(`${name.name}, version ${name.version}${superseded(name)}`, name.superseded_by ? "gone" : ""),
    ),
    when(node.num_shards > 1, () => chip(plural(node.num_shards, "shard"))),
    when(node.num_erased, () => chip(`${formatNumber(node.num_erased)} erased`, "gone")),
    chip(`stage version ${node.version.join(", ")}`),
  );
}

/** What clearly differs from the baseline comes first; much of the rest is folded away. */
function measureList(measures) {
  const lines = measures
    .map(measureLine)
    .sort((a, b) => a.matches(".even, .alone") - b.matches(".even, .alone"));
  const rest = lines.splice(MOST_SHOWN);
  return [lines, when(rest.length, () => folded(`${formatNumber(rest.length)} more`, rest))];
}

/** An order of a training: how long, of which sources, and how much of it is attributed. */
function orderBlock({ order, unit, step, steps, tokens, attributed, sources }) {
  const total = sources.reduce((sum, [, amount]) => sum + amount, 0);
  const shares = sources.map(([name, amount]) => `${name} ${formatShare(amount, total)}`);
  const colour = k => `s${Math.min(k, NUM_COLOURS - 1)}`;
  const bars = sources.map(([, amount], k) => {
    const bar = el("i", { class: colour(k) });
    bar.style.flexGrow = amount;
    return bar;
  });
  const holder = unit === "records" ? "record" : "document";
  return el(
    "div",
    { class: "order" },
    el(
      "p",
      {},
      el("span", {}, el("b", {}, words(order)), ` in ${plural(steps, step)}`),
      el("span", {}, el("b", {}, formatShare(attributed, tokens)), " attributed"),
    ),
    el("div", { class: "stack", role: "img", "aria-label": shares.join(", ") }, bars),
    el(
      "ul",
      { class: "shares" },
      shares.map((text, k) => el("li", { class: colour(k) }, text)),
    ),
    note(`${formatNumber(attributed)} of ${plural(tokens, "token")} traced to a ${holder}`),
  );
}

const curveGallery = curves => el("div", { class: "curves" }, curves.map(curveFigure));

function edgeButton([stage, roles, inputs], act) {
  const many = inputs > 1 ? `, ${plural(inputs, "input")}` : "";
  return linkButton(stage, `as ${roles.join(", ")}${many}`, () => act.select(stage));
}

/** The value of a setting that all shards share, or each value with how many have it. */
function valueText({ values, more }) {
  if (values.length === 1) return values[0][0];
  const each = values.map(([value, number]) => `${value || "empty"} (${formatNumber(number)}×)`);
  return [...each, ...(more ? [`${formatNumber(more)} more`] : [])].join(", ");
}

function lineTable(lines) {
  const drawLine = line =>
    el("tr", {}, el("th", { scope: "row" }, words(line.name)), el("td", {}, valueText(line)));
  return el("table", { class: "plain" }, el("tbody", {}, lines.map(drawLine)));
}

const foldedLines = lines =>
  lines.length <= MOST_SHOWN ? lineTable(lines) : folded(plural(lines.length, "setting"), lineTable(lines));

const erasedNote = ([date, reason, by]) =>
  el(
    "p",
    { class: "warning" },
    `Erased ${date.slice(0, 10)} by ${by}: ${reason}. The record stays, the files are gone.`,
  );

function shardTable(node, rows, act) {
  const shards = shardsAmong(rows);
  const counts = Object.keys(shards[0].counts).filter(name =>
    shards.some(row => typeof row.counts[name] === "number"),
  );
  const first = ["num_tokens", "num_documents", "num_pages"].find(name => counts.includes(name)) ?? counts[0];
  const left = node.num_rows - rows.length;
  return [
    searchableTable({
      items: shards,
      label: `shards of ${node.stage}`,
      pick: act.openRow,
      classes: row => `${row.erased ? "gone" : ""} ${act.isHit(row.number) ? "hit" : ""}`,
      columns: [
        textColumn("Shard", row => row.shard),
        digestColumn(),
        ...(first ? [numberColumn(words(first), row => row.counts[first] ?? 0)] : []),
        { ...numberColumn("Size", row => row.bytes), text: formatBytes },
      ],
    }),
    when(left, () =>
      note(`${formatNumber(left)} more are not in this file; headwater trace --json lists them all.`),
    ),
  ];
}

/** The panel of one shard: what it is, and the way through it. */
function rowPanel(row, node, linked, found, act) {
  const whole = row.of === null ? row : linked.rows.get(row.of);
  const counts = Object.entries(row.counts).filter(([, value]) => value !== null);
  return [
    el("h2", {}, `${row.stage} ${row.shard}`),
    chips(chip(row.of === null ? "artefact" : `one of ${plural(whole.parts.length, "part")}`, node.kind)),
    when(row.erased, () => erasedNote(row.erased)),
    hashLine("digest", row.digest),
    hashLine("key", row.key),
    section(
      "Counts",
      numberList([
        ...counts.map(([name, value]) => [words(name), value]),
        ["in files", formatBytes(row.bytes)],
      ]),
    ),
    section("Its way", pathList(found, linked, act)),
    el(
      "p",
      {},
      el("button", { type: "button", onclick: () => act.select(row.stage) }, `All of ${row.stage}`),
    ),
  ];
}

/** The stages of a way with their shards, raw first. */
function pathList(found, linked, act) {
  const steps = act.nodes.map(node => {
    const shown = shardsAmong(rowsOf(node, linked).filter(row => found.has(row.number)));
    if (!shown.length) return null;
    const [only] = shown;
    const single = shown.length === 1;
    const what = single ? only.shard || only.digest.slice(0, 12) : plural(shown.length, "shard");
    const open = () => (single ? act.openRow(only) : act.select(node.stage));
    return el("li", { class: node.kind }, linkButton(node.stage, what, open));
  });
  return el("ol", { class: "path" }, steps);
}
