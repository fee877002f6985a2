// What stands beside the graph after a search.

const sumTokens = pages => pages.reduce((sum, page) => sum + page.tokens, 0);
const traceUrl = url => commandLine(`headwater trace --url ${quote(url)}`);

/** The panel of a search. */
function resultPanel(result, found, index, act) {
  const heading = el("h2", {}, el("bdi", {}, result.query));
  const panel = { page: pagePanel, pages: pagesPanel, domain: domainPanel, rows: rowsPanel }[result.kind];
  const way = when(found.size && isExact(result), () =>
    section("The way to the model", pathList(found, index.linked, act)),
  );
  return [heading, (panel ?? absentPanel)(result, index, act), way];
}

/** Whether the file knows all the shards of what was found. */
const isExact = result => !(result.unplaced || result.domain?.unplaced);

function pagePanel({ query, pages }, index) {
  const heldout = pages.every(page => page.heldout);
  const shards = pages.map(page => index.linked.rows.get(page.row)?.shard ?? "not listed here");
  return [
    chips(
      chip("page in the corpus", "data"),
      chip(heldout ? "held out for evaluation, not trained on" : "for training"),
    ),
    numberList([
      ["tokens", sumTokens(pages)],
      ["source", [...new Set(pages.map(page => page.source))].join(", ")],
      ["shard", shards.join(", ")],
    ]),
    section("The steps that saw it", traceUrl(query)),
  ];
}

const pagesPanel = ({ pages }, index, act) => [
  note(`${plural(pages.length, "page")} with this in the URL, ${plural(sumTokens(pages), "token")}.`),
  pageTable(pages, act),
];

const rowsPanel = ({ rows }, index, act) => [
  note(`Of this name, or with a digest or key that starts so: ${formatNumber(rows.length)}.`),
  searchableTable({
    items: rows,
    label: "artefacts",
    pick: act.openRow,
    classes: row => (row.erased ? "gone" : ""),
    columns: [textColumn("Stage", row => row.stage), textColumn("Shard", row => row.shard), digestColumn()],
  }),
];

function domainPanel(result, index, act) {
  const shards = [...result.shards].map(([row, sums]) => ({ row: index.linked.rows.get(row), ...sums }));
  const pages = index.pages && findPages(index.pages, url => isBelow(hostOf(url), result.query));
  const { left_out: leftOut } = index.hosts;
  return [
    chips(
      chip("domain", "data"),
      when(result.hosts.length > 1, () => chip(plural(result.hosts.length, "host"))),
    ),
    el("div", { id: "sums" }, numberList(domainNumbers(result, index, pages, act))),
    when(leftOut, () => note(`${plural(leftOut, "smaller host")} are not in this file.`)),
    when(result.unplaced, () =>
      note("It is in too many shards to list them here; the graph shows its way, not its shards."),
    ),
    commandLine(`headwater trace --domain ${quote(result.query)}`),
    when(shards.length && !result.unplaced, () =>
      section(
        "In these shards",
        sumTable(
          "shards with the domain",
          "Shard",
          shards.filter(place => place.row),
          place => place.row.shard,
          place => act.openRow(place.row),
        ),
      ),
    ),
    when(result.hosts.length > 1, () =>
      section(
        "Hosts",
        sumTable(
          "hosts of the domain",
          "Host",
          result.hosts,
          place => place.host,
          place => act.search(place.host),
        ),
      ),
    ),
    when(pages, () => section("Pages", pageTable(pages, act))),
  ];
}

function domainNumbers(result, index, pages, act) {
  const all = act.nodes.find(node => node.stage === act.tokens).num_shards;
  const atLeast = index.hosts.left_out ? "at least " : "";
  const some =
    result.unplaced < all ? `${formatNumber(result.unplaced)} or more` : `all ${formatNumber(all)}`;
  const heldout = pages ? [["tokens held out", sumTokens(pages.filter(page => page.heldout))]] : [];
  return [
    ["documents", atLeast + formatNumber(result.documents)],
    ["tokens", atLeast + formatNumber(result.tokens)],
    ...heldout,
    ["shards", result.unplaced ? some : result.shards.size],
  ];
}

const sumTable = (label, title, items, name, pick) =>
  searchableTable({
    items,
    label,
    pick,
    columns: [
      textColumn(title, name),
      numberColumn("Documents", place => place.documents),
      numberColumn("Tokens", place => place.tokens),
    ],
  });

const pageTable = (pages, act) =>
  searchableTable({
    items: pages,
    label: "pages",
    pick: page => act.search(page.url),
    columns: [textColumn("URL", page => page.url), numberColumn("Tokens", page => page.tokens)],
  });

function absentPanel({ kind, query, listed, host, domain }, index) {
  const say = text => el("p", { id: "absent" }, text);
  if (!index.hosts)
    return say("There is nothing of that name here, and no token shard to look for pages in.");
  if (listed) {
    return [
      say(`Not among the ${plural(index.pages.url.length, "page")} of this corpus.`),
      note("Whether it was ever seen, and why it was left out:"),
      traceUrl(query),
    ];
  }
  const held = domain && `${plural(domain.documents, "document")} with ${plural(domain.tokens, "token")}`;
  return [
    say(
      kind === "absent"
        ? "There are too many pages to list each of them in this file. This finds a single one:"
        : "There is no host, shard or digest of that name in this file. This finds a single page:",
    ),
    traceUrl(query),
    when(domain, () => note(`Its host ${host} has ${held}; the way from there is marked.`)),
  ];
}
