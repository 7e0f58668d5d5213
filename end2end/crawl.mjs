// Follows the links within a deployment, as a visitor or as the owner of a cookie would.

// Pages whose URLs differ only in ids and in the values of their query are visited at most this often.
const SAME = 3;
const MAX_PAGES = 400;

const REFERENCES = { amp: '&', lt: '<', gt: '>', quot: '"', '#x27': "'", '#39': "'" };
const decode = (text) => text.replace(/&(amp|lt|gt|quot|#x27|#39);/g, (_, name) => REFERENCES[name]);

// The attribute of each element that names another resource. A form is followed if it has no method: it is a link with fields.
const FOLLOWED = { a: 'href', link: 'href', script: 'src', img: 'src', source: 'src', form: 'action' };

const attribute = (attributes, name) => {
  const found = attributes.match(new RegExp(`\\s${name}="([^"]*)"`));
  return found && decode(found[1]);
};

// Returns the links of a page, and the ids that fragments can name.
export function readPage(html) {
  const links = [];
  for (const [, tag, attributes] of html.matchAll(/<(a|link|script|img|source|form|meta)\b([^>]*)>/g)) {
    if (tag === 'meta') {
      if (attribute(attributes, 'property') === 'og:image') links.push(attribute(attributes, 'content'));
    } else if (tag !== 'form' || (attribute(attributes, 'method') ?? 'get').toLowerCase() === 'get') {
      links.push(attribute(attributes, FOLLOWED[tag]));
    }
  }
  const ids = new Set([...html.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => decode(id)));
  return { links: links.filter((link) => link !== null), ids };
}

// Names the kind of a URL: its path without ids, and the names of its query.
const kindOf = ({ pathname, searchParams }) =>
  `${pathname.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, '{id}')}?${[...new Set(searchParams.keys())].sort().join('&')}`;

// Visits what `from` leads to, except on other sites. Returns the pages, by path, each with its HTML, and the links that don't answer with
// 200 or name no element.
export async function crawl({ url, cookie, from }) {
  const [pages, ids, seen, kinds] = [new Map(), new Map(), new Set(), new Map()];
  const [broken, fragments] = [[], []];
  const waiting = from.map((link) => ({ link, on: '(start)', base: url }));
  while (waiting.length) {
    const { link, on, base } = waiting.shift();
    let target;
    try {
      target = new URL(link, base);
    } catch {
      broken.push(`${link} on ${on} is no URL`);
      continue;
    }
    if (target.origin !== new URL(url).origin) continue;
    const path = target.pathname + target.search;
    if (target.hash) fragments.push({ path, id: decodeURIComponent(target.hash.slice(1)), on });
    const kind = kindOf(target);
    if (seen.has(path) || (kinds.get(kind) ?? 0) >= SAME) continue;
    if (seen.size >= MAX_PAGES) throw new Error(`more than ${MAX_PAGES} pages, the last is ${path} on ${on}`);
    seen.add(path);
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    const response = await fetch(url + path, { headers: cookie ? { cookie } : {} });
    if (response.status !== 200) broken.push(`${path} on ${on} answers with ${response.status}`);
    const type = response.headers.get('content-type') ?? '';
    if (response.status !== 200 || !/html|xml/.test(type)) {
      await response.body?.cancel();
      continue;
    }
    const text = await response.text();
    if (type.includes('xml') && !type.includes('svg')) {
      const locations = [...text.matchAll(/<(?:loc|link)>([^<]*)<\/(?:loc|link)>/g)].map(([, location]) => decode(location));
      waiting.push(...locations.map((location) => ({ link: location, on: path, base: response.url })));
    }
    if (!type.includes('text/html')) continue;
    const page = readPage(text);
    // A redirect leads to a page that has its own entry.
    const { pathname, search } = new URL(response.url);
    if (!response.redirected) pages.set(path, text);
    ids.set(path, page.ids);
    ids.set(pathname + search, page.ids);
    waiting.push(...page.links.map((next) => ({ link: next, on: path, base: response.url })));
  }
  for (const { path, id, on } of fragments) {
    const found = ids.get(path);
    if (found && id && !found.has(id)) broken.push(`${path} on ${on} has no element "${id}"`);
  }
  return { pages, broken };
}
