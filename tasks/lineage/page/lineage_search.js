// The index, what a query finds in it, and the way from there to the model.

const MOST_SUGGESTIONS = 8;
const MOST_SEEDS = 2000;

/** JSON from base64 of a zlib stream. */
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), char => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

/** All rows by number, each knowing its stage, whole, parts, parents and children. */
function linkRows(tables, nodes) {
  const rows = new Map();
  tables.forEach((table, place) =>
    table.digest.forEach((digest, k) =>
      rows.set(table.first + k, {
        number: table.first + k,
        place: k,
        stage: nodes[place].stage,
        of: table.of[k],
        shard: table.shard[k],
        digest,
        key: table.key[k],
        bytes: table.bytes[k],
        parents: table.parents[k],
        children: [],
        parts: [],
        erased: table.erased[table.first + k],
        counts: Object.fromEntries(Object.entries(table.counts).map(([name, values]) => [name, values[k]])),
      }),
    ),
  );
  for (const row of rows.values()) {
    if (row.of !== null) rows.get(row.of)?.parts.push(row.number);
    for (const parent of row.parents) rows.get(parent).children.push(row.number);
  }
  const sharded = new Map(); // stage > the shards it has
  for (const row of rows.values()) {
    if (!sharded.has(row.stage)) sharded.set(row.stage, new Set());
    sharded.get(row.stage).add(row.shard);
  }
  return { rows, sharded };
}

const lastPart = name => name.slice(name.lastIndexOf("/") + 1);

/**
 * The rows that a shard's data came through, up to the raw shard and down to the model.
 * Upwards the inputs of the same shard are followed, all of them where none is of it; downwards, of a
 * stage that has this shard, that shard alone. So what only passes through all shards at once, as
 * deduplication does, does not drag the others in.
 */
function followShard({ rows, sharded }, seed) {
  const found = new Set([seed]);
  const shard = rows.get(seed).shard;
  const walk = (start, next) => {
    const queue = [start];
    for (let row; (row = queue.pop()) !== undefined;) {
      for (const other of next(rows.get(row))) {
        if (!found.has(other)) {
          found.add(other);
          queue.push(other);
        }
      }
    }
  };
  walk(seed, row => {
    const inputs = row.of === null ? row.parents : rows.get(row.of).parents;
    const same = inputs.filter(number => rows.get(number).shard === row.shard && row.shard);
    return same.length ? same : inputs;
  });
  const above = [...found];
  walk(seed, row =>
    [...row.children, ...row.parts].filter(number => {
      const child = rows.get(number);
      return !shard || child.shard === shard || child.parts.length || !sharded.get(child.stage).has(shard);
    }),
  );
  for (const number of above) if (rows.get(number).of !== null) found.add(rows.get(number).of);
  return found;
}

function follow(linked, seeds) {
  const found = new Set();
  for (const seed of seeds.slice(0, MOST_SEEDS))
    for (const number of followShard(linked, seed)) found.add(number);
  return found;
}

const isBelow = (host, domain) => host === domain || host.endsWith(`.${domain}`);

/** What a domain holds, subdomains and all: sums, hosts, and how much is in which shard. */
function sumDomain(hosts, domain) {
  const total = { documents: 0, tokens: 0, hosts: [], shards: new Map(), unplaced: 0 };
  hosts.host.forEach((host, k) => {
    if (!isBelow(host, domain)) return;
    total.documents += hosts.documents[k];
    total.tokens += hosts.tokens[k];
    total.hosts.push({
      host,
      documents: hosts.documents[k],
      tokens: hosts.tokens[k],
      shards: hosts.shards[k],
    });
    const places = hosts.places[k];
    if (!places) total.unplaced = Math.max(total.unplaced, hosts.shards[k]);
    for (let i = 0; i < (places || []).length; i += 3) {
      const sums = total.shards.get(places[i]) || { documents: 0, tokens: 0 };
      sums.documents += places[i + 1];
      sums.tokens += places[i + 2];
      total.shards.set(places[i], sums);
    }
  });
  return total.hosts.length ? total : null;
}

