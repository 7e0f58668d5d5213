// The site and the pages behind sign-in, with the demo company: every link leads somewhere, HTML is valid, the site is accessible in both
// themes, readable at twice the text size, doesn't move while it loads, and needs no wasm and no other server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HtmlValidate } from 'html-validate';
import { crawl } from './crawl.mjs';
import { inspect, startApp, startBrowser } from './test-app.mjs';

// Pages that a visitor can open, beside those that /help and /blog lead to.
const SITE = ['/', '/pricing', '/pricing?interval=year', '/sign-in', '/sign-up', '/sign-up?plan=pro&interval=year', '/forgot', '/help', '/blog',
  '/changelog', '/status', '/docs/api', '/terms', '/privacy', '/imprint'];
// Files that browsers and search engines ask for without a link.
const FILES = ['/robots.txt', '/sitemap.xml', '/changelog.xml', '/openapi.json', '/manifest.webmanifest', '/favicon.ico', '/favicon.svg', '/touch-icon.png'];

let app, browser, visitor, user, admin, site;

async function signIn(email) {
  const body = new URLSearchParams({ email, password: 'demo company' });
  const done = await fetch(`${app.url}/sign-in`, { method: 'POST', body, redirect: 'manual' });
  assert.equal(done.status, 303, email);
  return done.headers.getSetCookie().map((cookie) => cookie.split(';')[0]).join('; ');
}

before(async () => {
  app = await startApp();
  app.run('seed', '--users', '12', '--days', '60');
  browser = await startBrowser();
  const visit = (from, cookie) => crawl({ url: app.url, cookie, from });
  [visitor, user, admin] = await Promise.all([
    visit([...SITE, ...FILES]),
    signIn('demo@example.com').then((cookie) => visit(['/chat', '/'], cookie)),
    signIn('admin@example.com').then((cookie) => visit(['/admin', '/chat', '/'], cookie)),
  ]);
  site = [...new Set([...SITE, ...[...visitor.pages.keys()].filter((path) => /^\/(help|blog)\/[\w-]+$/.test(path))])];
});
after(async () => { await browser?.stop(); await app?.stop(); });

test('every link leads to a page, for a visitor, a user and the admin', { timeout: 600_000 }, () => {
  for (const [who, found, expected] of [['visitor', visitor, SITE], ['user', user, ['/chat', '/usage', '/settings', '/settings/billing']],
    ['admin', admin, ['/admin', '/admin/users', '/admin/models', '/admin/health', '/admin/audit']]]) {
    assert.deepEqual(found.broken, [], who);
    for (const path of expected) assert.ok(found.pages.has(path), `${path} was reached by the ${who}`);
  }
  assert.ok([...admin.pages.keys()].some((path) => path.startsWith('/admin/users/')), 'the admin reaches a user');
  assert.ok(!visitor.pages.has('/chat') && ![...user.pages.keys()].some((path) => path.startsWith('/admin')));
  assert.ok(site.filter((path) => path.startsWith('/help/')).length >= 5, `topics of help: ${site}`);
});

test('every page is valid HTML', { timeout: 600_000 }, async () => {
  const validator = new HtmlValidate({ root: true, extends: ['html-validate:standard'] });
  const complaints = new Map();
  const missing = await (await fetch(`${app.url}/nothing`)).text();
  for (const [who, pages] of [['visitor', [...visitor.pages, ['/nothing', missing]]], ['user', user.pages], ['admin', admin.pages]]) {
    for (const [path, html] of pages) {
      // leptos separates text nodes by `<!>`, which browsers read as an empty comment and the validator can't. Its hydration script has the nonce
      // as `crossorigin`, which browsers read as `anonymous`.
      const valid = html.replaceAll('<!>', '<!---->').replaceAll(/ crossorigin="(?!anonymous")[^"]*"/g, ' crossorigin="anonymous"');
      const report = await validator.validateString(valid, path);
      for (const { ruleId, message, line, column, selector } of report.results.flatMap(({ messages }) => messages)) {
        const complaint = `${ruleId}: ${message} (${selector ?? ''})`;
        if (!complaints.has(complaint)) complaints.set(complaint, `${who} ${path}:${line}:${column} ${complaint}`);
      }
    }
  }
  assert.deepEqual([...complaints.values()], []);
});

