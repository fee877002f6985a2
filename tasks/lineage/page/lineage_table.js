// Tables of any length.

const LINE_HEIGHT = 28;

const textColumn = (title, value) => ({ title, width: "minmax(0, 1fr)", value });
const numberColumn = (title, value) => ({ title, width: "5.7rem", value, text: formatNumber, numeric: true });
const digestColumn = () => ({
  title: "Digest",
  width: "6.3rem",
  value: row => row.digest,
  text: digest => digest.slice(0, 10),
  mono: true,
});

/**
 * A table of any length that only ever holds the lines in sight.
 * columns: {title, width, value(item), text(value), numeric, mono}; classes(item) names a line's state.
 */
function virtualTable({ items, columns, label, pick, classes = () => "" }) {
  let shown = items;
  let active = -1;
  let sorted = { column: -1, direction: 1 };
  const id = `grid-${(virtualTable.count = (virtualTable.count || 0) + 1)}`;
  const space = el("div", { class: "fill", role: "rowgroup" });
  const body = el(
    "div",
    {
      class: "body",
      tabindex: 0,
      role: "group",
      "aria-label": `${label}; arrow keys move, Enter opens`,
    },
    space,
  );
  const heads = columns.map((column, place) =>
    el(
      "div",
      { role: "columnheader", "aria-sort": "none" },
      el(
        "button",
        { type: "button", class: column.numeric ? "num" : "", onclick: () => sortBy(place) },
        column.title,
      ),
    ),
  );
  const grid = el(
    "div",
    { class: "grid", role: "grid", "aria-label": label, "aria-rowcount": items.length },
    el("div", { class: "heads", role: "row" }, heads),
    body,
  );
  grid.style.setProperty("--columns", columns.map(column => column.width).join(" "));

  function draw() {
    const first = Math.max(0, Math.floor(body.scrollTop / LINE_HEIGHT) - 4);
    const last = Math.min(shown.length, first + Math.ceil((body.clientHeight || 272) / LINE_HEIGHT) + 8);
    space.style.height = `${shown.length * LINE_HEIGHT}px`;
    space.replaceChildren(...Array.from({ length: last - first }, (_, k) => drawLine(first + k)));
    if (active >= 0) body.setAttribute("aria-activedescendant", `${id}-${active}`);
  }
  function drawLine(place) {
    const item = shown[place];
    const line = el(
      "div",
      {
        class: `line ${classes(item)} ${place === active ? "active" : ""}`,
        role: "row",
        id: `${id}-${place}`,
        "aria-rowindex": place + 1,
        onclick: () => {
          active = place;
          draw();
          pick(item);
        },
      },
      columns.map(column => {
        const text = (column.text || String)(column.value(item));
        return el(
          "span",
          {
            role: "gridcell",
            class: `${column.numeric ? "num" : ""} ${column.mono ? "mono" : ""}`,
            title: text,
          },
          text,
        );
      }),
    );
    line.style.top = `${place * LINE_HEIGHT}px`;
    return line;
  }
  function sortBy(place) {
    sorted = {
      column: place,
      direction: sorted.column === place ? -sorted.direction : columns[place].numeric ? -1 : 1,
    };
    heads.forEach((head, k) =>
      head.setAttribute(
        "aria-sort",
        k !== place ? "none" : sorted.direction > 0 ? "ascending" : "descending",
      ),
    );
    show(shown);
  }
  function show(some) {
    const { column, direction } = sorted;
    const value = column < 0 ? null : columns[column].value;
    const compare = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * direction;
    shown = value ? [...some].sort(compare) : some;
    active = -1;
    grid.setAttribute("aria-rowcount", shown.length);
    body.scrollTop = 0;
    draw();
  }
  body.addEventListener("scroll", () => requestAnimationFrame(draw));
  body.addEventListener("keydown", event => {
    const step = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: 8,
      PageUp: -8,
      Home: -shown.length,
      End: shown.length,
    }[event.key];
    if (event.key === "Enter" && shown[active]) pick(shown[active]);
    if (!step || !shown.length) return;
    event.preventDefault();
    event.stopPropagation();
    active = Math.min(shown.length - 1, Math.max(0, active + step));
    const top = active * LINE_HEIGHT;
    if (top < body.scrollTop) body.scrollTop = top;
    else if (top + LINE_HEIGHT > body.scrollTop + body.clientHeight)
      body.scrollTop = top + LINE_HEIGHT - body.clientHeight;
    draw();
  });
  draw();
  return { grid, show, items };
}

/** The table with a field above it that leaves only the lines holding what is typed. */
function searchableTable(options) {
  const table = virtualTable(options);
  if (options.items.length < 12) return [table.grid];
  const lower = options.items.map(item =>
    options.columns
      .map(column => String(column.value(item)))
      .join(" ")
      .toLowerCase(),
  );
  const field = el("input", {
    type: "search",
    placeholder: `filter ${plural(options.items.length, "row")}`,
    "aria-label": `Filter ${options.label}`,
    oninput: () => {
      const wanted = field.value.trim().toLowerCase();
      table.show(options.items.filter((_, k) => lower[k].includes(wanted)));
    },
  });
  return [field, table.grid];
}
