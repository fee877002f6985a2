// Wires the graph, the panel and the search together.

const LEAST_SCALE = 0.72; // a narrower window scrolls the graph, or nobody could read it
const record = JSON.parse(document.getElementById("record").textContent);
const byStage = new Map(record.nodes.map(node => [node.stage, node]));
const graph = document.getElementById("graph");
const panel = document.getElementById("panel");
const statusLine = document.getElementById("status");
const field = document.getElementById("query");
const list = document.getElementById("suggestions");
const clearButton = document.getElementById("clear");
const cards = new Map([...graph.querySelectorAll(".card")].map(card => [card.dataset.stage, card]));
const edges = [...graph.querySelectorAll(".edge")];

let index = null; // {linked, hosts, pages} when unpacked
let hits = new Set();
let selected = null;
let choice = -1;

const act = {
  nodes: record.nodes,
  tokens: record.tokens,
  select,
  openRow,
  search,
  isHit: number => hits.has(number),
};

function show(content, focus) {
  panel.replaceChildren(...content.flat(Infinity).filter(Boolean));
  panel.scrollTop = 0;
  statusLine.textContent = [...panel.querySelectorAll("h2, h2 ~ .chips, #sums, #absent")]
    .map(part => part.textContent)
    .join(", ");
  if (focus && matchMedia("(max-width: 70rem)").matches) panel.scrollIntoView({ block: "start" });
}

function select(stage, focus = true) {
  selected = stage;
  for (const [name, card] of cards) {
    card.classList.toggle("selected", name === stage);
    card.setAttribute("tabindex", name === stage ? 0 : -1);
    card.setAttribute("aria-pressed", name === stage);
  }
  for (const edge of edges)
    edge.classList.toggle("near", edge.dataset.parent === stage || edge.dataset.child === stage);
  show(stagePanel(byStage.get(stage), index?.linked, act), focus);
}

/** Mark some rows: their stages, the edges between them, and, where it is known which shards, their cells. */
function highlight(found, exact = true) {
  hits = exact ? found : new Set();
  const stages = new Map();
  for (const number of found) {
    const row = index.linked.rows.get(number);
    if (!stages.has(row.stage)) stages.set(row.stage, new Set());
    stages.get(row.stage).add(number);
  }
  graph.classList.toggle("searching", found.size > 0);
  if (found.size)
    for (const element of [...cards.values(), ...edges]) element.classList.remove("selected", "near");
  for (const [stage, card] of cards) {
    card.classList.toggle("on", stages.has(stage));
    markCells(card, byStage.get(stage), number => hits.has(number), "hit");
  }
  const linked = new Set();
  for (const number of found) {
    const row = index.linked.rows.get(number);
    for (const parent of row.parents)
      if (found.has(parent)) linked.add(`${index.linked.rows.get(parent).stage} ${row.stage}`);
  }
  for (const edge of edges)
    edge.classList.toggle("on", linked.has(`${edge.dataset.parent} ${edge.dataset.child}`));
}

function markCells(card, node, test, name) {
  const cells = card.querySelectorAll(".strip rect");
  if (!cells.length) return;
  const start = node.first + node.num_rows - node.num_shards; // parts stand behind what they are parts of
  cells.forEach(cell => cell.classList.remove(name));
  for (let k = 0; k < node.num_shards; k++) {
    if (test(start + k)) cells[Math.floor((k * cells.length) / node.num_shards)].classList.add(name);
  }
}

function openRow(row) {
  const found = followShard(index.linked, row.number);
  highlight(found);
  clearButton.hidden = false;
  show(rowPanel(row, byStage.get(row.stage), index.linked, found, act), true);
}

const seedsOf = result =>
  ({
    page: () => result.pages.map(page => page.row),
    pages: () => [...new Set(result.pages.map(page => page.row))],
    domain: () => [...result.shards.keys()],
    rows: () => result.rows.map(row => row.number),
    absent: () => (result.domain && !result.listed ? [...result.domain.shards.keys()] : []),
    nothing: () => [],
  })[result.kind]();

function search(query) {
  field.value = query;
  suggestNothing();
  if (!index) return;
  if (byStage.has(query.trim())) {
    reset();
    select(query.trim());
    return;
  }
  const result = interpret(index, query);
  if (!result) {
    reset();
    return;
  }
  const exact = isExact(result);
  const found = follow(
    index.linked,
    exact
      ? seedsOf(result).filter(number => index.linked.rows.has(number))
      : [byStage.get(record.tokens).first],
  );
  highlight(found, exact);
  clearButton.hidden = false;
  panel.dataset.found = result.kind;
  show(resultPanel(result, found, index, act), true);
}