test('axe finds no violations on the site, in both themes', { timeout: 1_200_000 }, async () => {
  // The policy blocks the styles that axe injects, so errors of this page are ignored.
  const page = await browser.visitor({ quiet: true, reducedMotion: 'reduce' });
  for (const path of [...site, '/nothing']) {
    await page.goto(app.url + path);
    await inspect(page);
  }
  await page.close();
});

// Returns the elements whose text doesn't fit into them and can't be scrolled to. Text that is only for screen readers is one pixel large.
const clippedText = () => [...document.querySelectorAll('body *')].filter((element) => {
  const style = getComputedStyle(element);
  const hides = (overflow) => ['hidden', 'clip'].includes(overflow);
  const { clientWidth, clientHeight, scrollWidth, scrollHeight } = element;
  if (clientWidth <= 1 || clientHeight <= 1 || !element.innerText?.trim() || !element.checkVisibility()) return false;
  return (hides(style.overflowX) && scrollWidth > clientWidth + 1) || (hides(style.overflowY) && scrollHeight > clientHeight + 1);
}).map((element) => `${element.tagName.toLowerCase()}.${element.className}: ${element.innerText.slice(0, 60)}`);

// WCAG 1.4.4.
test('text of twice the size fits on phones and screens', { timeout: 1_200_000 }, async () => {
  const page = await browser.visitor({ quiet: true, reducedMotion: 'reduce' });
  for (const path of [...site, '/nothing']) {
    await page.goto(app.url + path);
    // All sizes of text are relative to the root's, as they are to a browser's setting.
    await page.evaluate(() => { document.documentElement.style.fontSize = '200%'; });
    for (const width of [390, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(over <= 0, `${path} is ${over} px too wide at ${width}`);
      assert.deepEqual(await page.evaluate(clippedText), [], `${path} at ${width}`);
    }
  }
  await page.close();
});

test('the site loads no wasm, nothing from elsewhere, and doesn’t move', { timeout: 1_200_000 }, async () => {
  // Both widths at once, because each page waits for the network to be idle.
  await Promise.all([390, 1280].map(async (width) => {
    const page = await browser.visitor({ viewport: { width, height: 800 } });
    const requests = [];
    page.on('request', (request) => requests.push(request.url()));
    // Runs before the page's own code.
    await page.addInitScript(() => {
      window.shift = 0;
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
      }).observe({ type: 'layout-shift', buffered: true });
    });
    for (const path of site) {
      requests.length = 0;
      await page.goto(app.url + path, { waitUntil: 'networkidle' });
      await page.evaluate(async () => {
        await document.fonts.ready;
        window.scrollTo(0, document.body.scrollHeight);
        // Two frames, after which what has moved is reported.
        await new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); });
        await new Promise((done) => { setTimeout(done, 0); });
      });
      assert.deepEqual(requests.filter((url) => /\.wasm(\?|$)/.test(url)), [], path);
      assert.deepEqual(requests.filter((url) => !url.startsWith(`${app.url}/`) && !url.startsWith('data:')), [], path);
      // English text needs the preloaded font alone.
      const fonts = requests.filter((url) => url.includes('/fonts/') && !url.endsWith('/inter-basic-latin.woff2'));
      if (['/', '/pricing', '/sign-in', '/help'].includes(path)) assert.deepEqual(fonts, [], path);
      const shift = await page.evaluate(() => window.shift);
      assert.ok(shift <= 0.02, `${path} moves by ${shift} at ${width}`);
    }
    await page.close();
  }));
  assert.deepEqual(browser.complaints, []);
});
