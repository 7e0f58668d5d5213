// Audits pages of a release build with Lighthouse, as on a phone: slow network, slow processor. Prints a table and fails if a goal is
// missed. Each page is audited three times, and the middle value counts, because a busy machine is slow at times. Run by `./dev lighthouse`,
// which takes paths to audit instead.
import lighthouse from 'lighthouse';
import { chromium } from 'playwright-core';
import { freePort, startApp } from './test-app.mjs';

const RUNS = 3;
const named = process.argv.slice(2);
const paths = named.length ? named : ['/', '/pricing', '/sign-in', '/help'];

// What is read from a report, what is wanted of it, and how it is printed.
const percent = (score) => Math.round(score * 100);
const FIGURES = {
  performance: { read: ({ categories }) => percent(categories.performance.score), isMet: (value) => value >= 98, print: String },
  accessibility: { read: ({ categories }) => percent(categories.accessibility.score), isMet: (value) => value === 100, print: String },
  'best practices': { read: ({ categories }) => percent(categories['best-practices'].score), isMet: (value) => value === 100, print: String },
  SEO: { read: ({ categories }) => percent(categories.seo.score), isMet: (value) => value === 100, print: String },
  LCP: { read: ({ audits }) => audits['largest-contentful-paint'].numericValue, isMet: (value) => value <= 1_200, print: (value) => `${Math.round(value)} ms` },
  CLS: { read: ({ audits }) => audits['cumulative-layout-shift'].numericValue, isMet: (value) => value <= 0.02, print: (value) => value.toFixed(3) },
};

const app = await startApp();
const port = await freePort();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update',
    '--disable-sync', `--remote-debugging-port=${port}`],
});

async function audit(path) {
  const options = { port, output: 'json', logLevel: 'error', onlyCategories: ['performance', 'accessibility', 'best-practices', 'seo'] };
  const result = await lighthouse(app.url + path, options);
  if (!result || result.lhr.runtimeError) throw new Error(`${path}: ${result?.lhr.runtimeError?.message ?? 'no report'}`);
  return result.lhr;
}

const middle = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const rows = [];
const [missed, reasons] = [[], []];
try {
  for (const path of paths) {
    const reports = [];
    for (let run = 0; run < RUNS; run += 1) reports.push(await audit(path));
    const row = [path];
    for (const [name, { read, isMet, print }] of Object.entries(FIGURES)) {
      const value = middle(reports.map(read));
      row.push(isMet(value) ? print(value) : `${print(value)} !`);
      if (!isMet(value)) missed.push(`${path} ${name}: ${print(value)}`);
    }
    rows.push(row);
    // What took points off, other than speed.
    for (const name of ['accessibility', 'best-practices', 'seo']) {
      const { categories, audits } = reports[0];
      const failed = categories[name].auditRefs.filter(({ id, weight }) => weight > 0 && audits[id].score !== null && audits[id].score < 1);
      reasons.push(...failed.map(({ id }) => `${path} ${id}: ${audits[id].title}`));
    }
  }
} finally {
  await browser.close();
  await app.stop();
}
const table = [['page', ...Object.keys(FIGURES)], ...rows];
const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
for (const row of table) console.log(row.map((cell, column) => cell.padEnd(widths[column])).join('  '));
if (missed.length) console.error(`Goals missed:\n${[...missed, ...reasons].join('\n')}`);
process.exit(missed.length ? 1 : 0);