function reset() {
  field.value = "";
  suggestNothing();
  delete panel.dataset.found;
  clearButton.hidden = true;
  if (index) highlight(new Set());
  select(selected, false);
}

function suggestNothing() {
  list.hidden = true;
  choice = -1;
  field.setAttribute("aria-expanded", "false");
  field.removeAttribute("aria-activedescendant");
}

function offer() {
  const found = index ? suggest(index, record.nodes, field.value) : [];
  suggestNothing();
  if (!found.length) return;
  list.replaceChildren(
    ...found.map(([text, what], k) =>
      el(
        "li",
        {
          id: `option-${k}`,
          role: "option",
          "aria-selected": "false",
          "data-text": text,
          onmousedown: event => {
            event.preventDefault();
            search(text);
          },
        },
        el("span", {}, text),
        el("span", {}, what),
      ),
    ),
  );
  list.hidden = false;
  field.setAttribute("aria-expanded", "true");
}

function choose(step) {
  const options = [...list.children];
  if (list.hidden || !options.length) return;
  choice = (choice + step + options.length + (choice < 0 && step < 0 ? 1 : 0)) % options.length;
  options.forEach((option, k) => option.setAttribute("aria-selected", k === choice));
  options[choice].scrollIntoView({ block: "nearest" });
  field.setAttribute("aria-activedescendant", options[choice].id);
}

field.addEventListener("input", offer);
field.addEventListener("blur", suggestNothing);
field.addEventListener("keydown", event => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    choose(event.key === "ArrowDown" ? 1 : -1);
  }
  // by hand, as there is no form: a sandboxed viewer submits none
  if (event.key === "Enter") search(choice >= 0 ? list.children[choice].dataset.text : field.value);
});
clearButton.addEventListener("click", () => {
  reset();
  field.focus();
});
document.addEventListener("keydown", event => {
  if (event.key === "/" && !/INPUT|TEXTAREA/.test(document.activeElement?.tagName)) {
    event.preventDefault();
    field.focus();
    field.select();
  }
  if (event.key === "Escape") {
    if (list.hidden) reset();
    else suggestNothing();
  }
});

/** What a link into the page asks for, after its #. */
function readFragment() {
  const text = location.hash.slice(1);
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone % is meant as it stands
  }
}

/** The nearest card in the direction of an arrow key. */
function neighbour(card, key) {
  const middle = element => {
    const box = element.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  const [x, y] = middle(card);
  const near = [...cards.values()]
    .filter(other => other !== card)
    .map(other => {
      const [dx, dy] = [middle(other)[0] - x, middle(other)[1] - y];
      const along = { ArrowDown: dy, ArrowUp: -dy, ArrowRight: dx, ArrowLeft: -dx }[key];
      const across = Math.abs(key === "ArrowDown" || key === "ArrowUp" ? dx : dy);
      return { other, along, far: along + 2 * across };
    });
  return near.filter(({ along }) => along > 8).sort((a, b) => a.far - b.far)[0]?.other;
}

for (const [stage, card] of cards) {
  card.addEventListener("click", () => select(stage));
  card.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      select(stage);
    }
    const next = event.key.startsWith("Arrow") && neighbour(card, event.key);
    if (!next) return;
    event.preventDefault();
    select(next.dataset.stage, false);
    next.focus();
  });
}

const drawing = graph.querySelector("svg");
drawing.style.minWidth = `${LEAST_SCALE * drawing.viewBox.baseVal.width}px`;
document.getElementById("digest").after(copyButton(record.model.digest, "the digest"));
select(record.model.stage, false);
unpack(document.getElementById("index").textContent).then(({ rows, hosts, pages }) => {
  index = { linked: linkRows(rows, record.nodes), hosts, pages };
  for (const [stage, card] of cards)
    markCells(card, byStage.get(stage), number => Boolean(index.linked.rows.get(number)?.erased), "gone");
  document.body.dataset.ready = "yes";
  const asked = readFragment();
  if (asked) search(asked);
  else if (!panel.dataset.found) select(selected, false);
});