function findPages(pages, test, most = Infinity) {
  const found = [];
  for (let k = 0; k < pages.url.length && found.length < most; k++) {
    if (test(pages.url[k]))
      found.push({
        url: pages.url[k],
        source: pages.source[k],
        row: pages.shard[k],
        tokens: pages.tokens[k],
        heldout: pages.heldout[k],
      });
  }
  return found;
}

function hostOf(url) {
  const match = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(url);
  return match
    ? match[1]
        .slice(match[1].lastIndexOf("@") + 1)
        .split(":")[0]
        .toLowerCase()
    : "";
}

/** What a query means: pages, a domain, rows by digest, key or shard; or nothing. */
function interpret({ linked, hosts, pages }, query) {
  const text = query.trim();
  const lower = text.toLowerCase();
  if (!text) return null;
  if (pages) {
    const exact = findPages(pages, url => url === text);
    if (exact.length) return { kind: "page", query: text, pages: exact };
  }
  if (hosts && text.includes("://")) {
    const domain = sumDomain(hosts, hostOf(text));
    const below = pages ? findPages(pages, url => url.startsWith(text)) : [];
    if (below.length) return { kind: "pages", query: text, pages: below };
    return { kind: "absent", query: text, host: hostOf(text), domain, listed: Boolean(pages) };
  }
  const all = [...linked.rows.values()];
  if (/^[0-9a-f]{6,64}$/.test(lower)) {
    const found = all.filter(
      row => row.digest.startsWith(lower) || (row.of === null && row.key.startsWith(lower)),
    );
    if (found.length) return { kind: "rows", query: text, rows: found };
  }
  const domain = hosts && sumDomain(hosts, lower.replace(/^\*?\.|\.$/g, ""));
  if (domain) return { kind: "domain", query: lower.replace(/^\*?\.|\.$/g, ""), ...domain };
  const shard = all.filter(row =>
    [row.shard, lastPart(row.shard)].some(name => name.toLowerCase() === lower),
  );
  if (shard.length) return { kind: "rows", query: text, rows: shard };
  const holding = pages ? findPages(pages, url => url.toLowerCase().includes(lower)) : [];
  if (holding.length) return { kind: "pages", query: text, pages: holding };
  return { kind: "nothing", query: text, listed: Boolean(pages) };
}

/** What one may mean who has typed this much: [text, what it is]. */
function suggest({ linked, hosts, pages }, nodes, query) {
  const lower = query.trim().toLowerCase();
  if (lower.length < 2) return [];
  const found = nodes.filter(node => node.stage.includes(lower)).map(node => [node.stage, "stage"]);
  if (hosts) {
    const match = hosts.host.map((host, k) => [host, k]).filter(([host]) => host.includes(lower));
    match.sort(
      (a, b) => b[0].startsWith(lower) - a[0].startsWith(lower) || hosts.tokens[b[1]] - hosts.tokens[a[1]],
    );
    found.push(...match.slice(0, 5).map(([host, k]) => [host, plural(hosts.documents[k], "document")]));
  }
  if (/^[0-9a-f]{6,}$/.test(lower)) {
    const rows = [...linked.rows.values()].filter(row => row.digest.startsWith(lower));
    found.push(...rows.slice(0, 4).map(row => [row.digest, `${row.stage} ${row.shard}`]));
  }
  const shards = new Set(
    [...linked.rows.values()].map(row => row.shard).filter(name => name.toLowerCase().includes(lower)),
  );
  found.push(...[...shards].slice(0, 3).map(name => [name, "shard"]));
  if (pages)
    found.push(
      ...findPages(pages, url => url.toLowerCase().includes(lower), 6).map(page => [page.url, "page"]),
    );
  return [...new Map(found.map(entry => [entry[0], entry])).values()].slice(0, MOST_SUGGESTIONS);
}
